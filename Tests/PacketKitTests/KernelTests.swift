import NetTypes
import PacketKit
import Testing

/// What is built is what Linux sends.
@Suite struct KernelTests {
    struct Case: CustomTestStringConvertible {
        let testDescription: String
        let frame: KernelPackets.Frame
        let packet: PacketBuilder
    }

    private struct Network {
        let family: IPFamily
        func address(_ text: (v4: String, v6: String)) -> IPAddress {
            IPAddress.literal(family == .v4 ? text.v4 : text.v6)
        }
        var client: IPAddress { address(("192.0.2.1", "2001:db8:1::1")) }
        var router: IPAddress { address(("192.0.2.2", "2001:db8:1::2")) }
        var server: IPAddress { address(("203.0.113.1", "2001:db8:2::1")) }

        /// From the client; the identification is the kernel's choice.
        func sent(_ frame: KernelPackets.Frame, to receiver: IPAddress, _ port: UInt16, _ payload: [UInt8])
            -> PacketBuilder
        {
            PacketBuilder(
                from: TransportEndpoint(client, 40_000, .udp), to: TransportEndpoint(receiver, port, .udp),
                payload: payload
            ).identified(frame)
        }
        /// From the router: the kernel reports errors of IPv4 with a precedence, without DF, in at most 576 bytes, those
        /// of IPv6 in at most 1280.
        func error(_ frame: KernelPackets.Frame, _ header: ICMPHeader, about packet: PacketBuilder) throws
            -> PacketBuilder
        {
            let quote = family == .v4 ? 576 - 28 : 1280 - 48
            return try #require(packet.error(header, from: router, quote: quote)).withIP {
                if family == .v4 { ($0.trafficClass, $0.doNotFragment) = (0xC0, false) }
            }.identified(frame)
        }
        func echo(_ frame: KernelPackets.Frame, _ header: ICMPHeader, from: IPAddress, to: IPAddress) -> PacketBuilder {
            PacketBuilder(icmp: header, from: from, to: to, body: Array("ping".utf8)).identified(frame)
        }
    }

    static func cases(_ family: IPFamily) throws -> [Case] {
        typealias Kernel = KernelPackets
        let net = Network(family: family)
        let isV4 = family == .v4
        func pick(_ v4: Kernel.Frame, _ v6: Kernel.Frame) -> Kernel.Frame { isV4 ? v4 : v6 }
        var cases: [Case] = []
        func add(_ name: String, _ frame: Kernel.Frame, _ packet: PacketBuilder) {
            cases.append(Case(testDescription: "\(name) IP\(family)", frame: frame, packet: packet))
        }
        func add(_ name: String, _ frame: Kernel.Frame, _ header: ICMPHeader, about packet: PacketBuilder) throws {
            add(name, frame, try net.error(frame, header, about: packet))
        }

        let udpFrame = pick(Kernel.udp4, Kernel.udp6)
        let udp = net.sent(udpFrame, to: net.router, 81, Array("needletail".utf8))
        add("datagram", udpFrame, udp)
        try add(
            "port unreachable", pick(Kernel.portUnreachable4, Kernel.portUnreachable6), .portUnreachable(family),
            about: udp)

        let lastFrame = pick(Kernel.lastHop4, Kernel.lastHop6)
        let last = net.sent(lastFrame, to: net.server, 81, Array((isV4 ? "ttl" : "hop").utf8)).withIP {
            $0.hopLimit = 1
        }
        add("hop limit 1", lastFrame, last)
        try add(
            "time exceeded", pick(Kernel.timeExceeded4, Kernel.timeExceeded6), .timeExceeded(family), about: last)

        let longFrame = pick(Kernel.long4, Kernel.long6)
        let bytes =
            (0..<5).flatMap { _ in (0...255).map { UInt8($0) } } + Array(repeating: UInt8(ascii: "x"), count: 20)
        let long = net.sent(longFrame, to: net.server, 82, bytes)
        add("long", longFrame, long)
        try add("too big", pick(Kernel.tooBig4, Kernel.tooBig6), .packetTooBig(family, mtu: 1280), about: long)

        let firstFrame = pick(Kernel.first4, Kernel.first6)
        let huge = net.sent(firstFrame, to: net.router, 83, (0..<2000).map { UInt8($0 % 251) })
            .withIP { $0.doNotFragment = false }
        let identification = try #require(PacketDissection(firstFrame.bytes).layers.first?.ip.fragment?.identification)
        let fragments = huge.fragments(size: isV4 ? 1480 : 1453, identification: identification)
        try #require(fragments.count == 2)
        add("first fragment", firstFrame, fragments[0])
        add("last fragment", pick(Kernel.second4, Kernel.second6), fragments[1])
        try add(
            "about a reassembled packet",
            pick(Kernel.portUnreachableOfFragments4, Kernel.portUnreachableOfFragments6), .portUnreachable(family),
            about: huge)

        let unknownFrame = pick(Kernel.unknown4, Kernel.unknown6)
        let header = IPHeader(source: net.client, destination: net.router)
        let unknown = PacketBuilder(.ip(header, .other(protocolNumber: 253)), payload: Array("abcdefgh".utf8))
            .identified(unknownFrame)
        add("unknown protocol", unknownFrame, unknown)
        try add(
            "unknown protocol refused", pick(Kernel.protocolUnreachable4, Kernel.parameterProblem6),
            isV4 ? .destinationUnreachable(family, code: 2) : .parameterProblem(family, code: 1, pointer: 6),
            about: unknown)

        let (request, reply) = (
            pick(Kernel.echoRequest4, Kernel.echoRequest6), pick(Kernel.echoReply4, Kernel.echoReply6)
        )
        add(
            "echo request", request,
            net.echo(
                request, .echoRequest(family, identifier: 0x1234, sequence: 7), from: net.client, to: net.router))
        add(
            "echo reply", reply,
            net.echo(reply, .echoReply(family, identifier: 0x1234, sequence: 7), from: net.router, to: net.client)
                .withIP { if isV4 { $0.doNotFragment = false } }
                .withLink { $0 = $0.turned })

        let synFrame = pick(Kernel.syn4, Kernel.syn6)
        // Ports, sequence number, clock: the kernel's choice.
        let read = PacketDissection(synFrame.bytes)
        let tcp = try #require(read.layers.first?.tcp)
        let clock = TCPOption.read(tcp.options).first { if case .timestamps = $0 { true } else { false } }
        let syn = PacketBuilder(
            from: TransportEndpoint(net.client, tcp.sourcePort, .tcp), to: TransportEndpoint(net.router, 81, .tcp),
            flags: .syn, payload: []
        ).identified(synFrame).withTCP {
            $0.sequence = tcp.sequence
            $0.window = isV4 ? 64_240 : 64_800
            $0 = $0.with([
                .maximumSegmentSize(isV4 ? 1460 : 1440), .selectiveAcknowledgmentPermitted, clock ?? .noOperation,
                .noOperation, .windowScale(10),
            ])
        }
        add("SYN", synFrame, syn)
        let resetFrame = pick(Kernel.reset4, Kernel.reset6)
        add("reset", resetFrame, try #require(syn.reset).identified(resetFrame))
        return cases
    }

    @Test(arguments: IPFamily.allCases) func whatIsBuiltIsWhatLinuxSends(_ family: IPFamily) throws {
        let cases = try Self.cases(family)
        #expect(cases.count == 15)
        for row in cases {
            let built = row.packet.bytes
            #expect(built.count == row.frame.size, "\(row.testDescription)")
            let start = Array(built.prefix(row.frame.bytes.count))
            #expect(
                start == row.frame.bytes,
                "\(row.testDescription): \(PacketDiff(expected: row.frame.bytes, actual: start))")
        }
    }

    @Test(arguments: IPFamily.allCases) func whatLinuxSendsIsRead(_ family: IPFamily) throws {
        for row in try Self.cases(family) {
            let whole = PacketDissection(row.packet.bytes)
            #expect(whole.wrongChecksums == [], "\(row.testDescription)")
            #expect(whole.fields.flatMap(\.range) == Array(0..<row.frame.size), "\(row.testDescription)")
        }
        let isV4 = family == .v4
        let net = Network(family: family)
        let error = PacketDissection((isV4 ? KernelPackets.portUnreachable4 : KernelPackets.portUnreachable6).bytes)
        #expect(error.quoted?.source == TransportEndpoint(net.client, 40_000, .udp))
        #expect(error.quoted?.destination == TransportEndpoint(net.router, 81, .udp))
        #expect(error.source == nil, "an ICMP message has no ports")
        let tooBig = PacketDissection((isV4 ? KernelPackets.tooBig4 : KernelPackets.tooBig6).bytes)
        #expect(tooBig.description.contains(isV4 ? "icmp.mtu: 1280" : "icmp6.mtu: 1280"))
        let syn = PacketDissection((isV4 ? KernelPackets.syn4 : KernelPackets.syn6).bytes)
        #expect(syn.layers.first?.tcp?.maximumSegmentSize == (isV4 ? 1460 : 1440))
        #expect(syn.description.contains("tcp.option: mss \(isV4 ? 1460 : 1440)\n"))
    }
}

extension PacketBuilder {
    /// With the IPv4 identification or IPv6 flow label of a frame.
    func identified(_ frame: KernelPackets.Frame) -> PacketBuilder {
        withIP { $0.label = PacketDissection(frame.bytes).layers[0].ip.label }
    }
}

extension IPAddress {
    /// An address written in a test.
    static func literal(_ text: String) -> IPAddress {
        guard let address = IPAddress(text) else { preconditionFailure("not an address: \(text)") }
        return address
    }
}
