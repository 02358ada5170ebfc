import BPF
import Dataplane
import Foundation
import Inspection
import NeedletailABI
import NetLab
import NetTypes
import Netlink
import PacketKit
import Planning
import ServiceModel
import Testing

/// A node of its own namespace: two devices, routes to everybody, and a datapath that is attached to none of them, so
/// that nothing but the tests' packets goes through its programs.
///
/// `@unchecked Sendable`: a test uses it from one thread at a time.
private final class TraceRig: @unchecked Sendable {
    let datapath: TestDatapath
    let host: NetLab.Host
    let external: Int32
    let workload: Int32
    private var frontends4: [(key: nt_frontend_key4, value: nt_frontend)] = []
    private var frontends6: [(key: nt_frontend_key6, value: nt_frontend)] = []

    init() throws {
        datapath = try TestDatapath()
        try Datapath.pinTraceTwins(datapath.settings, pins: datapath.pins)
        host = try NetLab.Host(name: "trace")
        try host.enableForwarding()
        let gateways = try ["192.0.2.254", "2001:db8:0:2::fe"].map { try #require(IPAddress($0)) }
        try host.namespace.withNetlink { netlink in
            for (name, peer) in [("eth0", "far0"), ("pod0", "in0")] {
                try netlink.createVeth(VethEnd(name: name), peer: VethEnd(name: peer))
                for end in [name, peer] { try netlink.setUp(try #require(try netlink.interface(named: end)).index) }
            }
        }
        external = Int32(try host.device("eth0").index)
        workload = Int32(try host.device("pod0").index)
        try host.addAddress(try #require(IPAddress("192.0.2.1")), prefixLength: 24, device: "eth0")
        try host.addAddress(try #require(IPAddress("2001:db8:0:2::1")), prefixLength: 64, device: "eth0")
        try host.addRoute(to: try #require(CIDR("198.18.1.1/32")), device: "pod0")
        try host.addRoute(to: try #require(CIDR("2001:db8:1::1/128")), device: "pod0")
        for gateway in gateways { try host.addDefaultRoute(via: gateway, device: "eth0") }
        let (index, pods) = (UInt32(external), UInt32(workload))
        let mac = try #require(MACAddress(bytes: [2, 0, 0, 0, 0, 9]))
        let neighbours = gateways + (try ["198.18.1.1", "2001:db8:1::1"].map { try #require(IPAddress($0)) })
        try host.namespace.withNetlink { netlink in
            for address in neighbours {
                let device = gateways.contains(address) ? index : pods
                try netlink.addNeighbor(address, at: mac, interface: device)
            }
        }
        try setXDP(true)
        try datapath.datapath.maps.store(
            NodeState(
                addresses: try Self.addresses(), clusterIPs: [try #require(IPAddress("198.18.0.10"))],
                serviceCIDRs: [try #require(CIDR("198.18.0.0/24")), try #require(CIDR("2001:db8::/112"))]))
        try datapath.program(Self.services)
        // All backends are for outside traffic too, as where the policies are Cluster.
        for family in IPFamily.allCases {
            for transport in ["TCP", "UDP"] {
                for number in [10, 12] {
                    try change(try frontend(number, family, transport)) { $0.set.0 = $0.set.1 }
                }
            }
        }
        frontends4 = try map("nt_frontends4").entries()
        frontends6 = try map("nt_frontends6").entries()
    }

    /// As it was in the beginning.
    func reset() throws {
        func empty<Key: BitwiseCopyable, Value: BitwiseCopyable>(_ name: String, _: Key.Type, _: Value.Type) throws {
            let map = try map(name, Key.self, Value.self)
            for (key, _) in try map.entries() { try map.delete(key) }
        }
        for transport in ["tcp", "udp"] {
            try empty("nt_\(transport)_flows4", nt_flow_key4.self, nt_flow4.self)
            try empty("nt_\(transport)_flows6", nt_flow_key6.self, nt_flow6.self)
        }
        try FlowTable(DatapathMaps(pinnedIn: datapath.pins)).unmark()
        try empty("nt_affinity", nt_affinity_key.self, nt_affinity.self)
        try empty("nt_answers", nt_addr.self, UInt64.self)
        try empty("nt_ranges4", nt_range_key4.self, UInt32.self)
        try empty("nt_ranges6", nt_range_key6.self, UInt32.self)
        for (key, value) in frontends4 { try map("nt_frontends4").update(key, value) }
        for (key, value) in frontends6 { try map("nt_frontends6").update(key, value) }
        let image = datapath.image
        try datapath.perform(image.backends.map { .backend($0.key, $0.value) })
        try setXDP(true)
        try detectPods([:])
    }

    /// Whose packets count as pods' though they come by an external device.
    func detectPods(_ prefixes: [IPFamily: CIDR]) throws {
        var state = try datapath.datapath.maps.nodeState()
        state.podPrefixes = prefixes
        try datapath.datapath.maps.store(state)
    }

    /// Makes a backend one that is no more.
    func end(_ backend: TransportEndpoint) throws {
        let found = try #require(datapath.image.backends.first { $0.value.endpoint == backend })
        var record = found.value
        record.state = .gone
        var kernel = KernelMaps(datapath.datapath.maps)
        try kernel.perform([.backend(found.key, record)])
    }

    static func addresses() throws -> [IPFamily: IPAddress] {
        [.v4: try #require(IPAddress("192.0.2.1")), .v6: try #require(IPAddress("2001:db8:0:2::1"))]
    }

    func setXDP(_ isAble: Bool) throws {
        var table = try DeviceTable(datapath.datapath.maps)
        try table.store([
            UInt32(external): DeviceRecord(role: .external, takesFromXDP: isAble, addresses: try Self.addresses()),
            UInt32(workload): DeviceRecord(role: .workload, takesFromXDP: false, addresses: [:]),
        ])
    }

    // MARK: Services

    private static func service(
        _ name: String, _ number: Int, _ endpoints: [(Int, String)], _ change: (inout Service) -> Void = { _ in }
    ) -> (service: Service, slices: [EndpointSlice]) {
        let id = ObjectName(namespace: "shop", name: name)
        let ports = [("t", "TCP"), ("u", "UDP")]
        var service = Service(
            name: id, clusterIP: "198.18.0.\(number)", clusterIPs: ["198.18.0.\(number)", "2001:db8::\(number)"],
            ipFamilies: ["IPv4", "IPv6"],
            ports: ports.map { ServicePort(name: $0.0, protocolName: $0.1, port: 80) })
        change(&service)
        let slices = [("IPv4", "198.18.1."), ("IPv6", "2001:db8:1::")].map { type, prefix in
            EndpointSlice(
                name: ObjectName(namespace: "shop", name: "\(name)-\(type.lowercased())"), serviceName: name,
                addressType: type,
                endpoints: endpoints.map { Endpoint(addresses: ["\(prefix)\($0.0)"], nodeName: $0.1) },
                ports: ports.map { EndpointPort(name: $0.0, protocolName: $0.1, port: 8080) })
        }
        return (service, endpoints.isEmpty ? [] : slices)
    }

    /// web: here and elsewhere; here: on this node; there: on others; empty: nowhere.
    private static var services: [(service: Service, slices: [EndpointSlice])] {
        [
            service("web", 10, [(1, "worker-1"), (2, "worker-2"), (3, "worker-3")]),
            service("here", 11, [(1, "worker-1")]), service("there", 12, [(2, "worker-2")]),
            service("empty", 13, []),
        ]
    }

    func frontend(_ number: Int, _ family: IPFamily, _ transport: String) throws -> TransportEndpoint {
        try endpoint("\(family == .v4 ? "198.18.0.\(number)" : "[2001:db8::\(number)]"):80/\(transport)")
    }

    /// A client outside, or a pod of this node.
    func client(_ number: Int, _ family: IPFamily, _ transport: String, port: Int = 40_000) throws -> TransportEndpoint
    {
        try endpoint("\(family == .v4 ? "203.0.113.\(number)" : "[2001:db8:7::\(number)]"):\(port)/\(transport)")
    }

    func backend(_ number: Int, _ family: IPFamily, _ transport: String, port: Int = 8080) throws -> TransportEndpoint {
        try endpoint("\(family == .v4 ? "198.18.1.\(number)" : "[2001:db8:1::\(number)]"):\(port)/\(transport)")
    }

    // MARK: maps

    func map<Key: BitwiseCopyable, Value: BitwiseCopyable>(
        _ name: String, _: Key.Type = Key.self, _: Value.Type = Value.self
    ) throws -> BPFMap<Key, Value> {
        try .open(pinnedAt: datapath.pins.map(name))
    }

    /// Changes the record of a frontend.
    func change(_ frontend: TransportEndpoint, _ body: (inout nt_frontend) -> Void) throws {
        func change<Key: BitwiseCopyable>(_ map: BPFMap<Key, nt_frontend>) throws {
            for (key, value) in try map.entries() where value.port.port == frontend.port {
                var value = value
                guard value.protocol == frontend.transport.rawValue,
                    withUnsafeBytes(of: value.addr, { $0.starts(with: frontend.address.bytes) })
                else { continue }
                body(&value)
                try map.update(key, value)
            }
        }
        if frontend.address.family == .v4 {
            try change(try map("nt_frontends4", nt_frontend_key4.self))
        } else {
            try change(try map("nt_frontends6", nt_frontend_key6.self))
        }
    }

    /// Lets an address of a Service in.
    func allow(_ address: IPAddress, to frontend: TransportEndpoint) throws {
        var service = ServiceID(rawValue: 0)
        try change(frontend) { service = $0.service }
        let bytes = address.bytes
        if address.family == .v4 {
            var key = nt_range_key4(prefix_length: 64, service: service, addr: 0)
            withUnsafeMutableBytes(of: &key.addr) { $0.copyBytes(from: bytes) }
            try map("nt_ranges4", nt_range_key4.self, UInt32.self).update(key, 1)
        } else {
            var key = nt_range_key6(prefix_length: 160, service: service, addr: (0, 0, 0, 0))
            withUnsafeMutableBytes(of: &key.addr) { $0.copyBytes(from: bytes) }
            try map("nt_ranges6", nt_range_key6.self, UInt32.self).update(key, 1)
        }
    }

    /// All that packets change, byte for byte.
    func state() throws -> [String: [[UInt8]]] {
        func bytes<T>(_ value: T) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
        var state: [String: [[UInt8]]] = [:]
        func add<Key: BitwiseCopyable, Value: BitwiseCopyable>(_ name: String, _: Key.Type, _: Value.Type) throws {
            let entries = try map(name, Key.self, Value.self).entries()
            state[name] = entries.map { bytes($0.0) + bytes($0.1) }.sorted { $0.lexicographicallyPrecedes($1) }
        }
        for transport in ["tcp", "udp"] {
            try add("nt_\(transport)_flows4", nt_flow_key4.self, nt_flow4.self)
            try add("nt_\(transport)_flows6", nt_flow_key6.self, nt_flow6.self)
        }
        try add("nt_affinity", nt_affinity_key.self, nt_affinity.self)
        try add("nt_fragments", nt_fragment_key.self, nt_fragment.self)
        try add("nt_answers", nt_addr.self, UInt64.self)
        try add("nt_event_ctl", UInt32.self, nt_event_control.self)
        let counters = try PerCPUMap<UInt32, nt_counters>.open(pinnedAt: datapath.pins.map("nt_counters"))
        state["nt_counters"] = try #require(try counters.lookup(0)).map { bytes($0) }
        let stats = try PerCPUMap<ServiceID, nt_service_stats>.open(pinnedAt: datapath.pins.map("nt_stats"))
        state["nt_stats"] = try (0..<65).flatMap { try stats.lookup(ServiceID(rawValue: $0)) ?? [] }.map { bytes($0) }
        return state
    }

    // MARK: packets

    struct Run {
        let verdict: Int32
        let output: [UInt8]
        let counters: Set<String>
    }

    func device(_ program: DatapathProgram) -> Int32 {
        [.workloadIngress, .workloadEgress].contains(program) ? workload : external
    }

    /// What the program on a device does with a packet.
    @discardableResult
    func live(_ frame: [UInt8], _ program: DatapathProgram) throws -> Run {
        let before = try CounterReading(datapath.datapath.maps)
        let context = program.context(device: device(program), packet: frame.count)
        let loaded = try #require(datapath.datapath.programs[program])
        let run = try host.namespace.run { try loaded.testRun(packet: frame, context: context) }
        let after = try CounterReading(datapath.datapath.maps)
        let moved = DatapathCounter.allCases.filter { after[program, $0] != before[program, $0] }
        return Run(verdict: run.signedVerdict, output: run.output, counters: Set(moved.map(\.name)))
    }

    func traced(_ frame: [UInt8], _ program: DatapathProgram) throws -> Run {
        let (pins, device) = (datapath.pins, device(program))
        let outcome = try host.namespace.run {
            try TraceProgram(program, pinnedIn: pins).run(frame, device: device)
        }
        return Run(
            verdict: outcome.run.signedVerdict, output: outcome.run.output, counters: Set(outcome.counters.map(\.name)))
    }

    /// The report, as the command makes it.
    func report(_ frame: [UInt8], _ question: TraceQuestion = TraceQuestion()) throws -> PacketTrace {
        let pins = datapath.pins
        let hex = frame.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let packet = try InputPacket(hex: hex)
        let report = try host.namespace.run { try Inspector(pins: pins).trace([packet], question) }
        return try #require(report.traces.first)
    }
}

/// What `trace` says of packets is what the programs do with them.
@Suite(.serialized, .requiresBPF, .timeLimit(.minutes(5)))
struct TraceTests {
    fileprivate struct Situation: Sendable {
        let name: String
        let actions: [DatapathProgram: TraceVerdict.Action]
        /// What must be told, by name in the document of the deciding step.
        var tells: [String: String] = [:]
        /// Prepares the maps, and returns the packet.
        let packet: @Sendable (TraceRig, Place) throws -> PacketBuilder
    }

    /// Where a packet enters.
    struct Place: Sendable {
        let program: DatapathProgram
        let family: IPFamily
        let transport: String

        static let all: [Place] = [DatapathProgram.externalXDP, .externalIngress, .workloadIngress].flatMap { program in
            IPFamily.allCases.flatMap { family in
                ["TCP", "UDP"].map { Place(program: program, family: family, transport: $0) }
            }
        }
    }

    private static func request(
        _ rig: TraceRig, _ place: Place, _ number: Int, from client: Int = 7, flags: TCPFlags = .syn
    ) throws -> PacketBuilder {
        PacketBuilder(
            from: try rig.client(client, place.family, place.transport),
            to: try rig.frontend(number, place.family, place.transport), flags: flags)
    }

    private static func everywhere(_ action: TraceVerdict.Action) -> [DatapathProgram: TraceVerdict.Action] {
        [.externalXDP: action, .externalIngress: action, .workloadIngress: action]
    }

    fileprivate static let situations: [Situation] = [
        Situation(name: "a backend of this node", actions: everywhere(.translated), tells: ["flow": "new"]) {
            try request($0, $1, 11)
        },
        Situation(
            name: "a backend of another node",
            actions: [.externalXDP: .sent, .externalIngress: .sent, .workloadIngress: .translated],
            tells: ["flow": "new"]
        ) { try request($0, $1, 12) },
        Situation(
            name: "XDP cannot send",
            actions: [.externalXDP: .left, .externalIngress: .sent, .workloadIngress: .translated]
        ) { rig, place in
            try rig.setXDP(false)
            return try request(rig, place, 12)
        },
        Situation(
            name: "established, sent on",
            actions: [.externalXDP: .sent, .externalIngress: .sent, .workloadIngress: .translated],
            tells: ["flow": "found"]
        ) { rig, place in
            try rig.live(try request(rig, place, 12).bytes, place.program)
            return try request(rig, place, 12, flags: .ack)
        },
        Situation(name: "established", actions: everywhere(.translated), tells: ["flow": "found"]) { rig, place in
            try rig.live(try request(rig, place, 11).bytes, place.program)
            return try request(rig, place, 11, flags: .ack)
        },
        Situation(
            name: "begins anew with another backend", actions: everywhere(.translated), tells: ["flow": "unusable"]
        ) { rig, place in
            try rig.live(try request(rig, place, 12).bytes, .workloadIngress)
            try rig.end(try rig.backend(2, place.family, place.transport))
            var set = SetID(rawValue: 0)
            try rig.change(try rig.frontend(11, place.family, place.transport)) { set = $0.set.1 }
            try rig.change(try rig.frontend(12, place.family, place.transport)) { $0.set = (set, set) }
            return try request(rig, place, 12)
        },
        // Answered, or dropped by one who was told often enough.
        Situation(name: "no endpoints", actions: [:]) { try request($0, $1, 13) },
        Situation(name: "no endpoints on this node", actions: everywhere(.dropped), tells: ["flow": "none"]) {
            rig, place in
            try rig.change(try rig.frontend(13, place.family, place.transport)) { $0.refusal = (2, 2) }
            return try request(rig, place, 13)
        },
        Situation(name: "a source that is not let in", actions: everywhere(.dropped), tells: ["sourceAllowed": "no"]) {
            rig, place in
            let frontend = try rig.frontend(11, place.family, place.transport)
            try rig.change(frontend) { $0.flags |= NT_FRONTEND_SOURCE_RANGES }
            try rig.allow(try rig.client(99, place.family, place.transport).address, to: frontend)
            return try request(rig, place, 11)
        },
        Situation(name: "a pod, wherever it is", actions: everywhere(.translated), tells: ["flow": "new"]) {
            rig, place in
            let frontend = try rig.frontend(11, place.family, place.transport)
            try rig.change(frontend) {
                $0.set.0 = SetID(rawValue: 0)
                $0.refusal.0 = 2
            }
            let client = try rig.client(7, place.family, place.transport).address
            try rig.detectPods([place.family: try #require(CIDR(client, length: place.family.bitWidth - 4))])
            return try request(rig, place, 11)
        },
        Situation(name: "a source that is let in", actions: everywhere(.translated), tells: ["sourceAllowed": "yes"]) {
            rig, place in
            let frontend = try rig.frontend(11, place.family, place.transport)
            try rig.change(frontend) { $0.flags |= NT_FRONTEND_SOURCE_RANGES }
            try rig.allow(try rig.client(7, place.family, place.transport).address, to: frontend)
            return try request(rig, place, 11)
        },
        Situation(name: "affinity, first time", actions: [:], tells: ["affinity": "no"]) { rig, place in
            try rig.change(try rig.frontend(10, place.family, place.transport)) { $0.affinity = 600 }
            return try request(rig, place, 10)
        },
        Situation(name: "affinity, once more", actions: [:], tells: ["affinity": "yes"]) { rig, place in
            try rig.change(try rig.frontend(10, place.family, place.transport)) { $0.affinity = 600 }
            try rig.live(try request(rig, place, 10).bytes, .workloadIngress)
            return try request(rig, place, 10).withTCP { $0.sourcePort = 40_001 }.withUDP { $0.sourcePort = 40_001 }
        },
        Situation(
            name: "masqueraded by its Service",
            // The way to the pod is no device that XDP may send to.
            actions: [.externalXDP: .left, .externalIngress: .sent, .workloadIngress: .sent]
        ) { rig, place in
            try rig.change(try rig.frontend(11, place.family, place.transport)) {
                $0.flags |= NT_FRONTEND_MASQUERADE_EXTERNAL | NT_FRONTEND_MASQUERADE_INTERNAL
            }
            return try request(rig, place, 11)
        },
        Situation(
            name: "hairpin", actions: [.workloadIngress: .sent], tells: ["hairpin": "yes"]
        ) { rig, place in
            PacketBuilder(
                from: try rig.backend(1, place.family, place.transport, port: 40_000),
                to: try rig.frontend(11, place.family, place.transport), flags: .syn)
        },
        Situation(name: "removed", actions: everywhere(.passed), tells: ["flow": "none"]) { rig, place in
            try rig.change(try rig.frontend(11, place.family, place.transport)) { $0.flags |= NT_FRONTEND_RETIRED }
            return try request(rig, place, 11)
        },
        Situation(name: "no Service", actions: everywhere(.passed)) { rig, place in
            PacketBuilder(
                from: try rig.client(7, place.family, place.transport),
                to: try rig.backend(1, place.family, place.transport), flags: .syn)
        },
        Situation(name: "an address of no Service", actions: everywhere(.dropped)) { try request($0, $1, 77) },
    ]

    /// Each situation at every hook, for both families and protocols: nothing is changed, and what then really happens
    /// is what was said.
    @Test func saysWhatHappens() throws {
        let rig = try TraceRig()
        for situation in Self.situations {
            for place in Place.all {
                try rig.reset()
                let frame = try situation.packet(rig, place).bytes
                let comment: Comment = "\(situation.name), \(place.program.name) IP\(place.family) \(place.transport)"
                let (step, live) = try compare(rig, frame, place.program, comment)
                if let action = situation.actions[place.program] {
                    #expect(step.verdict.action == action, comment)
                }
                guard step.verdict.action != .left else { continue }
                let told = telling(step)
                for (name, value) in situation.tells { #expect(told[name] == value, "\(name): \(comment)") }
                if [.translated, .sent].contains(step.verdict.action) {
                    let destination = try #require(PacketDissection(live.output).destination)
                    #expect(step.backend?.address == "\(destination.address)", comment)
                    #expect(step.backend?.port == destination.port, comment)
                    #expect(step.rewrites.contains { $0.after == "\(destination.address)" }, comment)
                }
            }
        }
    }

    /// Replies, at the client's egress and of masqueraded flows at ingress.
    @Test(arguments: [11, 12]) func replies(_ service: Int) throws {
        let rig = try TraceRig()
        for place in Place.all {
            try rig.reset()
            let forward = try rig.live(try Self.request(rig, place, service).bytes, place.program)
            let sent = PacketDissection(forward.output)
            let (client, backend) = (try #require(sent.source), try #require(sent.destination))
            let isMasqueraded = client.address != (try rig.client(7, place.family, place.transport).address)
            let program: DatapathProgram =
                isMasqueraded ? place.program : place.program == .workloadIngress ? .workloadEgress : .externalEgress
            let reply = PacketBuilder(from: backend, to: client, flags: [.syn, .ack])
            let comment: Comment = "\(place.program.name) IP\(place.family) \(place.transport)"
            let (step, live) = try compare(rig, reply.bytes, program, comment)
            #expect(step.flow?.state == "reply", comment)
            #expect(step.verdict.action == (isMasqueraded ? .sent : .translated), comment)
            #expect(
                PacketDissection(live.output).source == (try rig.frontend(service, place.family, place.transport)),
                comment)
        }
    }

    /// Traces a packet and then sends it: nothing has changed in between, and both tell the same.
    private func compare(
        _ rig: TraceRig, _ frame: [UInt8], _ program: DatapathProgram, _ comment: Comment
    ) throws -> (TraceStep, TraceRig.Run) {
        let before = try rig.state()
        let traced = try rig.traced(frame, program)
        var question = TraceQuestion()
        question.program = try ProgramName(program.name)
        question.device = rig.device(program) == rig.workload ? "pod0" : "eth0"
        let report = try rig.report(frame, question)
        let after = try rig.state()
        for (name, entries) in before { #expect(after[name] == entries, "\(name): \(comment)") }

        let live = try rig.live(frame, program)
        #expect(traced.verdict == live.verdict, comment)
        #expect(traced.counters == live.counters, comment)
        if live.output != traced.output {
            Issue.record("\(comment): \(PacketDiff(expected: live.output, actual: traced.output))")
        }
        let step = try #require(report.steps.first)
        #expect(Set(step.counters) == live.counters, comment)
        return (step, live)
    }

    private func telling(_ step: TraceStep) -> [String: String] {
        var told: [String: String] = [:]
        told["flow"] = step.flow?.state
        told["affinity"] = step.affinity.map { $0.used ? "yes" : "no" }
        told["sourceAllowed"] = step.sourceAllowed.map { $0 ? "yes" : "no" }
        #expect((step.podPrefix != nil) == (step.scope?.scope == "internal" && step.program.hasPrefix("external")))
        told["hairpin"] = step.source.map { $0.hairpin ? "yes" : "no" }
        return told
    }
}
