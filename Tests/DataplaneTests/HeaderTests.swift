import Dataplane
import NeedletailABI
import NetTypes
import PacketKit
import Resolver
import TestSupport
import Testing

/// Headers around and between those that are translated.
@Suite(.needsRoot) struct HeaderTests {
    /// A variation of a packet, and whether it can be translated.
    struct Variation: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var families = IPFamily.allCases
        var transports: [TransportProtocol] = [.tcp, .udp]
        /// `nil`: translated.
        var passed: DatapathCounter?
        let change: @Sendable (PacketBuilder) -> PacketBuilder

        func applies(to scene: Scene) -> Bool {
            families.contains(scene.family) && transports.contains(scene.transport)
        }
    }

    private static func tagged(_ types: [UInt16]) -> @Sendable (PacketBuilder) -> PacketBuilder {
        { $0.with { $0.link.tags = types.enumerated().map { VLANTag(id: UInt16(100 + $0.offset), type: $0.element) } } }
    }

    private static func extended(_ headers: [ExtensionHeader]) -> @Sendable (PacketBuilder) -> PacketBuilder {
        { $0.withIP { $0.extensions = headers } }
    }

    static let variations: [Variation] = [
        Variation(testDescription: "one 802.1Q tag", change: tagged([EtherType.vlan])),
        Variation(testDescription: "one 802.1ad tag", change: tagged([EtherType.serviceVLAN])),
        Variation(testDescription: "802.1ad and 802.1Q", change: tagged([EtherType.serviceVLAN, EtherType.vlan])),
        Variation(
            testDescription: "three tags", passed: .passNotIP,
            change: tagged([EtherType.serviceVLAN, EtherType.vlan, EtherType.vlan])),
        Variation(testDescription: "Ethernet padding") { $0.with { $0.trailer = [UInt8](repeating: 0xAB, count: 13) } },
        Variation(testDescription: "no payload") { $0.with { $0.payload = [] } },
        Variation(testDescription: "no payload, padded") {
            $0.with { ($0.payload, $0.trailer) = ([], [1, 2, 3, 4, 5]) }
        },
        Variation(testDescription: "an odd payload") { $0.with { $0.payload = [7] } },
        Variation(testDescription: "a jumbo frame") { $0.with { $0.payload = [UInt8](repeating: 0x5A, count: 3000) } },
        Variation(testDescription: "traffic class and hop limit") {
            $0.withIP { ($0.trafficClass, $0.hopLimit) = (0xB9, 1) }
        },
        Variation(testDescription: "may be fragmented") { $0.withIP { $0.doNotFragment = false } },
        Variation(testDescription: "TCP options", transports: [.tcp]) {
            $0.withTCP { $0.options = [2, 4, 5, 0xB4, 1, 3, 3, 7, 4, 2] }
        },
        Variation(testDescription: "as many TCP options as there can be", transports: [.tcp]) {
            $0.withTCP { $0.options = [UInt8](repeating: 1, count: 40) }
        },
        Variation(testDescription: "IPv4 options", families: [.v4]) {
            $0.withIP { $0.options = [0x94, 4, 0, 0] }
        },
        Variation(testDescription: "as many IPv4 options as there can be, tagged twice", families: [.v4]) {
            tagged([EtherType.serviceVLAN, EtherType.vlan])($0)
                .withIP { $0.options = [UInt8](repeating: 1, count: 40) }
        },
        Variation(testDescription: "hop-by-hop options", families: [.v6], change: extended([.hopByHop])),
        Variation(testDescription: "destination options", families: [.v6], change: extended([.destinationOptions()])),
        Variation(
            testDescription: "a routing header at its end", families: [.v6],
            change: extended([.routing(segmentsLeft: 0)])),
        Variation(
            testDescription: "all of them, in the order of RFC 8200 4.1", families: [.v6],
            change: extended([
                .hopByHop, .destinationOptions(), .routing(segmentsLeft: 0), .destinationOptions(size: 24),
            ])),
        Variation(
            testDescription: "six extension headers", families: [.v6],
            change: extended([.hopByHop] + [ExtensionHeader](repeating: .destinationOptions(), count: 5))),
        Variation(
            testDescription: "seven extension headers", families: [.v6], passed: .passExtensionHeaders,
            change: extended([.hopByHop] + [ExtensionHeader](repeating: .destinationOptions(), count: 6))),
        Variation(
            testDescription: "200 bytes of extension headers", families: [.v6],
            change: extended([.destinationOptions(size: 200)])),
        Variation(
            testDescription: "304 bytes of extension headers", families: [.v6], passed: .passExtensionHeaders,
            change: extended([.destinationOptions(size: 304)])),
        Variation(
            testDescription: "source routed", families: [.v6], passed: .passExtensionHeaders,
            change: extended([.routing(segmentsLeft: 1)])),
        Variation(
            testDescription: "source routed behind hop-by-hop options", families: [.v6], passed: .passExtensionHeaders,
            change: extended([.hopByHop, .routing(segmentsLeft: 2)])),
        Variation(
            testDescription: "an extension header beyond the payload", families: [.v6], passed: .passMalformed,
            change: extended([ExtensionHeader(number: ProtocolNumber.destinationOptions, body: [], length: 20)])),
        Variation(testDescription: "another protocol", passed: .passOtherProtocol) {
            $0.withIP { $0.protocolNumber = ProtocolNumber.sctp }
        },
        Variation(testDescription: "no next header", families: [.v6], passed: .passOtherProtocol) {
            $0.withIP { $0.protocolNumber = 59 }
        },
        Variation(testDescription: "the other family's type", passed: .passMalformed) { packet in
            packet.with {
                $0.link.type = packet.ip?.family == .v4 ? EtherType.ipv6 : EtherType.ipv4
                $0.trailer = [UInt8](repeating: 0, count: 64)
            }
        },
        Variation(testDescription: "an unknown type", passed: .passNotIP) { $0.with { $0.link.type = 0x88CC } },
        Variation(testDescription: "an 802.3 length", passed: .passNotIP) { $0.with { $0.link.type = 100 } },
    ]

    @Test(arguments: variations)
    func variation(_ variation: Variation) throws {
        for scene in Scene.all where variation.applies(to: scene) {
            try Lab.withLab { lab in
                try lab.serve([scene.serving([scene.backend()])])
                let request = variation.change(scene.request())
                let reply = variation.change(scene.reply())
                if let counter = variation.passed {
                    try lab.expect(request, in: scene.ingress, .untouched, counter)
                    _ = try lab.run(scene.request().bytes, in: scene.ingress)
                    try lab.expect(reply, in: scene.egress, .untouched, counter)
                } else {
                    try lab.expect(request, in: scene.ingress, .becomes(request.sent(to: scene.backend())), .forwardNew)
                    try lab.expect(
                        reply, in: scene.egress, .becomes(reply.sent(from: scene.frontend())), .reverseTranslated)
                }
            }
        }
    }

    @Test("Of ICMP only pings of a Service's address are answered, and ARP never", arguments: Scene.udp)
    func otherTraffic(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.serve([scene.serving([scene.backend()])])
            let echo = scene.echoRequest()
            try lab.expect(echo, in: scene.ingress, .answered(echo.echoAnswer(scene.family)), .answerEcho)
            try lab.expect(echo, in: scene.egress, .untouched, .passOtherProtocol)
            let elsewhere = echo.withIP { $0.destination = scene.frontend(2).address }
            try lab.expect(elsewhere, in: scene.ingress, .untouched, .passNotService)
            let reply = PacketBuilder(
                icmp: .echoReply(scene.family, identifier: 1, sequence: 1), from: scene.client().address,
                to: scene.frontend().address)
            for program in [scene.ingress, scene.egress] {
                try lab.expect(reply, in: program, .untouched, .passOtherProtocol)
            }
            guard scene.family == .v4 else { return }
            let arp = PacketBuilder(
                .arp(ARPMessage(whoHas: scene.frontend().address, tell: scene.client().address)),
                payload: [UInt8](repeating: 0, count: 18))
            for program in [scene.ingress, scene.egress] {
                try lab.expect(arp, in: program, .untouched, .passNotIP)
            }
        }
    }

    @Test(
        "A frame larger than a page is translated in its first part",
        arguments: Scene.all.filter { $0.ingress == .externalXDP })
    func multiBuffer(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            let request = scene.request().with { $0.payload = (0..<8000).map { UInt8(truncatingIfNeeded: $0) } }
            try lab.expect(request, in: scene.ingress, .becomes(request.sent(to: scene.backend())), .forwardNew)
        }
    }

    /// `struct __sk_buff` with `gso_size` and `gso_segs`.
    private static let segmented: [UInt8] = {
        var context = [UInt8](repeating: 0, count: 192)
        context[164] = 2
        context[176] = 100
        return context
    }()

    @Test(
        "A packet to be segmented may have lengths of its own: none (BIG TCP), or one segment's",
        arguments: Scene.all.filter { $0.ingress != .externalXDP })
    func segmentation(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            let request = scene.request().with { $0.payload = [UInt8](repeating: 1, count: 200) }
                .withIP { if scene.transport == .tcp { $0.length = 0 } }
                .withUDP { $0.length = 308 }
            let translated = request.readdressed(from: scene.client(), to: scene.backend())
            try lab.expect(request, in: scene.ingress, .becomes(translated), .forwardNew, context: Self.segmented)
            try lab.expect(request, in: scene.ingress, .untouched, .passMalformed)
        }
    }
}
