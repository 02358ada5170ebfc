import BPF
import NeedletailABI
import NetTypes
import PacketKit
import Planning
import Resolver
import ServiceModel
import TestSupport
import Testing

@testable import Dataplane

/// What somebody else does to the maps is found and put right, and no packet fares worse meanwhile.
@Suite(.needsRoot) struct MapAuditTests {
    struct Corruption: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let kind: MapDifference.Kind
        /// What is said of it.
        var says = "should"
        let apply: @Sendable (DatapathMaps, MapImage) throws -> Void
    }

    private static func scene(_ family: IPFamily, _ transport: TransportProtocol) -> Scene {
        Scene(ingress: .externalIngress, family: family, transport: transport)
    }

    private static let scenes = [scene(.v4, .tcp), scene(.v4, .udp), scene(.v6, .tcp), scene(.v6, .udp)]

    /// Of each family and transport: two frontends with backends of their own, one of a load balancer that is
    /// restricted, and one without endpoints.
    private static let frontends = scenes.flatMap { scene in
        let ranges = [scene.family == .v4 ? "192.0.2.0/24" : "2001:db8:0:1::/64"].compactMap { CIDR($0) }
        let others = ScopeAnswer.these(scene.backends(7...8))
        return [
            scene.frontend(1, external: .these(scene.backends(1...3)), internal: others),
            scene.frontend(2, external: .these(scene.backends(4...5)), internal: others),
            Frontend(
                key: scene.frontend(3), kind: .loadBalancer, servicePort: scene.name(3),
                external: .these([scene.backend(6)]), internal: others, allowedSources: ranges),
            scene.frontend(4, external: .refused(.noEndpoints), internal: .refused(.noEndpoints)),
        ]
    }

    private static func served(_ lab: Lab) throws -> Planner {
        var planner = try Planner(lab.image())
        let plan = planner.plan(all: DesiredChanges(all: Lab.desired(frontends, alsoServing: [])))
        try #require(plan.problems == [])
        try lab.perform(plan.writes)
        for write in plan.writes { planner.performed(write) }
        try lab.datapath.maps.store(node.state)
        var devices = try DeviceTable(lab.datapath.maps)
        try devices.store(node.devices)
        return planner
    }

    /// What is told of the node; its devices are none that packets of these tests are on.
    private static let node = NodeRecords(
        state: NodeState(
            addresses: [.v4: IPAddress(v4: 0xC000_02C8)], clusterIPs: [key(1).address, key(1, .v6).address],
            serviceCIDRs: [CIDR("198.19.0.0/16")].compactMap { $0 },
            podPrefixes: [.v4: CIDR("203.0.113.64/26")].compactMapValues { $0 }),
        devices: [
            4001: DeviceRecord(role: .external, takesFromXDP: true, addresses: [.v4: IPAddress(v4: 0xC000_02C9)]),
            4002: DeviceRecord(role: .workload, takesFromXDP: false, addresses: [:]),
        ])

    private static func audit(_ lab: Lab, _ planner: Planner) throws -> [MapDifference] {
        var audit = MapAudit()
        return try lab.withKernel { try audit.run(&$0, planner, node) }
    }

    // MARK: What can go wrong

    private static func key(_ number: Int, _ family: IPFamily = .v4, _ transport: TransportProtocol = .tcp)
        -> TransportEndpoint
    { scene(family, transport).frontend(number) }

    private static func set(_ number: Int, _ image: MapImage) throws -> SetID {
        guard case .set(let id)? = image.frontends[key(number)]?.external else { throw Missing() }
        return id
    }

    struct Missing: Error {}

    private static func edit(
        _ maps: DatapathMaps, _ number: Int, _ change: (inout nt_frontend) -> Void
    ) throws {
        let key = nt_frontend_key4(Self.key(number))
        guard var wire = try maps.frontends4.lookup(key) else { throw Missing() }
        change(&wire)
        try maps.frontends4.update(key, wire)
    }

    private static func edit<Value>(
        _ map: BPFMap<UInt32, Value>, _ id: UInt32, _ change: (inout Value) -> Void
    ) throws {
        guard var wire = try map.lookup(id) else { throw Missing() }
        change(&wire)
        try map.update(id, wire)
    }

    private static func backend(_ number: Int, _ image: MapImage) throws -> UInt32 {
        let endpoint = scene(.v4, .tcp).backend(number)
        guard let id = image.backends.first(where: { $0.value.endpoint == endpoint })?.key else { throw Missing() }
        return id.rawValue
    }

    private static func service(_ number: Int, _ image: MapImage) throws -> ServiceID {
        let name = scene(.v4, .tcp).name(number)
        guard let id = image.services.first(where: { $0.value == name })?.key else { throw Missing() }
        return id
    }

    private static func overwriteSlots(
        _ maps: DatapathMaps, _ record: SetRecord, _ value: UInt32, _ range: (SetRecord) -> Range<Int>
    ) throws {
        let first = Int(record.line)
        try maps.slots.withMapped(elements: first..<first + record.lines, writable: true) { bytes in
            let extent = bytes.bindMemory(to: UInt32.self)
            for index in range(record) { extent[index] = value }
        }
    }

    static let corruptions: [Corruption] = [
        Corruption(testDescription: "a frontend is gone", kind: .frontend, says: "absent, should be set") { maps, _ in
            try maps.frontends4.delete(nt_frontend_key4(key(1)))
            try maps.frontends6.delete(nt_frontend_key6(key(1, .v6)))
        },
        Corruption(testDescription: "a frontend leads to another's backends", kind: .frontend) { maps, image in
            let other = try set(2, image)
            try edit(maps, 1) { $0.set.0 = other }
        },
        Corruption(testDescription: "a frontend refuses", kind: .frontend, says: "no endpoints outside") { maps, _ in
            try edit(maps, 1) {
                $0.set.0 = SetID(rawValue: 0); $0.refusal.0 = 1
            }
        },
        Corruption(testDescription: "a frontend's copy of its key is wrong", kind: .frontend, says: "not readable") {
            maps, _ in try edit(maps, 1) { $0.port = NetworkPort(hostOrder: 81) }
        },
        Corruption(testDescription: "a frontend is open to all", kind: .frontend) { maps, _ in
            try edit(maps, 3) { $0.flags &= ~NT_FRONTEND_SOURCE_RANGES }
        },
        Corruption(testDescription: "a frontend nobody asked for", kind: .frontend, says: "should be absent") {
            maps, image in
            let record = FrontendRecord(
                flags: .clusterIP, service: try service(1, image), external: .set(try set(1, image)),
                internal: .refuse(.noEndpoints))
            try maps.frontends4.update(nt_frontend_key4(key(9)), record.wire(for: key(9)))
        },
        Corruption(testDescription: "a key of no protocol", kind: .foreign, says: "no agent writes") { maps, _ in
            var wire = nt_frontend_key4(key(1))
            wire.protocol = 200
            try maps.frontends4.update(wire, nt_frontend())
        },
        Corruption(testDescription: "a backend is elsewhere", kind: .backend) { maps, image in
            try edit(maps.backends, backend(1, image)) { $0.port = NetworkPort(hostOrder: 1) }
        },
        Corruption(testDescription: "a backend is gone", kind: .backend, says: "absent, should be") { maps, image in
            try edit(maps.backends, backend(1, image)) { $0 = nt_backend() }
        },
        Corruption(testDescription: "a backend in no state", kind: .backend, says: "not readable") { maps, image in
            try edit(maps.backends, backend(1, image)) { $0.state = 200 }
        },
        Corruption(testDescription: "a backend nobody asked for", kind: .backend, says: "should be absent") {
            maps, _ in
            let record = BackendRecord(endpoint: key(9), state: .active, isLocal: true)
            try maps.backends.update(400, record.wire)
        },
        Corruption(testDescription: "something at the backend id that stands for none", kind: .backend) { maps, _ in
            try edit(maps.backends, 0) { $0.pad = 7 }
        },
        Corruption(testDescription: "a set is gone", kind: .set, says: "absent, should be") { maps, image in
            try edit(maps.sets, set(1, image).rawValue) { $0 = nt_set() }
        },
        Corruption(testDescription: "a set has another's table", kind: .set) { maps, image in
            let other = try #require(image.sets[set(2, image)])
            try edit(maps.sets, set(1, image).rawValue) { $0.line = other.line }
        },
        Corruption(testDescription: "a set nobody asked for", kind: .set, says: "should be absent") { maps, image in
            try maps.sets.update(200, #require(image.sets[set(1, image)]).wire)
        },
        Corruption(testDescription: "slots name another backend", kind: .table, says: "elements name another") {
            maps, image in
            let foreign = try backend(4, image)
            try overwriteSlots(maps, #require(image.sets[set(1, image)]), foreign) { 10..<Int($0.slots) / 2 }
        },
        Corruption(testDescription: "a table is wiped out", kind: .table, says: "elements name another") {
            maps, image in
            try overwriteSlots(maps, #require(image.sets[set(1, image)]), 0) { 0..<$0.lines * 16 }
        },
        Corruption(testDescription: "the list of members is wrong", kind: .table, says: "1 of") { maps, image in
            let foreign = try backend(4, image)
            try overwriteSlots(maps, #require(image.sets[set(1, image)]), foreign) {
                let first = SetRecord.lines(for: Int($0.slots)) * 16
                return first..<first + 1
            }
        },
        Corruption(testDescription: "a name is another's", kind: .service) { maps, image in
            try maps.services.update(service(1, image), scene(.v4, .tcp).name(77).wire)
        },
        Corruption(testDescription: "a name is gone", kind: .service, says: "absent, should be") { maps, image in
            try maps.services.delete(service(1, image))
        },
        Corruption(testDescription: "a name nobody asked for", kind: .service, says: "should be absent") { maps, _ in
            try maps.services.update(ServiceID(rawValue: 99), scene(.v4, .tcp).name(77).wire)
        },
        Corruption(testDescription: "a range is gone", kind: .range, says: "should be there") { maps, image in
            let prefix = try #require(CIDR("192.0.2.0/24"))
            try maps.ranges4.delete(nt_range_key4(service(3, image), prefix))
        },
        Corruption(testDescription: "a range lets others in", kind: .range, says: "should not be") { maps, image in
            let prefix = try #require(CIDR("0.0.0.0/0"))
            try maps.ranges4.update(nt_range_key4(service(3, image), prefix), 1)
        },
        Corruption(testDescription: "an address is gone", kind: .address, says: "absent, should be") { maps, _ in
            try maps.addresses4.delete(nt_address_key4(key(1).address))
        },
        Corruption(testDescription: "an address is something else", kind: .address) { maps, _ in
            try maps.addresses4.update(nt_address_key4(key(3).address), nt_address(flags: NT_ADDRESS_CLUSTER_IP))
        },
        Corruption(testDescription: "an address nobody asked for", kind: .address, says: "should be absent") {
            maps, _ in
            try maps.addresses6.update(
                nt_address_key6(key(9, .v6).address), nt_address(flags: NT_ADDRESS_CLUSTER_IP))
        },
        Corruption(testDescription: "a device is gone", kind: .device, says: "absent, should be external") { maps, _ in
            try maps.devices.delete(4001)
        },
        Corruption(testDescription: "a device is of the other kind", kind: .device, says: "should be workload") {
            maps, _ in try edit(maps.devices, 4002) { $0.flags = NT_DEVICE_EXTERNAL }
        },
        Corruption(testDescription: "a device of no kind", kind: .device, says: "not readable") { maps, _ in
            try edit(maps.devices, 4002) { $0.flags = 1 << 30 }
        },
        Corruption(testDescription: "a device nobody asked for", kind: .device, says: "should be absent") { maps, _ in
            try maps.devices.update(4003, nt_device(flags: NT_DEVICE_XDP, addr4: 1, addr6: (0, 0, 0, 0)))
        },
        Corruption(testDescription: "nothing is known of the node", kind: .node, says: "absent, should be") { maps, _ in
            try maps.node.update(0, nt_node())
        },
        Corruption(testDescription: "ClusterIPs are elsewhere", kind: .node, says: "ClusterIPs") { maps, _ in
            try edit(maps.node, 0) { $0.cluster_last4 = $0.cluster_first4 }
        },
        Corruption(
            testDescription: "the node has another address", kind: .node, says: "should be addresses 192.0.2.200"
        ) { maps, _ in try edit(maps.node, 0) { $0.addr4 = UInt32(0xC000_02CA).bigEndian } },
        Corruption(testDescription: "what means nothing in the node's record", kind: .node, says: "not readable") {
            maps, _ in try edit(maps.node, 0) { $0.pad = 7 }
        },
    ]

    // MARK: Tests

    @Test("What the agent has written is as it should be") func nothingToFind() throws {
        try Lab.withLab { lab in
            let planner = try Self.served(lab)
            #expect(try Self.audit(lab, planner) == [])
        }
    }

    @Test(arguments: corruptions) func foundAndPutRight(_ corruption: Corruption) throws {
        try Lab.withLab { lab in
            let planner = try Self.served(lab)
            let right = try Self.fates(lab)
            try corruption.apply(lab.datapath.maps, planner.image)
            let found = try Self.audit(lab, planner)
            #expect(!found.isEmpty && found.allSatisfy { $0.kind == corruption.kind }, "\(found)")
            #expect(found.allSatisfy { "\($0)".contains(corruption.says) }, "\(found)")
            try Self.repair(found, lab, right)
            #expect(try Self.audit(lab, planner) == [])
            #expect(try lab.image() == planner.image)
            #expect(try Self.fates(lab) == right)
        }
    }

    @Test("All of it at once, in any mixture") func mixtures() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        try Lab.withLab { lab in
            let planner = try Self.served(lab)
            let right = try Self.fates(lab)
            // Of several at once, a packet may see one put right before another.
            for round in 0..<8 {
                for corruption in Self.corruptions.shuffled(using: &random).prefix(round + 2) {
                    // One may have taken away what another would change.
                    try? corruption.apply(lab.datapath.maps, planner.image)
                }
                let found = try Self.audit(lab, planner)
                try lab.withKernel { try $0.repair(found) }
                #expect(try Self.audit(lab, planner) == [], "seed \(seed), round \(round)")
                #expect(try lab.image() == planner.image, "seed \(seed), round \(round)")
            }
            #expect(try Self.fates(lab) == right, "seed \(seed)")
        }
    }

    @Test("Statistics and flows are left alone") func whatIsNotTouched() throws {
        try Lab.withLab { lab in
            let planner = try Self.served(lab)
            let scene = Self.scene(.v4, .tcp)
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            let flows = try lab.flows()
            let id = try Self.service(1, planner.image)
            let counted = try ServiceStatistics.read(lab.datapath.maps, ids: [id])[id]
            #expect(counted?.newFlows == 1)
            try lab.datapath.maps.services.delete(id)
            let found = try Self.audit(lab, planner)
            try lab.withKernel { try $0.repair(found) }
            #expect(try ServiceStatistics.read(lab.datapath.maps, ids: [id])[id] == counted)
            #expect(try lab.flows() == flows)
        }
    }

    @Test("Tables take turns, a bounded number of slots at a time") func turns() throws {
        try Lab.withLab { lab in
            let planner = try Self.served(lab)
            let all = planner.tables(from: 0, slots: .max)
            #expect(all.isLast)
            #expect(Set(all.some.map(\.id)) == Set(planner.image.sets.keys))
            // Each one alone, in turn, however small the bound is.
            var seen: [SetID] = []
            var next: UInt32 = 0
            for _ in all.some {
                let some = planner.tables(from: next, slots: 1)
                #expect(some.some.count == 1)
                seen += some.some.map(\.id)
                next = (seen.last?.rawValue ?? 0) + 1
            }
            #expect(seen == all.some.map(\.id))
            var audit = MapAudit()
            for part in MapAudit.Part.allCases {
                #expect(audit.next == part)
                _ = try lab.withKernel { try audit.step(&$0, planner, Self.node) }
            }
            #expect(audit.rounds == 1 && audit.next == .services)
        }
    }

    // MARK: Packets

    /// What becomes of clients' first packets, each from and to where it says.
    private static func fates(_ lab: Lab) throws -> [String: String] {
        try lab.forgetClients()
        var fates: [String: String] = [:]
        for scene in scenes {
            for (number, client) in [1, 2, 3, 4, 9].flatMap({ number in
                [UInt16(40_000), 40_001, 40_002].map { (number, scene.client(port: $0)) } + [
                    (number, scene.backend(50))
                ]
            }) {
                let packet = scene.request(from: client, to: scene.frontend(number))
                let outcome = try lab.run(packet.bytes, in: scene.ingress)
                let counted = (outcome.counted[scene.ingress] ?? [:]).keys.map(\.name).sorted().joined(separator: " ")
                let destination = PacketDissection(outcome.output).destination.map(\.description) ?? ""
                fates["\(client) to \(scene.frontend(number))"] = "\(outcome.verdict) \(destination) \(counted)"
            }
        }
        return fates
    }

    /// One write after the other: each packet fares as it did with what was found, or as it should.
    private static func repair(_ found: [MapDifference], _ lab: Lab, _ right: [String: String]) throws {
        var before = try fates(lab)
        for difference in MapDifference.inOrder(found) {
            try lab.withKernel { try $0.repair([difference]) }
            let now = try fates(lab)
            for (what, fate) in now {
                #expect(fate == right[what] || fate == before[what], "\(what) after \(difference)")
            }
            before = now
        }
    }
}
