import Dataplane
import NetTypes
import Planning
import PlanningTestSupport
import TestSupport
import Testing

@Suite(.serialized, .needsRoot, .ownThread)
struct CrashPointTests {
    @Test(arguments: UInt64(1)...8)
    func `Between any two writes new flows go to old or new backends, and open flows stay`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var world = World.withoutRoutes
        var rig = try Rig()
        for _ in 0..<4 {
            world.mutate(4 + random.below(20), &random)
            let desired = world.desired
            #expect(try rig.sync(to: desired))
            try rig.model.check(desired)
            #expect(try Planner.plan(from: try rig.kernel.read(), to: desired).isEmpty)
            try rig.openFlows(desired, &random)
        }
    }

    @Test(arguments: UInt64(1)...8)
    func `An agent that crashes at any write, also of a reclaim, completes the work from the maps`(
        seed: UInt64
    ) throws {
        var random = SeededGenerator(seed: seed)
        var world = World.withoutRoutes
        var rig = try Rig()
        for _ in 0..<4 {
            world.mutate(4 + random.below(20), &random)
            let desired = world.desired
            while try !rig.sync(to: desired, until: 3 + random.below(30)) {}
            try rig.model.check(desired)
            try rig.openFlows(desired, &random)
            try rig.reclaim(until: random.below(8))
            _ = try rig.restart()
            try rig.closeFlows(&random)
            try rig.reclaim()
            try rig.sendPackets(rig.model.questions(desired))
        }
        rig.flows = []
        try rig.forgetProbes()
        for _ in 0..<3 {
            try rig.reclaim()
            try rig.forgetProbes()
        }
        try rig.model.checkExact(world.desired)
    }

    @Test func `A plan performed at once leaves what it leaves write by write`() throws {
        var random = SeededGenerator(seed: 1)
        var world = World.withoutRoutes
        var rig = try Rig()
        var model = rig.model
        for _ in 0..<6 {
            world.mutate(25, &random)
            let plan = try model.sync(to: world.desired).plan
            try rig.kernel.perform(plan.writes)
            #expect(try rig.kernel.read() == model.image)
            #expect(
                try rig.kernel.backends(namedBy: rig.kernel.read().sets.values) == model.backendsInTables())
            let candidates = ReclaimCandidates(model.image)
            let freed = Planner.reclaim(model.image, candidates: candidates, inUse: FlowUsage())
            for write in freed { try model.perform(write) }
            try rig.kernel.perform(freed)
            #expect(try rig.kernel.read() == model.image)
        }
    }
}

extension World {
    /// Programs are run without devices and routes.
    fileprivate static var withoutRoutes: World {
        var limits = Limits()
        limits.needsRoutes = false
        return World(limits)
    }
}
