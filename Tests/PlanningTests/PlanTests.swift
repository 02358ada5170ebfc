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

    @Test func `UDP flows end where an endpoint serves their port no more, though it serves another`() throws {
        func udp(_ number: Int) -> ServicePortName {
            ServicePortName(
                service: ObjectName(namespace: "test", name: "udp-\(number)"), port: "main", transport: .udp)
        }
        let (a, b) = (World.backend(0, .v4, .udp), World.backend(1, .v4, .udp))
        func state(_ serving: [Int: [TransportEndpoint]]) -> DesiredState {
            DesiredState(
                frontends: serving.map { number, endpoints in
                    let set = BackendSet(endpoints.map { BackendSpec(endpoint: $0, isLocal: true) })
                    let answer = set.isEmpty ? ScopeAnswer.refused(.noEndpoints) : .backends(set)
                    return Frontend(
                        key: World.frontend(number, .v4, .udp), kind: .clusterIP, servicePort: udp(number),
                        external: answer, internal: answer)
                }, serving: Dictionary(uniqueKeysWithValues: serving.map { (udp($0), Set($1)) }))
        }
        var maps = ModelMaps(capacity: roomy)
        var planner = try Planner(maps.image)
        func perform(_ plan: Plan) throws -> EndedFlows {
            for write in plan.writes {
                try maps.perform(write)
                planner.performed(write)
            }
            return plan.endedFlows
        }
        func owner(_ number: Int, _ endpoint: TransportEndpoint) throws -> FlowOwner {
            FlowOwner(
                service: try #require(maps.image.services.first { $0.value == udp(number) }).key,
                backend: try #require(maps.image.backends.first { $0.value.endpoint == endpoint }).key)
        }
        // What is not known to serve ends, since nobody knows what has been.
        let first = try perform(planner.plan(all: DesiredChanges(all: state([1: [a, b], 2: [a]]))))
        #expect(try first == .allBut([owner(1, a), owner(1, b), owner(2, a)]))
        var known = state([1: [a, b], 2: [a]])
        for (next, ended) in [
            (state([1: [b], 2: [a]]), [(1, a)]),  // one endpoint leaves
            (state([1: [], 2: [a]]), [(1, b)]),  // scale to zero
            (state([1: [b], 2: [a]]), []),  // back again
            (state([1: [b]]), [(2, a)]),  // the Service is deleted
        ] {
            let owners = try Set(ended.map { try owner($0.0, $0.1) })
            #expect(try perform(planner.plan(IncrementalTests.changes(from: known, to: next))) == .of(owners))
            known = next
        }
        // Where some manifests are not known, what they hold may serve.
        var other = try Planner(maps.image)
        #expect(other.plan(all: DesiredChanges(all: state([:])), keepsOthers: true).endedFlows.isEmpty)
    }

    @Test func `Other settings change the frontends that are programmed, and nothing else`() throws {
        var maps = ModelMaps(capacity: roomy)
        func state(_ masquerade: Masquerade, _ forwarding: Forwarding, _ affinity: SessionAffinity) -> DesiredState {
            let plain = simpleFrontend(0, [World.backend(0, .v4, .tcp)], kind: .nodePort)
            let frontend = Frontend(
                key: plain.key, kind: plain.kind, servicePort: plain.servicePort, external: plain.external,
                internal: plain.internal, affinity: affinity, masquerade: masquerade, forwarding: forwarding)
            return DesiredState(frontends: [frontend], backends: [World.backend(0, .v4, .tcp)])
        }
        try maps.sync(to: state(.never, .snat, .none))
        for changed in [
            state(Masquerade(external: true, internal: false), .snat, .none),
            state(Masquerade(external: true, internal: true), .snat, .none), state(.never, .dsr, .none),
            state(.never, .snat, .clientIP(timeoutSeconds: 60)),
        ] {
            let plan = try maps.sync(to: changed).plan
            #expect(plan.writes.count == 1)
            try maps.check(changed)
        }
    }

    @Test(arguments: IPFamily.allCases)
    func `A frontend is restricted when its ranges are complete, and only by them`(family: IPFamily) throws {
        let backend = World.backend(0, family, .tcp)
        let host = family.bitWidth
        let (inside, near) = (World.sources(family)[0], World.sources(family)[1])
        func state(_ ranges: [CIDR]?) -> DesiredState {
            DesiredState(
                frontends: [simpleFrontend(1, [backend], family: family, kind: .loadBalancer, ranges: ranges)],
                backends: [backend])
        }
        let (one, both) = ([CIDR(inside, length: host)], [CIDR(inside, length: host), CIDR(near, length: host)])
        var maps = ModelMaps(capacity: roomy)
        func kinds(_ ranges: [CIDR?]?) throws -> [String] {
            try maps.sync(to: state(ranges.map { $0.compactMap { $0 } })).plan.writes.map {
                switch $0 {
                case .range(_, _, let isAllowed): isAllowed ? "+range" : "-range"
                case .frontend(_, let record):
                    record?.flags.contains(.sourceRanges) == true ? "restricted" : "open"
                default: "\($0)".prefix { $0 != "(" }.description
                }
            }
        }
        #expect(
            try kinds(both) == ["service", "backend", "table", "set", "+range", "+range", "restricted", "address"])
        #expect(try kinds(one) == ["-range"])
        #expect(try kinds(both) == ["+range"])
        #expect(try kinds([CIDR(near, length: host)]) == ["-range"])
        // Programs may be asking for a while: the ranges of an open frontend go when nobody can be.
        #expect(try kinds(nil) == ["open"])
        #expect(try kinds(one) == ["+range", "-range", "restricted"])
        #expect(try kinds(nil) == ["open"])
        for write in Planner.reclaim(
            maps.image, candidates: ReclaimCandidates(maps.image), inUse: FlowUsage())
        {
            try maps.perform(write)
        }
        #expect(maps.image.ranges.isEmpty)
        // Nobody may.
        #expect(try kinds([]) == ["restricted"])
    }

    @Test func `The bounds of ClusterIPs follow the maps`() throws {
        var maps = ModelMaps(capacity: roomy)
        var planner = try Planner(maps.image)
        var known = DesiredState()
        func bounds(_ numbers: [Int]) throws -> ClosedRange<IPAddress>? {
            let next = DesiredState(frontends: numbers.map { simpleFrontend($0, []) }, backends: [])
            for write in planner.plan(IncrementalTests.changes(from: known, to: next)).writes {
                try maps.perform(write)
                planner.performed(write)
            }
            known = next
            #expect(planner.clusterIPs(.v6) == nil)
            return planner.clusterIPs(.v4)
        }
        func address(_ number: Int) -> IPAddress { World.frontend(number, .v4, .tcp).address }
        #expect(try bounds([]) == nil)
        #expect(try bounds([4, 8, 12]) == address(4)...address(12))
        #expect(try bounds([2, 8, 12]) == address(2)...address(12))
        #expect(try bounds([2, 8]) == address(2)...address(8))
        #expect(try bounds([8, 20]) == address(8)...address(20))
        #expect(try bounds([]) == nil)
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
