import NetTypes
import Planning
import PlanningTestSupport
import Resolver
import ServiceModel
import TestSupport
import Testing

/// A planner that is kept between plans, against one that compares everything each time.
@Suite struct IncrementalTests {
    /// What became of a state, as a source that knows it would tell.
    static func changes(from old: DesiredState, to new: DesiredState) -> DesiredChanges {
        var tracker = DesiredTracker()
        var changes = DesiredChanges()
        let name = ObjectName(namespace: "", name: "all")
        func service(_ state: DesiredState) -> ResolvedService {
            var service = ResolvedService(name: name)
            service.frontends = state.frontends.values.sorted { $0.key < $1.key }
            service.serving = state.serving
            return service
        }
        tracker.update(name, service(old), &changes)
        changes = DesiredChanges()
        tracker.update(name, service(new), &changes)
        return changes
    }

    private func perform(_ writes: [MapWrite], _ planner: inout Planner, _ maps: inout ModelMaps) throws {
        for write in writes {
            try maps.perform(write)
            planner.performed(write)
        }
        #expect(planner.image == maps.image)
    }

    @Test(arguments: [roomy, MapCapacity(frontends: 12, sets: 14, lines: 400, backends: 40, services: 10, ranges: 8)])
    func `Plans for changes lead where plans for everything lead`(capacity: MapCapacity) throws {
        for seed in UInt64(1)...40 {
            var random = SeededGenerator(seed: seed)
            var world = World()
            var maps = ModelMaps(capacity: capacity)
            var planner = try Planner(maps.image)
            var desired = world.desired
            try perform(planner.plan(all: DesiredChanges(all: desired)).writes, &planner, &maps)
            for step in 0..<30 {
                world.mutate(1 + random.below(6), &random)
                let next = world.desired
                let plan = planner.plan(Self.changes(from: desired, to: next))
                try perform(plan.writes, &planner, &maps)
                desired = next
                let whole = try Planner.plan(from: maps.image, to: desired)
                if plan.problems.isEmpty {
                    try maps.check(desired)
                    #expect(whole.isEmpty, "seed \(seed), step \(step): \(whole.writes)")
                }
                #expect(planner.hasShortage == !plan.problems.isEmpty)
                guard random.below(3) == 0 else { continue }
                var inUse = FlowUsage()
                if planner.hasShortage { inUse.backends = try maps.backendsInTables() }
                let freed = Planner.reclaim(
                    maps.image, candidates: ReclaimCandidates(maps.image), inUse: inUse)
                try perform(freed, &planner, &maps)
            }
        }
    }

    @Test func `What did not fit is programmed when room comes free`() throws {
        var maps = ModelMaps(
            capacity: MapCapacity(frontends: 1, sets: 8, lines: 512, backends: 8, services: 8, ranges: 8))
        var planner = try Planner(maps.image)
        let (a, b) = (World.backend(0, .v4, .tcp), World.backend(1, .v4, .tcp))
        let (first, second) = (simpleFrontend(0, [a]), simpleFrontend(1, [b]))
        let both = DesiredState(frontends: [first, second], backends: [a, b])
        let plan = planner.plan(all: DesiredChanges(all: both))
        #expect(plan.problems.map(\.resource) == [.frontends4])
        try perform(plan.writes, &planner, &maps)
        let one = DesiredState(frontends: [second], backends: [b])
        try perform(planner.plan(Self.changes(from: both, to: one)).writes, &planner, &maps)
        #expect(planner.hasShortage)
        let candidates = ReclaimCandidates(maps.image)
        try perform(
            Planner.reclaim(maps.image, candidates: candidates, inUse: FlowUsage()), &planner, &maps)
        try perform(planner.plan(DesiredChanges()).writes, &planner, &maps)
        #expect(!planner.hasShortage)
        try maps.check(one)
    }
}
