import NeedletailABI
import NetTypes
import Planning
import PlanningTestSupport
import Resolver
import TestSupport
import Testing

/// An agent, its maps and the flows through them, without a kernel.
private struct Life {
    struct Flow {
        let frontend: TransportEndpoint
        let service: ServiceID
        let backend: BackendID
        let endpoint: TransportEndpoint
    }

    var maps: ModelMaps
    var flows: [Flow] = []
    var isComplete = false

    @discardableResult
    mutating func sync(to desired: DesiredState, until end: Int = .max) throws -> [MapWrite] {
        let outcome = try maps.sync(to: desired, until: end)
        isComplete = outcome.isComplete && outcome.plan.problems.isEmpty
        try checkFlows()
        return outcome.plan.writes
    }

    /// A flow through each of some frontends.
    mutating func openFlows(_ random: inout SeededGenerator) throws {
        for (key, record) in maps.image.frontends.sorted(by: { $0.key < $1.key }) where random.below(3) == 0 {
            guard !record.flags.contains(.retired), let set = record.sets.randomElement(using: &random) else {
                continue
            }
            guard let id = try maps.table(of: set).ids.randomElement(using: &random),
                let backend = maps.image.backends[id]
            else { continue }
            flows.append(Flow(frontend: key, service: record.service, backend: id, endpoint: backend.endpoint))
        }
    }

    /// Of flows, and, where the last plan was not complete, of tables.
    func usage() throws -> FlowUsage {
        var usage = FlowUsage()
        if !isComplete { usage.backends = try maps.backendsInTables() }
        for flow in flows {
            usage.backends.insert(flow.backend)
            usage.services.insert(flow.service)
            usage.frontends.insert(flow.frontend)
        }
        return usage
    }

    /// Nothing a flow names is freed or becomes another's.
    func checkFlows() throws {
        for flow in flows {
            guard maps.image.backends[flow.backend]?.endpoint == flow.endpoint else {
                throw Violation("a flow to \(flow.endpoint) has lost backend \(flow.backend)")
            }
            guard maps.image.frontends[flow.frontend] != nil else { throw Violation("\(flow.frontend) has flows") }
            guard maps.image.services[flow.service] != nil else { throw Violation("\(flow.service) has flows") }
        }
    }

    mutating func reclaim(_ candidates: ReclaimCandidates, until end: Int = .max) throws {
        let writes = Planner.reclaim(maps.image, candidates: candidates, inUse: try usage())
        let transition = try Transition(from: maps, to: DesiredState())
        for write in writes.prefix(end) {
            try maps.perform(write)
            for question in transition.questions {
                let (old, new) = (transition.before[question], try maps.answer(question))
                // Without its last frontend a port of a ClusterIP is one that nobody knows.
                guard new == old || (old == .notAService && new == .unknownPort) else {
                    throw Violation("\(question) has another answer after \(write)")
                }
            }
            try checkFlows()
        }
        // While something does not fit, the tables that were there before say what is in use: they may have gone by now.
        if end >= writes.count, isComplete {
            let rest = Planner.reclaim(maps.image, candidates: candidates, inUse: try usage())
            #expect(rest.isEmpty, "what can be freed is freed at once")
        }
    }
}

@Suite struct ReclaimTests {
    @Test(arguments: UInt64(1)...30)
    func `Nothing that is in use is ever freed, and in the end nothing is kept for nothing`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var world = World()
        var life = Life(
            maps: ModelMaps(
                capacity: MapCapacity(frontends: 24, sets: 24, lines: 600, backends: 48, services: 10, ranges: 8)))
        for _ in 0..<40 {
            switch random.below(6) {
            case 0, 1:
                world.mutate(1 + random.below(10), &random)
                try life.sync(to: world.desired, until: random.below(4) == 0 ? random.below(30) : .max)
            case 2: try life.openFlows(&random)
            case 3: life.flows.removeAll { _ in random.below(2) == 0 }
            default: try reclaimRound(&life, &world, &random)
            }
        }
        life.flows = []
        world.shrink()
        for _ in 0..<4 {
            try life.sync(to: world.desired)
            try life.reclaim(ReclaimCandidates(life.maps.image))
        }
        #expect(life.isComplete)
        try life.maps.checkExact(world.desired)
        #expect(try Planner.plan(from: life.maps.image, to: world.desired).isEmpty)
    }

    /// Candidates, then what may happen during the grace period, then the freeing, perhaps cut short.
    private func reclaimRound(_ life: inout Life, _ world: inout World, _ random: inout SeededGenerator) throws {
        var candidates = ReclaimCandidates(life.maps.image)
        for _ in 0..<random.below(3) {
            world.mutate(1 + random.below(6), &random)
            for write in try life.sync(to: world.desired) { candidates.keep(namedBy: write) }
            try life.openFlows(&random)
        }
        try life.reclaim(candidates, until: random.below(3) == 0 ? random.below(6) : .max)
    }

    @Test func `What was in use for a moment after it became a candidate waits for the next round`() throws {
        var maps = ModelMaps(capacity: roomy)
        let (a, b) = (World.backend(0, .v4, .tcp), World.backend(1, .v4, .tcp))
        func desired(_ member: TransportEndpoint) -> DesiredState {
            DesiredState(frontends: [simpleFrontend(0, [member])], backends: [a, b])
        }
        try maps.sync(to: desired(a))
        try maps.sync(to: desired(b))
        var candidates = ReclaimCandidates(maps.image)
        let set = try #require(candidates.sets.first)
        // A program may have read the frontend while it named the set again, and may not have read the set yet.
        for member in [a, b] {
            for write in try maps.sync(to: desired(member)).plan.writes { candidates.keep(namedBy: write) }
        }
        #expect(ReclaimCandidates(maps.image).sets == [set])
        #expect(Planner.reclaim(maps.image, candidates: candidates, inUse: FlowUsage()).isEmpty)
    }

    @Test func `A backend that a standing table is said to name is not freed`() throws {
        var maps = ModelMaps(capacity: roomy)
        let (a, b) = (World.backend(0, .v4, .tcp), World.backend(1, .v4, .tcp))
        try maps.sync(to: DesiredState(frontends: [simpleFrontend(0, [a])], backends: [a]))
        try maps.sync(to: DesiredState(frontends: [simpleFrontend(0, [b])], backends: [b]))
        let candidates = ReclaimCandidates(maps.image)
        #expect(candidates.backends.count == 1)
        var named = FlowUsage()
        named.backends = candidates.backends
        for (inUse, freed) in [(named, 0), (FlowUsage(), 1)] {
            let writes = Planner.reclaim(maps.image, candidates: candidates, inUse: inUse)
            #expect(writes.count { if case .backend(_, nil) = $0 { true } else { false } } == freed)
        }
    }
}
