import BPF
import NeedletailABI
import NetLab
import NetTypes
import Netlink
import PacketKit
import Resolver
import TestSupport
import Testing

@testable import Dataplane

/// What the programs answer themselves, byte for byte: resets, ICMP errors, echo replies.
@Suite(.needsRoot) struct AnswerTests {
    /// Headers around those that matter, which an answer keeps or leaves out.
    struct Wrapping: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var families = IPFamily.allCases
        let change: @Sendable (PacketBuilder) -> PacketBuilder

        static let all = [
            Wrapping(testDescription: "plain") { $0 },
            Wrapping(testDescription: "Ethernet padding") {
                $0.with { $0.trailer = [UInt8](repeating: 0xAB, count: 13) }
            },
            Wrapping(testDescription: "802.1Q tag") { $0.withLink { $0.tags = [VLANTag(id: 100)] } },
            Wrapping(testDescription: "two tags") {
                $0.withLink { $0.tags = [VLANTag(id: 100, type: EtherType.serviceVLAN), VLANTag(id: 200)] }
            },
            Wrapping(testDescription: "hop limit 1 and traffic class") {
                $0.withIP { ($0.hopLimit, $0.trafficClass) = (1, 0xB9) }
            },
            Wrapping(testDescription: "IPv4 options", families: [.v4]) {
                $0.withIP { $0.options = [UInt8](repeating: 1, count: 12) }
            },
            Wrapping(testDescription: "extension headers", families: [.v6]) {
                $0.withIP { $0.extensions = [.hopByHop, .destinationOptions(size: 24)] }
            },
        ]

        func applies(to scene: Scene) -> Bool { families.contains(scene.family) }
    }

    // MARK: Resets

    struct Segment: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let flags: TCPFlags
        var payload = 0
        var sequence: UInt32 = 1000
        var options: [UInt8] = []
    }

    static let segments = [
        Segment(testDescription: "SYN", flags: .syn),
        Segment(testDescription: "SYN with options", flags: .syn, options: [2, 4, 5, 0xB4, 1, 3, 3, 7, 4, 2]),
        Segment(testDescription: "SYN with data (TCP Fast Open)", flags: .syn, payload: 7),
        Segment(testDescription: "ACK", flags: .ack),
        Segment(testDescription: "data", flags: [.ack, .psh], payload: 1400),
        Segment(testDescription: "FIN with ACK", flags: [.fin, .ack], payload: 3),
        Segment(testDescription: "FIN without ACK, numbers that wrap", flags: .fin, payload: 3, sequence: 0xFFFF_FFFE),
        Segment(testDescription: "no flags", flags: [], payload: 9),
    ]

    @Test("A segment for nobody is answered by the reset that RFC 9293 asks for", arguments: segments)
    func reset(_ segment: Segment) throws {
        for scene in Scene.tcp {
            try Lab.withLab { lab in
                try lab.beAbleToAnswer()
                try lab.serve([scene.refusing()])
                for wrapping in Wrapping.all where wrapping.applies(to: scene) {
                    let packet = wrapping.change(scene.request(segment.flags)).with {
                        $0.payload = (0..<segment.payload).map { UInt8(truncatingIfNeeded: $0) }
                    }
                    .withTCP { ($0.sequence, $0.acknowledgment) = (segment.sequence, 0xABCD_0123) }
                    .withTCP { $0.options = segment.options }
                    try lab.expect(
                        packet, in: scene.ingress, .answered(#require(packet.resetAnswer)), .dropNoEndpoints,
                        .answerReset)
                }
                #expect(try lab.flows() == [])
            }
        }
    }

    @Test("A reset gets no answer", arguments: Scene.tcp)
    func resetAgainstReset(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.serve([scene.refusing()])
            try lab.expect(scene.request(.rst), in: scene.ingress, .dropped, .dropNoEndpoints)
            try lab.expect(scene.request([.rst, .ack]), in: scene.ingress, .dropped, .dropNoEndpoints)
        }
    }

    // MARK: Port unreachable

    @Test(
        "A datagram for nobody is answered by port unreachable, quoting up to 512 bytes",
        arguments: [0, 1, 2, 3, 100, 463, 464, 465, 483, 484, 485, 1400])
    func unreachable(_ size: Int) throws {
        for scene in Scene.udp {
            try Lab.withLab { lab in
                try lab.beAbleToAnswer()
                try lab.serve([scene.refusing()])
                for wrapping in Wrapping.all where wrapping.applies(to: scene) {
                    let packet = wrapping.change(scene.request()).with {
                        $0.payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
                    }
                    let answer = try packet.errorAnswer(.portUnreachable(scene.family), from: scene.frontend().address)
                    try lab.expect(
                        packet, in: scene.ingress, .answered(answer), .dropNoEndpoints, .answerUnreachable)
                }
            }
        }
    }

    @Test("A datagram without a checksum, or with a wrong one, is quoted as it came", arguments: Scene.udp)
    func quotedChecksums(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.serve([scene.refusing()])
            for checksum: UInt16 in [0, 0xBAD] {
                let packet = scene.request().withUDP { $0.checksum = .value(checksum) }
                let answer = try packet.errorAnswer(.portUnreachable(scene.family), from: scene.frontend().address)
                try lab.expect(packet, in: scene.ingress, .answered(answer), .dropNoEndpoints, .answerUnreachable)
            }
        }
    }

    @Test("A jumbo frame, in several buffers, is answered too", arguments: Scene.udp)
    func jumbo(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.serve([scene.refusing()])
            let size = scene.ingress == .externalXDP ? 8000 : 3000
            let packet = scene.request().with { $0.payload = (0..<size).map { UInt8(truncatingIfNeeded: $0) } }
            let answer = try packet.errorAnswer(.portUnreachable(scene.family), from: scene.frontend().address)
            try lab.expect(packet, in: scene.ingress, .answered(answer), .dropNoEndpoints, .answerUnreachable)
        }
    }

    @Test("A packet to be segmented is answered as one", arguments: Scene.all.filter { $0.ingress != .externalXDP })
    func segmentation(_ scene: Scene) throws {
        var context = [UInt8](repeating: 0, count: 192)
        (context[164], context[176]) = (2, 100)
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.serve([scene.refusing()])
            let packet = scene.request(.ack).with { $0.payload = [UInt8](repeating: 1, count: 200) }
            try lab.expect(
                packet, in: scene.ingress, .answered(scene.refusal(of: packet)), .dropNoEndpoints,
                scene.refusalCounter, context: context)
        }
    }

    // MARK: Unknown ports

    @Test("Ports that a ClusterIP does not have are refused, other addresses are left alone", arguments: Scene.all)
    func unknownPort(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.serve([scene.serving([scene.backend()])])
            try lab.setClusterRange(scene.frontend(1).address, scene.frontend(20).address)
            try lab.setAddress(scene.frontend().address, NT_ADDRESS_CLUSTER_IP)
            let unknown = scene.request(to: scene.frontend(port: 81))
            try lab.expect(
                unknown, in: scene.ingress, .answered(scene.refusal(of: unknown)), .dropUnknownPort,
                scene.refusalCounter)
            let elsewhere = scene.request(to: scene.frontend(2, port: 81))
            try lab.expect(elsewhere, in: scene.ingress, .untouched, .passNotService)
        }
    }

    // MARK: Who gets none

    @Test("Senders that are not one host get no answer", arguments: Scene.all)
    func senders(_ scene: Scene) throws {
        let texts =
            scene.family == .v4
            ? ["0.0.0.0", "127.0.0.1", "127.255.255.255", "224.0.0.1", "239.1.2.3", "255.255.255.255"]
            : ["::", "::1", "ff02::1", "ff0e::1"]
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.serve([scene.refusing()])
            try lab.setAddress(scene.frontend().address, NT_ADDRESS_ENDPOINTS)
            for text in texts {
                let address = try #require(IPAddress(text))
                let packet = scene.request(from: TransportEndpoint(address, 40_000, scene.transport))
                try lab.expect(packet, in: scene.ingress, .dropped, .dropNoEndpoints)
                let echo = PacketBuilder(icmp: .echoRequest(scene.family), from: address, to: scene.frontend().address)
                try lab.expect(echo, in: scene.ingress, .untouched, .passNotService)
            }
            // Those nearby do.
            let nearby =
                scene.family == .v4
                ? ["1.0.0.1", "126.255.255.255", "128.0.0.1", "223.255.255.255", "240.0.0.1"]
                : ["::2", "::1:0:0:1", "fe80::1", "fd00::1"]
            for text in nearby {
                let packet = scene.request(
                    from: TransportEndpoint(try #require(IPAddress(text)), 40_000, scene.transport))
                try lab.expect(
                    packet, in: scene.ingress, .answered(scene.refusal(of: packet)), .dropNoEndpoints,
                    scene.refusalCounter)
            }
        }
    }

    @Test("Frames to more than one receiver get no answer", arguments: Scene.all)
    func broadcastFrames(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.serve([scene.refusing()])
            for mac: [UInt8] in [[UInt8](repeating: 0xFF, count: 6), [1, 0, 0x5E, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
                let packet = scene.request().withLink { $0.destination = mac }
                try lab.expect(packet, in: scene.ingress, .dropped, .dropNoEndpoints)
            }
        }
    }

    @Test(
        "XDP on a device that it cannot send to leaves all to tc, and counts nothing else",
        arguments: Scene.all.filter { $0.ingress == .externalXDP })
    func leftToTC(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer(flags: NT_DEVICE_EXTERNAL)
            try lab.serve([scene.refusing()])
            try lab.setAddress(scene.frontend().address, NT_ADDRESS_ENDPOINTS)
            try lab.expect(scene.request(), in: scene.ingress, .untouched, .passToTC)
            try lab.expect(scene.echoRequest(), in: scene.ingress, .untouched, .passToTC)
            try lab.setClusterRange(scene.frontend(1).address, scene.frontend(20).address)
            try lab.setAddress(scene.frontend().address, NT_ADDRESS_CLUSTER_IP)
            try lab.expect(
                scene.request(to: scene.frontend(port: 81)), in: scene.ingress, .untouched, .passToTC)
        }
    }

    // MARK: Limits

    @Test("A source is told so often in a tick, and then no more; others still are", arguments: Scene.udp)
    func limit(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.serve([scene.refusing()])
            let limit = Int(DatapathSettings.perTick(Lab.settings.answerLimit))
            let program = try #require(lab.datapath.programs[scene.ingress])
            let request = scene.request().bytes
            for _ in 0..<50 {
                try lab.forgetAnswers()
                let before = try CounterReading(lab.datapath.maps)
                let verdicts = try (0..<limit + 5).map { _ in try program.testRun(packet: request).signedVerdict }
                let after = try CounterReading(lab.datapath.maps)
                // Once more when a new tick began meanwhile.
                guard verdicts.last == scene.ingress.drop else { continue }
                let answered = verdicts.prefix { $0 == scene.ingress.sendBack }.count
                guard answered == limit else { continue }
                #expect(verdicts.dropFirst(limit).allSatisfy { $0 == scene.ingress.drop })
                func moved(_ counter: DatapathCounter) -> Int {
                    Int(after[scene.ingress, counter] - before[scene.ingress, counter])
                }
                #expect(moved(.dropNoEndpoints) == limit + 5)
                #expect(moved(.answerUnreachable) == limit)
                #expect(moved(.dropAnswerLimit) == 5)
                let other = scene.request(from: scene.client(2))
                try lab.expect(
                    other, in: scene.ingress, .answered(scene.refusal(of: other)), .dropNoEndpoints,
                    .answerUnreachable)
                return
            }
            Issue.record("never \(limit) answers in a tick")
        }
    }

    @Test("In the next tick a source is told again", arguments: Scene.udp)
    func limitEnds(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.serve([scene.refusing()])
            // Told very often, in tick 1.
            try lab.datapath.maps.answers.update(
                nt_addr(w: scene.client().address.words), UInt64(1_000_000) << 32 | 1)
            let packet = scene.request()
            try lab.expect(
                packet, in: scene.ingress, .answered(scene.refusal(of: packet)), .dropNoEndpoints, .answerUnreachable)
        }
    }

    // MARK: Echo

    @Test("A ping of an address that has endpoints is answered, data and all", arguments: [0, 1, 56, 1400])
    func echo(_ size: Int) throws {
        for scene in Scene.udp {
            try Lab.withLab { lab in
                try lab.beAbleToAnswer()
                try lab.setAddress(scene.frontend().address, NT_ADDRESS_LOAD_BALANCER | NT_ADDRESS_ENDPOINTS)
                for wrapping in Wrapping.all where wrapping.applies(to: scene) {
                    let data = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 3) }
                    let request = wrapping.change(scene.echoRequest(data))
                    try lab.expect(
                        request, in: scene.ingress, .answered(request.echoAnswer(scene.family)), .answerEcho)
                }
            }
        }
    }

    @Test("A ping of an address without endpoints, or of none of ours, passes", arguments: Scene.udp)
    func echoOfNobody(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.expect(scene.echoRequest(), in: scene.ingress, .untouched, .passNotService)
            try lab.setAddress(scene.frontend().address, NT_ADDRESS_CLUSTER_IP)
            try lab.expect(scene.echoRequest(), in: scene.ingress, .untouched, .passNotService)
        }
    }

    @Test(
        "A ping that asks for a route of its own passes",
        arguments: Scene.udp.filter { $0.family == .v4 }, [131, 137] as [UInt8])
    func sourceRoute(_ scene: Scene, option: UInt8) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.setAddress(scene.frontend().address, NT_ADDRESS_ENDPOINTS)
            for padding in [0, 1, 30] {
                let request = scene.echoRequest().withIP {
                    $0.options = [UInt8](repeating: 1, count: padding) + [option, 7, 4, 192, 0, 2, 9]
                }
                try lab.expect(request, in: scene.ingress, .untouched, .passNotService)
            }
        }
    }

    // MARK: On the way

    @Test(
        "Errors about the way come from the node's address on the device, or else from the node's",
        arguments: Scene.all.filter { $0.scope == .external })
    func errorsAboutTheWay(_ scene: Scene) throws {
        let topology = try Topology(podNames: ["pod"])
        let device = try topology.node.device("ntpod").index
        let backend = scene.backend()
        try topology.node.addRoute(
            to: #require(CIDR(backend.address, length: scene.family.bitWidth)), device: "ntpod")
        let mac = try #require(MACAddress("02:00:00:00:00:99"))
        try topology.node.namespace.withNetlink {
            try $0.addNeighbor(backend.address, at: mac, interface: device)
        }
        try topology.node.namespace.run {
            try Lab.withLab { lab in
                let here = scene.client(77).address
                let node = scene.client(78).address
                try lab.setNode(node)
                try lab.setDevice(device, NT_DEVICE_EXTERNAL | NT_DEVICE_XDP, node)
                let remote = ScopeAnswer.backends(BackendSet([BackendSpec(endpoint: backend, isLocal: false)]))
                try lab.serve([scene.frontend(external: remote, internal: remote)])
                for (own, sender) in [(here, here), (nil, node)] {
                    try lab.setDevice(1, NT_DEVICE_EXTERNAL | NT_DEVICE_XDP, own)
                    let late = scene.request().withIP { $0.hopLimit = 1 }
                    try lab.expect(
                        late, in: scene.ingress,
                        .answered(late.errorAnswer(.timeExceeded(scene.family), from: sender)), .dropHopLimit,
                        .answerTimeExceeded)
                    let long = scene.request().with { $0.payload = [UInt8](repeating: 7, count: 1500) }
                    try lab.expect(
                        long, in: scene.ingress,
                        .answered(long.errorAnswer(.packetTooBig(scene.family, mtu: 1500), from: sender)),
                        .dropTooBig, .answerTooBig)
                    guard scene.family == .v4 else { continue }
                    try lab.expect(
                        long.withIP { $0.doNotFragment = false }, in: scene.ingress, .dropped, .dropTooBig)
                }
                #expect(try lab.flows() == [])
            }
        }
    }
}

extension Scene {
    /// The frontend without endpoints.
    func refusing() -> Frontend {
        frontend(external: .refused(.noEndpoints), internal: .refused(.noEndpoints))
    }

    func echoRequest(_ data: [UInt8] = Array("abcdefgh".utf8)) -> PacketBuilder {
        PacketBuilder(
            icmp: .echoRequest(family, identifier: 0x4711, sequence: 9), from: client().address,
            to: frontend().address, body: data)
    }

    /// How a packet of this scene's transport is refused.
    func refusal(of packet: PacketBuilder) throws -> PacketBuilder {
        let address = try #require(packet.ip).destination
        return transport == .tcp
            ? try #require(packet.resetAnswer) : try packet.errorAnswer(.portUnreachable(family), from: address)
    }

    var refusalCounter: DatapathCounter { transport == .tcp ? .answerReset : .answerUnreachable }
}

extension PacketBuilder {
    /// The reset, with what is a program's own choice: no identification.
    var resetAnswer: PacketBuilder? { reset?.withIP { $0.label = 0 } }

    /// The ICMP error, likewise: Linux's type of service, to be fragmented if need be.
    func errorAnswer(_ header: ICMPHeader, from address: IPAddress) throws -> PacketBuilder {
        try #require(error(header, from: address)).withIP {
            $0.label = 0
            guard $0.family == .v4 else { return }
            ($0.trafficClass, $0.doNotFragment) = (0xC0, false)
        }
    }

    /// The echo reply: the same, turned around.
    func echoAnswer(_ family: IPFamily) -> PacketBuilder {
        with {
            if case .icmp(var header) = $0.transport {
                header.type = family == .v4 ? 0 : 129
                $0.transport = .icmp(header)
            }
        }
        .withIP { ($0.source, $0.destination, $0.hopLimit) = ($0.destination, $0.source, 64) }
        .withLink { $0 = $0.turned }
        .with { $0.trailer = trailer }
    }
}

extension Lab {
    /// A packet that is no flow's, to a frontend without endpoints, is answered so.
    func expectRefusal(
        of packet: PacketBuilder, _ scene: Scene, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        try expect(
            packet, in: scene.ingress, .answered(scene.refusal(of: packet)), .dropNoEndpoints, scene.refusalCounter,
            sourceLocation: sourceLocation)
    }

    /// Makes the device of test runs one that XDP may send to.
    func beAbleToAnswer(flags: UInt32 = NT_DEVICE_EXTERNAL | NT_DEVICE_XDP) throws { try setDevice(1, flags, nil) }

    func setDevice(_ index: UInt32, _ flags: UInt32, _ address: IPAddress?) throws {
        var device = nt_device()
        device.flags = flags
        switch address?.family {
        case .v4: device.addr4 = address?.words.0 ?? 0
        case .v6: device.addr6 = address?.words ?? (0, 0, 0, 0)
        case nil: break
        }
        try datapath.maps.devices.update(index, device)
    }

    private func changeNode(_ change: (inout nt_node) -> Void) throws {
        var node = try #require(try datapath.maps.node.lookup(0))
        change(&node)
        try datapath.maps.node.update(0, node)
    }

    /// The node's address of that family.
    func setNode(_ address: IPAddress) throws {
        try changeNode {
            if address.family == .v4 { $0.addr4 = address.words.0 } else { $0.addr6 = address.words }
        }
    }

    /// All ClusterIPs lie between these.
    func setClusterRange(_ first: IPAddress, _ last: IPAddress) throws {
        func halves(_ address: IPAddress) -> (UInt64, UInt64) {
            (UInt64(truncatingIfNeeded: address.bits >> 64), UInt64(truncatingIfNeeded: address.bits))
        }
        try changeNode {
            if first.family == .v4 {
                $0.cluster_first4 = UInt32(truncatingIfNeeded: first.bits)
                $0.cluster_last4 = UInt32(truncatingIfNeeded: last.bits)
            } else {
                ($0.cluster_first6, $0.cluster_last6) = (halves(first), halves(last))
            }
        }
    }

    /// What an address is, by `NT_ADDRESS_…`.
    func setAddress(_ address: IPAddress, _ flags: UInt32) throws {
        if address.family == .v4 {
            try datapath.maps.addresses4.update(nt_address_key4(addr: address.words.0), nt_address(flags: flags))
        } else {
            try datapath.maps.addresses6.update(nt_address_key6(addr: address.words), nt_address(flags: flags))
        }
    }

    /// As if nobody had been told anything.
    func forgetAnswers() throws {
        for (address, _) in try datapath.maps.answers.entries() { try datapath.maps.answers.delete(address) }
    }
}
