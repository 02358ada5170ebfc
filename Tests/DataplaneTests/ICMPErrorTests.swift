import Dataplane
import NeedletailABI
import NetTypes
import PacketKit
import Resolver
import TestSupport
import Testing

/// ICMP errors that routers, backends and clients send about the packets of flows.
@Suite(.needsRoot) struct ICMPErrorTests {
    /// How much of a packet an error quotes, and what that packet looks like.
    struct Quote: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var families = IPFamily.allCases
        var transports: [TransportProtocol] = [.tcp, .udp]
        /// The quote of a packet.
        let quote: @Sendable (PacketBuilder) -> [UInt8]

        func applies(to scene: Scene) -> Bool {
            families.contains(scene.family) && transports.contains(scene.transport)
        }
    }

    private static func changed(
        _ change: @escaping @Sendable (inout IPHeader) -> Void
    ) -> @Sendable (PacketBuilder) -> [UInt8] {
        { $0.withIP(change).quote() }
    }

    static let quotes: [Quote] = [
        Quote(testDescription: "all of it") { $0.quote() },
        Quote(testDescription: "the least an error quotes: ports") { $0.quote(transportBytes: 8) },
        Quote(testDescription: "all but a TCP checksum", transports: [.tcp]) {
            $0.quote(transportBytes: 16)
        },
        Quote(testDescription: "just a TCP checksum", transports: [.tcp]) { $0.quote(transportBytes: 18) },
        Quote(testDescription: "a TCP header", transports: [.tcp]) { $0.quote(transportBytes: 20) },
        Quote(testDescription: "no UDP checksum", transports: [.udp]) {
            $0.withUDP { $0.checksum = .value(0) }.quote()
        },
        Quote(testDescription: "the first fragment") { $0.fragments(size: 24)[0].quote() },
        Quote(testDescription: "IPv4 options", families: [.v4], quote: changed { $0.options = [0x94, 4, 0, 0] }),
        Quote(testDescription: "as many IPv4 options as there can be", families: [.v4]) {
            $0.withIP { $0.options = [UInt8](repeating: 1, count: 40) }.quote(transportBytes: 8)
        },
        Quote(testDescription: "hop-by-hop options", families: [.v6], quote: changed { $0.extensions = [.hopByHop] }),
        Quote(
            testDescription: "an atomic fragment", families: [.v6],
            quote: changed {
                $0.fragment = Fragment(offset: 0, more: false)
            }),
        Quote(testDescription: "many extension headers", families: [.v6]) {
            $0.withIP {
                $0.extensions = [.hopByHop, .destinationOptions(size: 64), .routing(segmentsLeft: 0)]
            }.quote(transportBytes: 8)
        },
        Quote(testDescription: "a hop limit that has run out", quote: changed { $0.hopLimit = 0 }),
        Quote(testDescription: "padding and an extension (RFC 4884)") {
            let whole = $0.with { $0.payload = [UInt8](repeating: 7, count: 100) }.quote(bytes: 128)
            return whole + [0x20, 0, 0xDF, 0x4B, 0, 8, 1, 1, 0, 1, 0x41, 1]
        },
        Quote(testDescription: "more than Ethernet carries") {
            $0.with { $0.payload = [UInt8](repeating: 9, count: 1400) }.quote(bytes: 1200)
        },
    ]

    static func headers(_ family: IPFamily) -> [ICMPHeader] {
        [
            .portUnreachable(family), .packetTooBig(family, mtu: 1280), .timeExceeded(family),
            .timeExceeded(family, code: 1), .parameterProblem(family, pointer: 9),
            .destinationUnreachable(family, code: 1),
        ]
    }

    /// A router between the node and others: of none of the subnets of ``Scene``.
    static func router(_ family: IPFamily) -> IPAddress {
        family == .v4 ? IPAddress(v4: 0xC612_6301) : IPAddress(v6: 0x2001_0DB8 << 96 | 0x99 << 64 | 1)
    }

    @Test("About a request, it comes to the client in the frontend's name", arguments: quotes)
    func aboutRequest(_ quote: Quote) throws {
        for scene in Scene.all where quote.applies(to: scene) {
            try Lab.withLab { lab in
                try lab.serve([scene.serving([scene.backend()])])
                _ = try lab.run(scene.request().bytes, in: scene.ingress)
                let flows = try lab.flows()
                for reporter in [Self.router(scene.family), scene.backend().address] {
                    for header in Self.headers(scene.family) {
                        let error = PacketBuilder(
                            icmp: header, from: reporter, to: scene.client().address,
                            body: quote.quote(scene.request().sent(to: scene.backend())))
                        let translated = PacketBuilder(
                            icmp: header, from: scene.frontend().address, to: scene.client().address,
                            body: quote.quote(scene.request()))
                        try lab.expect(error, in: scene.egress, .becomes(translated), .icmpTranslated)
                        try lab.expect(error, in: scene.ingress, .untouched, .passNotService)
                    }
                }
                #expect(try lab.flows().map(\.flags) == flows.map(\.flags))
            }
        }
    }

    @Test("About a reply, it comes to the backend, from whom it is", arguments: quotes)
    func aboutReply(_ quote: Quote) throws {
        for scene in Scene.all where quote.applies(to: scene) {
            try Lab.withLab { lab in
                try lab.serve([scene.serving([scene.backend()])])
                _ = try lab.run(scene.request().bytes, in: scene.ingress)
                for reporter in [Self.router(scene.family), scene.client().address] {
                    for header in Self.headers(scene.family) {
                        let error = PacketBuilder(
                            icmp: header, from: reporter, to: scene.frontend().address,
                            body: quote.quote(scene.reply().sent(from: scene.frontend())))
                        let translated = PacketBuilder(
                            icmp: header, from: reporter, to: scene.backend().address,
                            body: quote.quote(scene.reply()))
                        try lab.expect(error, in: scene.ingress, .becomes(translated), .icmpTranslated)
                        try lab.expect(error, in: scene.egress, .untouched, .passNotService)
                    }
                }
            }
        }
    }

    @Test("Options, tags and padding around the error stay", arguments: Scene.all)
    func surroundings(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            func error(_ from: IPAddress, _ quoted: PacketBuilder) -> PacketBuilder {
                PacketBuilder(
                    icmp: .packetTooBig(scene.family, mtu: 1400), from: from, to: scene.client().address,
                    body: quoted.quote()
                )
                .with { ($0.link.tags, $0.trailer) = ([VLANTag(id: 7)], [1, 2, 3]) }
                .withIP {
                    ($0.options, $0.extensions) = ([0x94, 4, 0, 0], [.hopByHop])
                    ($0.trafficClass, $0.hopLimit) = (0xC0, 3)
                }
            }
            try lab.expect(
                error(Self.router(scene.family), scene.request().sent(to: scene.backend())), in: scene.egress,
                .becomes(error(scene.frontend().address, scene.request())), .icmpTranslated)
        }
    }

    @Test("A port that was changed for its flow is changed back in the quote", arguments: Scene.all)
    func remapped(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()]), scene.serving([scene.backend()], number: 2)])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            let second = scene.request(to: scene.frontend(2))
            let sent = try lab.run(second.bytes, in: scene.ingress).output
            let source = try #require(PacketDissection(sent).source)
            #expect(source.port != scene.client().port)
            func error(_ from: IPAddress, _ quoted: PacketBuilder) -> PacketBuilder {
                PacketBuilder(
                    icmp: .portUnreachable(scene.family), from: from, to: scene.client().address,
                    body: quoted.quote())
            }
            try lab.expect(
                error(scene.backend().address, second.readdressed(from: source, to: scene.backend())),
                in: scene.egress, .becomes(error(scene.frontend(2).address, second)), .icmpTranslated)
        }
    }

    /// An error that is passed as it is.
    struct Passed: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var families = IPFamily.allCases
        let counter: DatapathCounter
        /// The error that quotes this packet, to the sender of that.
        let error: @Sendable (PacketBuilder, Scene) -> PacketBuilder

        init(
            _ description: String, _ counter: DatapathCounter, _ families: [IPFamily] = IPFamily.allCases,
            error: @escaping @Sendable (PacketBuilder, Scene) -> PacketBuilder
        ) {
            (testDescription, self.families, self.counter, self.error) = (description, families, counter, error)
        }

        /// With another quote.
        init(
            _ description: String, _ counter: DatapathCounter, _ families: [IPFamily] = IPFamily.allCases,
            quote: @escaping @Sendable (PacketBuilder, Scene) -> [UInt8]
        ) {
            self.init(description, counter, families) {
                ICMPErrorTests.unreachable($0, $1, quote($0, $1))
            }
        }
    }

    private static func unreachable(_ quoted: PacketBuilder, _ scene: Scene, _ body: [UInt8]) -> PacketBuilder {
        PacketBuilder(
            icmp: .portUnreachable(scene.family), from: router(scene.family),
            to: quoted.ip?.source ?? scene.client().address, body: body)
    }

    static let passed: [Passed] = [
        Passed("nothing quoted", .passMalformed) { _, _ in [] },
        Passed("an IP header cut short", .passMalformed) { quoted, _ in
            quoted.quote(bytes: quoted.ipHeaderSize - 1)
        },
        Passed("an IP header alone", .passMalformed) { quoted, _ in quoted.quote(transportBytes: 0) },
        Passed("7 bytes of the transport header", .passMalformed) { quoted, _ in quoted.quote(transportBytes: 7) },
        Passed("another version", .passMalformed) { quoted, _ in quoted.withIP { $0.version = 5 }.quote() },
        Passed("a header length of 16", .passMalformed, [.v4]) { quoted, _ in
            quoted.withIP { $0.headerLength = 4 }.quote()
        },
        Passed("options beyond the quote", .passMalformed, [.v4]) { quoted, _ in
            quoted.withIP { $0.headerLength = 15 }.quote(transportBytes: 8)
        },
        Passed("no room for ports", .passMalformed, [.v4]) { quoted, _ in
            quoted.withIP { $0.length = 27 }.quote()
        },
        Passed("no room for ports", .passMalformed, [.v6]) { quoted, _ in
            quoted.withIP { $0.length = 7 }.quote()
        },
        Passed("an extension header beyond the quote", .passMalformed, [.v6]) { quoted, _ in
            quoted.withIP { $0.extensions = [.destinationOptions(size: 64)] }.quote(bytes: 48)
        },
        Passed("seven extension headers", .passExtensionHeaders, [.v6]) { quoted, _ in
            quoted.withIP {
                $0.extensions = [.hopByHop] + [ExtensionHeader](repeating: .destinationOptions(), count: 6)
            }.quote()
        },
        Passed("a source routed packet", .passExtensionHeaders, [.v6]) { quoted, _ in
            quoted.withIP { $0.extensions = [.routing(segmentsLeft: 1)] }.quote()
        },
        Passed("a later fragment", .passNotService) { quoted, _ in
            quoted.with { $0.payload = Array(0..<100) }.fragments(size: 48)[1].quote()
        },
        Passed("another protocol", .passNotService) { quoted, _ in
            quoted.withIP { $0.protocolNumber = ProtocolNumber.sctp }.quote()
        },
        Passed("another flow", .passNotService) { quoted, scene in
            quoted.sent(to: scene.client(77)).quote()
        },
        Passed("an error about an error", .passNotService) { quoted, scene in
            unreachable(quoted, scene, quoted.quote()).quote()
        },
        Passed("another type", .passOtherProtocol) { quoted, scene in
            PacketBuilder(
                icmp: ICMPHeader(type: scene.family == .v4 ? 5 : 137), from: router(scene.family),
                to: scene.client().address, body: quoted.quote())
        },
        Passed("an ICMP header cut short", .passMalformed) { quoted, scene in
            let number = scene.family == .v4 ? ProtocolNumber.icmp : ProtocolNumber.icmp6
            return PacketBuilder(
                .ip(
                    IPHeader(source: router(scene.family), destination: scene.client().address),
                    .other(protocolNumber: number)), payload: [3, 3, 0, 0, 0, 0, 0])
        },
        Passed("the first fragment of an error", .passFragment) { quoted, scene in
            unreachable(quoted, scene, quoted.with { $0.payload = Array(0..<200) }.quote()).fragments(size: 160)[0]
        },
    ]

    @Test("What makes no sense, or is about no flow, is passed as it is", arguments: passed)
    func passedOn(_ passed: Passed) throws {
        for scene in Scene.all where passed.families.contains(scene.family) {
            try Lab.withLab { lab in
                try lab.serve([scene.serving([scene.backend()])])
                _ = try lab.run(scene.request().bytes, in: scene.ingress)
                try lab.expect(
                    passed.error(scene.request().sent(to: scene.backend()), scene), in: scene.egress, .untouched,
                    passed.counter)
                try lab.expect(
                    passed.error(scene.reply().sent(from: scene.frontend()), scene), in: scene.ingress, .untouched,
                    passed.counter)
            }
        }
    }
}
