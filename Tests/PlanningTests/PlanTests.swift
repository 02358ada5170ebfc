import NeedletailABI
import NetTypes
import Planning
import PlanningTestSupport
import Resolver
import ServiceModel
import TestSupport
import Testing

let roomy = MapCapacity(frontends: 64, sets: 256, lines: 16_384, backends: 256, services: 64, ranges: 64)

@Suite struct PlanTests {
    @Test(arguments: UInt64(1)...40)
    func `A plan leads from any state to any other, and every write of it is safe`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var world = World()
        var maps = ModelMaps(capacity: roomy)
        for _ in 0..<8 {
            world.mutate(1 + random.below(30), &random)
            let desired = world.desired
            let plan = try maps.sync(to: desired).plan
            #expect(plan.problems.isEmpty)
            try maps.check(desired)
            #expect(try Planner.plan(from: maps.image, to: desired).isEmpty)
        }
    }

    @Test(arguments: UInt64(1)...40)
    func `A plan that is cut anywhere is completed from what it left`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var world = World()
        var maps = ModelMaps(capacity: roomy)
        for _ in 0..<8 {
            world.mutate(1 + random.below(30), &random)
            var desired = world.desired
            while try !maps.sync(to: desired, until: random.below(40)).isComplete {
                // The agent that starts again may find that the world has moved on.
                if random.below(3) == 0 { world.mutate(3, &random) }
                desired = world.desired
            }
            try maps.check(desired)
        }
    }

    @Test(arguments: UInt64(1)...10)
    func `Equal inputs give equal plans`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var world = World()
        var maps = ModelMaps(capacity: roomy)
        for _ in 0..<4 {
            world.mutate(40, &random)
            let desired = world.desired
            // Built anew, the dictionaries have other orders.
            var copy = MapImage(capacity: roomy)
            for (key, record) in maps.image.frontends.shuffled(using: &random) { copy.frontends[key] = record }
            for (id, record) in maps.image.sets.shuffled(using: &random) { copy.sets[id] = record }
            for (id, record) in maps.image.backends.shuffled(using: &random) { copy.backends[id] = record }
            for (id, name) in maps.image.services.shuffled(using: &random) { copy.services[id] = name }
            for (id, prefixes) in maps.image.ranges.shuffled(using: &random) {
                copy.ranges[id] = Set(prefixes.shuffled(using: &random))
            }
            for (address, flags) in maps.image.addresses.shuffled(using: &random) { copy.addresses[address] = flags }
            let twin = DesiredState(
                frontends: desired.frontends.values.shuffled(using: &random), serving: desired.serving)
            let plan = try maps.sync(to: desired).plan
            let again = try Planner.plan(from: copy, to: twin)
            #expect(plan.writes == again.writes)
            #expect(plan.problems == again.problems)
            #expect(plan.endedFlows == again.endedFlows)
        }
    }

    @Test(arguments: [IPFamily.v4, .v6])
    func `Frontends with the same backends share a set, and a change of one endpoint is one table`(
        family: IPFamily
    ) throws {
        var maps = ModelMaps(capacity: roomy)
        let backends = (0..<4).map { World.backend($0, family, .tcp) }
        func state(_ members: [TransportEndpoint]) -> DesiredState {
            let set = BackendSet(members.map { BackendSpec(endpoint: $0, isLocal: true) })
            return DesiredState(
                frontends: (0..<10).map {
                    Frontend(
                        key: World.frontend($0, family, .tcp), kind: .clusterIP, servicePort: name($0),
                        external: .backends(set), internal: .backends(set))
                }, backends: Set(members))
        }
        try maps.sync(to: state(Array(backends[..<3])))
        #expect(maps.image.sets.count == 1)
        let plan = try maps.sync(to: state(backends)).plan
        let kinds = plan.writes.map { String("\($0)".prefix { $0 != "(" }) }
        #expect(kinds == ["backend", "table", "set"] + Array(repeating: "frontend", count: 10))
    }

    @Test func `A frontend that is no longer wanted is retired, and comes back as it was`() throws {
        var maps = ModelMaps(capacity: roomy)
        let frontend = simpleFrontend(0, [World.backend(0, .v4, .tcp)])
        let desired = DesiredState(frontends: [frontend], backends: [World.backend(0, .v4, .tcp)])
        try maps.sync(to: desired)
        let before = maps.image
        try maps.sync(to: DesiredState())
        #expect(maps.image.frontends[frontend.key]?.flags.contains(.retired) == true)
        #expect(maps.image.frontends[frontend.key]?.sets.isEmpty == true)
        try maps.sync(to: desired)
        // The endpoint had gone meanwhile: it is a new backend, so the set is a new one.
        #expect(maps.image.frontends[frontend.key]?.flags == before.frontends[frontend.key]?.flags)
        #expect(maps.image.frontends[frontend.key]?.service == before.frontends[frontend.key]?.service)
        try maps.check(desired)
    }

    @Test func `An endpoint that comes back from terminating keeps its id, one that was gone gets another`() throws {
        var maps = ModelMaps(capacity: roomy)
        let (stays, leaves) = (World.backend(0, .v4, .tcp), World.backend(1, .v4, .tcp))
        let both = DesiredState(frontends: [simpleFrontend(0, [stays, leaves])], backends: [stays, leaves])
        func id() -> BackendID? { maps.image.backends.first { $0.value == record(leaves) }?.key }
        try maps.sync(to: both)
        let first = id()
        try maps.sync(to: DesiredState(frontends: [simpleFrontend(0, [stays])], backends: [stays, leaves]))
        #expect(first.map { maps.image.backends[$0]?.state } == .terminating)
        try maps.sync(to: both)
        #expect(id() == first)
        try maps.sync(to: DesiredState(frontends: [simpleFrontend(0, [stays])], backends: [stays]))
        #expect(first.map { maps.image.backends[$0]?.state } == .gone)
        try maps.sync(to: both)
        #expect(id() != nil && id() != first)
    }

    @Test func `Two services that disagree where an endpoint runs do not keep the planner busy`() throws {
        var maps = ModelMaps(capacity: roomy)
        let endpoint = World.backend(0, .v4, .tcp)
        let desired = DesiredState(
            frontends: [true, false].enumerated().map { index, isLocal in
                let set = ScopeAnswer.backends(BackendSet([BackendSpec(endpoint: endpoint, isLocal: isLocal)]))
                return Frontend(
                    key: World.frontend(index, .v4, .tcp), kind: .clusterIP, servicePort: name(index), external: set,
                    internal: set)
            }, backends: [endpoint])
        try maps.sync(to: desired)
        #expect(try Planner.plan(from: maps.image, to: desired).writes == [])
    }

    @Test func `A set without members refuses`() throws {
        var maps = ModelMaps(capacity: roomy)
        let desired = DesiredState(frontends: [simpleFrontend(0, [])], backends: [])
        #expect(try maps.sync(to: desired).plan.problems.isEmpty)
        try maps.check(desired)
    }

    @Test func `An image whose tables overlap is not planned on`() throws {
        var image = MapImage(capacity: roomy)
        image.sets[SetID(rawValue: 1)] = SetRecord(line: 0, slots: 251, backends: 1, digest: 1)
        image.sets[SetID(rawValue: 2)] = SetRecord(line: 15, slots: 251, backends: 1, digest: 2)
        #expect(throws: (any Error).self) { try Planner.plan(from: image, to: DesiredState()) }
    }
}

func name(_ number: Int) -> ServicePortName {
    ServicePortName(service: ObjectName(namespace: "test", name: "service-\(number)"), port: "main", transport: .tcp)
}

func simpleFrontend(
    _ number: Int, _ members: [TransportEndpoint], family: IPFamily = .v4, kind: FrontendKind = .clusterIP,
    ranges: [CIDR]? = nil
) -> Frontend {
    let answer = ScopeAnswer.backends(BackendSet(members.map { BackendSpec(endpoint: $0, isLocal: true) }))
    return Frontend(
        key: World.frontend(number, family, .tcp), kind: kind, servicePort: name(number), external: answer,
        internal: answer, allowedSources: ranges)
}

func record(_ endpoint: TransportEndpoint) -> BackendRecord {
    BackendRecord(endpoint: endpoint, state: .active, isLocal: true)
}
