import NeedletailABI
import NetTypes
import Planning
import PlanningTestSupport
import Resolver
import TestSupport
import Testing

@Suite struct CapacityTests {
    private static func reduced(_ capacity: MapCapacity, _ resource: CapacityProblem.Resource, to size: Int)
        -> MapCapacity
    {
        var capacity = capacity
        switch resource {
        case .frontends4, .frontends6: capacity.frontends = size
        case .sets: capacity.sets = size
        case .slots: capacity.lines = size
        case .backends: capacity.backends = size
        case .services: capacity.services = size
        case .ranges4, .ranges6: capacity.ranges = size
        }
        return capacity
    }

    /// Ten services in one family, each with two backends and a source range of its own.
    private static func state(_ family: IPFamily, services: Range<Int>) -> DesiredState {
        let frontends = services.map { number in
            simpleFrontend(
                number, [World.backend(2 * number, family, .tcp), World.backend(2 * number + 1, family, .tcp)],
                family: family, kind: .loadBalancer,
                ranges: [CIDR(World.sources(family)[0], length: family.bitWidth - number)].compactMap { $0 })
        }
        return DesiredState(
            frontends: frontends, backends: Set(frontends.flatMap { $0.internal.backendSet.members.map(\.endpoint) }))
    }

    @Test(arguments: [
        (CapacityProblem.Resource.frontends4, IPFamily.v4, 6, 6, "nt_frontends4", "--max-frontends"),
        (.frontends6, .v6, 6, 6, "nt_frontends6", "--max-frontends"),
        (.sets, .v4, 7, 7, "nt_sets", "--max-sets"),
        (.slots, .v4, 6 * 17 + 5, (6 * 17 + 5) * 16, "nt_slots", "--max-slots"),
        (.backends, .v6, 14, 14, "nt_backends", "--max-backends"),
        (.services, .v4, 6, 6, "nt_services", "--max-services"),
        (.ranges4, .v4, 6, 6, "nt_ranges4", "--max-source-ranges"),
        (.ranges6, .v6, 6, 6, "nt_ranges6", "--max-source-ranges"),
    ])
    func `A full map is named, what fits is programmed, and room later completes it`(
        resource: CapacityProblem.Resource, family: IPFamily, size: Int, reported: Int, map: String, setting: String
    ) throws {
        var maps = ModelMaps(capacity: Self.reduced(roomy, resource, to: size))
        let all = Self.state(family, services: 0..<10)
        let plan = try maps.sync(to: all).plan
        let problem = try #require(plan.problems.first)
        #expect(plan.problems.count == 1)
        #expect(problem.resource == resource && problem.size == reported && problem.affected == 4)
        let text = problem.description
        #expect(text.contains("\(map) ") && text.contains("\(reported)") && text.contains(setting))
        #expect(maps.image.frontends.count == 6)

        // Others take the room of those that leave, once it is reclaimed.
        let some = Self.state(family, services: 4..<10)
        for _ in 0..<4 {
            try maps.sync(to: some)
            var usage = FlowUsage()
            usage.backends = try maps.backendsInTables()
            let candidates = ReclaimCandidates(maps.image)
            for write in Planner.reclaim(maps.image, candidates: candidates, inUse: usage) {
                try maps.perform(write)
            }
        }
        #expect(try maps.sync(to: some).plan.problems.isEmpty)
        try maps.checkExact(some)
    }

    @Test(
        arguments: CapacityProblem.Resource.allCases, UInt64(1)...12)
    func `Nothing programmed breaks when a map is too small, and no frontend that fits is left out`(
        resource: CapacityProblem.Resource, seed: UInt64
    ) throws {
        var random = SeededGenerator(seed: seed)
        var world = World()
        world.mutate(60, &random)
        let first = world.desired
        var probe = ModelMaps(capacity: roomy)
        try probe.sync(to: first)
        var capacity = Self.reduced(roomy, resource, to: Self.needed(resource, probe.image) + random.below(3))
        // Two shortages at once: what one frontend takes and cannot use must be left to the next.
        if seed.isMultiple(of: 2) { capacity.sets = Self.needed(.sets, probe.image) + random.below(3) }
        var maps = ModelMaps(capacity: capacity)
        #expect(try maps.sync(to: first).plan.problems.isEmpty)

        let before = maps
        world.mutate(60, &random)
        let second = world.desired
        // `sync` checks after each write that every answer is the old one or the new one.
        let plan = try maps.sync(to: second).plan
        let questions = maps.questions(second)
        let missing: [Frontend] = try second.frontends.values.filter { frontend in
            guard let record = maps.image.frontends[frontend.key] else { return true }
            let ranges = maps.image.ranges[record.service, default: []].filter {
                $0.family == frontend.key.address.family
            }
            if let allowed = frontend.allowedSources, ranges != Set(allowed) { return true }
            return try questions.contains {
                try $0.key == frontend.key && maps.answer($0) != second.answer($0)
            }
        }
        #expect(plan.problems.isEmpty || !missing.isEmpty)
        #expect(plan.problems.reduce(0) { $0 + $1.affected } >= missing.count)
        #expect(try Planner.plan(from: maps.image, to: second).writes.isEmpty)
        try checkMaximal(before, first, second, missing.map(\.key))
    }

    /// Of the frontends that were left out none fits beside those that were programmed.
    private func checkMaximal(
        _ maps: ModelMaps, _ first: DesiredState, _ second: DesiredState, _ missing: [TransportEndpoint]
    ) throws {
        for key in missing {
            var frontends = second.frontends
            for other in missing where other != key { frontends[other] = first.frontends[other] }
            let desired = DesiredState(
                frontends: frontends.values, backends: first.backends.union(second.backends))
            let plan = try Planner.plan(from: maps.image, to: desired)
            #expect(!plan.problems.isEmpty, "\(key) would have fitted")
        }
    }

    private static func needed(_ resource: CapacityProblem.Resource, _ image: MapImage) -> Int {
        switch resource {
        case .frontends4, .frontends6:
            IPFamily.allCases.map { family in image.frontends.keys.count { $0.address.family == family } }.max() ?? 0
        case .sets: image.sets.count + 1
        case .slots: image.sets.values.reduce(0) { $0 + $1.lines }
        case .backends: image.backends.count + 1
        case .services: image.services.count
        case .ranges4, .ranges6:
            IPFamily.allCases.map { family in
                image.ranges.values.reduce(0) { $0 + $1.count { $0.family == family } }
            }.max() ?? 0
        }
    }
}
