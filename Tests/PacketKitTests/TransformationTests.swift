import NetTypes
import PacketKit
import Testing

/// What becomes of packets on their way, and how differences are told.
@Suite struct TransformationTests {
    private static func packet(
        _ family: IPFamily, _ transport: TransportProtocol = .udp, payload: [UInt8] = Array("needletail".utf8)
    ) -> PacketBuilder {
        func endpoint(_ number: UInt8, _ port: UInt16) -> TransportEndpoint {
            TransportEndpoint(
                IPAddress.literal(family == .v4 ? "192.0.2.\(number)" : "2001:db8::\(number)"), port, transport)
        }
        return PacketBuilder(from: endpoint(1, 40_000), to: endpoint(2, 80), payload: payload)
    }

    private static func tunnelled(_ family: IPFamily, in outer: IPFamily) -> PacketBuilder {
        let ends = outer == .v4 ? ["198.18.0.1", "198.18.0.2"] : ["2001:db8:9::1", "2001:db8:9::2"]
        return packet(family).encapsulated(from: .literal(ends[0]), to: .literal(ends[1]))
    }

    @Test(arguments: [
        // Written by another program, and understood by tcpdump.
        (
            IPFamily.v4,
            """
            02000000000202000000000108004500003abeef40004004efa8c6120001c6120002
            45000026beef40004011f7d3c0000201c00002029c4000500012c1386e6565646c657461696c
            """
        ),
        (
            .v6,
            """
            02000000000202000000000186dd6000beef003a294020010db800090000000000000000000120010db8000900000000000000000002
            6000beef0012114020010db800000000000000000000000120010db80000000000000000000000029c4000500012e9c7
            6e6565646c657461696c
            """
        ),
    ]) func aTunnelByHand(_ family: IPFamily, _ hex: String) {
        let expected = KernelPackets.Frame(size: 0, hex: hex).bytes
        let built = Self.tunnelled(family, in: family).bytes
        #expect(built == expected, "\(PacketDiff(expected: expected, actual: built))")
    }

    @Test(arguments: IPFamily.allCases, IPFamily.allCases)
    func whatATunnelCarriesIsRead(_ family: IPFamily, _ outer: IPFamily) {
        let frame = Self.tunnelled(family, in: outer).bytes
        let read = PacketDissection(frame)
        #expect(read.source == nil, "the outer packet has no ports")
        #expect(read.layers.map(\.place) == [.frame, .inner])
        #expect(read.inner?.source == PacketDissection(Self.packet(family).bytes).source)
        #expect(read.wrongChecksums == [])
        var broken = frame
        broken[frame.count - 1] ^= 1
        #expect(PacketDissection(broken).wrongChecksums == ["inner.udp.checksum"])
        #expect(PacketDiff(expected: frame, actual: broken).differences == ["inner.udp.checksum", "inner.payload"])
    }

    @Test(arguments: IPFamily.allCases, [TransportProtocol.udp, .tcp])
    func everyFlippedBitOfAnErrorIsNoticed(_ family: IPFamily, _ transport: TransportProtocol) throws {
        let packet = Self.packet(family, transport)
        let router = IPAddress.literal(family == .v4 ? "192.0.2.9" : "2001:db8::9")
        let error = try #require(packet.error(.portUnreachable(family), from: router)).bytes
        let outer = family == .v4 ? 34 : 54
        let name = family == .v4 ? "icmp.checksum" : "icmp6.checksum"
        for bit in outer * 8..<error.count * 8 {
            var flipped = error
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(PacketDissection(flipped).wrongChecksums.first == name, "bit \(bit)")
        }
    }

    @Test(arguments: IPFamily.allCases)
    func checksumsOfAQuoteAreCheckedWhereItIsWhole(_ family: IPFamily) throws {
        let wrong = Self.packet(family).withUDP { $0.checksum = .value(1) }.withIP { $0.checksum = .value(1) }
        let ip = try #require(wrong.ip)
        let mine = family == .v4 ? ["quoted.ip.checksum"] : []
        for (quote, expected) in [
            (wrong.quote(), mine + ["quoted.udp.checksum"]),
            (wrong.quote(bytes: wrong.packet.count - 1), mine),
            (wrong.quote(transportBytes: 8), mine),
            (wrong.quote(bytes: 19), []),
            ([], []),
        ] {
            let error = PacketBuilder(
                icmp: .timeExceeded(family), from: ip.destination, to: ip.source, body: quote)
            let read = PacketDissection(error.bytes)
            #expect(read.wrongChecksums == expected, "\(quote.count) bytes quoted")
            #expect(read.fields.flatMap(\.range) == Array(error.bytes.indices), "\(quote.count) bytes quoted")
            #expect((read.quoted?.source?.port == 40_000) == (quote.count > 20), "\(quote.count) bytes quoted")
        }
    }

    @Test(arguments: IPFamily.allCases)
    func aQuotedTCPHeaderMayEndAfterTheSequenceNumber(_ family: IPFamily) throws {
        let packet = Self.packet(family, .tcp)
        let ip = try #require(packet.ip)
        let error = PacketBuilder(
            icmp: .timeExceeded(family), from: ip.destination, to: ip.source, body: packet.quote(transportBytes: 8))
        let read = PacketDissection(error.bytes)
        #expect(read.quoted?.destination?.port == 80)
        #expect(read.fields.last?.name == "quoted.tcp.sequence")
        #expect(read.wrongChecksums == [])
    }

    @Test func aChecksumIsUpdatedAsInRFC1624() {
        // The example of section 4.
        #expect(InternetChecksum.updating(0xDD2F, from: 0x5555, to: 0x3285) == 0x0000)
    }

    @Test(arguments: IPFamily.allCases) func oneHopFurther(_ family: IPFamily) {
        for hopLimit in UInt8.min...UInt8.max {
            let packet = Self.packet(family).withIP { $0.hopLimit = hopLimit }
            let wanted = packet.withIP { $0.hopLimit = hopLimit == 0 ? 0 : hopLimit - 1 }.bytes
            #expect(packet.hopLimitDecremented.bytes == wanted, "\(hopLimit)")
            #expect(Frame(packet.bytes).hopLimitDecremented.bytes == wanted, "\(hopLimit)")
        }
        let broken = Self.packet(family).withIP { $0.checksum = .value(0x1234) }
        #expect(broken.hopLimitDecremented.bytes == Frame(broken.bytes).hopLimitDecremented.bytes)
        #expect(
            PacketDissection(broken.hopLimitDecremented.bytes).wrongChecksums == (family == .v4 ? ["ip.checksum"] : []))
    }

    @Test(arguments: IPFamily.allCases) func aFrameIsChangedLikeThePacketItWasBuiltFrom(_ family: IPFamily) {
        let tags = [VLANTag(id: 7, type: EtherType.serviceVLAN), VLANTag(id: 9)]
        let (a, b): ([UInt8], [UInt8]) = ([2, 0, 0, 0, 0, 8], [2, 0, 0, 0, 0, 9])
        for old in [[], [VLANTag(id: 3)], tags] {
            let packet = Self.packet(family).with { ($0.link.tags, $0.trailer) = (old, [0, 0, 0]) }
            let frame = Frame(packet.bytes)
            for new in [[], [VLANTag(id: 4)], tags] {
                #expect(frame.tagged(new).bytes == packet.withLink { $0.tags = new }.bytes)
            }
            #expect(frame.relinked(from: a, to: b).bytes == packet.relinked(from: a, to: b).bytes)
            #expect(frame.packet == packet.packet, "without what pads the frame")
            let fragmentable = packet.withIP { $0.doNotFragment = false }
            #expect(frame.doNotFragment(false).bytes == fragmentable.bytes)
            #expect(Frame(fragmentable.bytes).doNotFragment(true).bytes == packet.bytes)
        }
        for bytes in [[], [1, 2, 3], Array(Self.packet(family).bytes.prefix(30))] as [[UInt8]] {
            #expect(Frame(bytes).hopLimitDecremented.bytes == bytes)
            #expect(Frame(bytes).doNotFragment(false).bytes == bytes)
            #expect(Frame(bytes).packet == [])
        }
    }

    @Test func resetsAreThoseOfRFC9293() throws {
        // 3.5.2, group 1: <SEQ=SEG.ACK><CTL=RST>, or <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>.
        let rows: [(flags: TCPFlags, data: Int, sequence: UInt32, acknowledgment: UInt32, reset: TCPFlags)] = [
            (.syn, 0, 0, 0, [.rst, .ack]), (.syn, 5, 0, 5, [.rst, .ack]), (.fin, 3, 0, 3, [.rst, .ack]),
            ([], 3, 0, 2, [.rst, .ack]), ([.syn, .ack], 0, 77, 0, .rst), (.ack, 9, 77, 0, .rst),
        ]
        for row in rows {
            let packet = Self.packet(.v6, .tcp, payload: [UInt8](repeating: 7, count: row.data)).withTCP {
                ($0.flags, $0.sequence, $0.acknowledgment) = (row.flags, .max, 77)
            }
            let reset = try #require(packet.reset)
            let read = PacketDissection(reset.bytes)
            let tcp = try #require(read.layers.first?.tcp)
            #expect(tcp.flags == row.reset, "\(row)")
            #expect(tcp.sequence == row.sequence && tcp.acknowledgment == row.acknowledgment, "\(row)")
            #expect(read.source?.port == 80 && read.destination?.port == 40_000)
            #expect(reset.link.source == packet.link.destination && reset.link.destination == packet.link.source)
        }
        #expect(Self.packet(.v4, .tcp).withTCP { $0.flags = [.rst, .ack] }.reset == nil)
        #expect(Self.packet(.v4, .udp).reset == nil)
    }

    @Test func tcpOptionsAreReadAndChanged() {
        let options: [TCPOption] = [
            .noOperation, .maximumSegmentSize(1460), .selectiveAcknowledgmentPermitted,
            .timestamps(value: 0x0102_0304, echo: 5), .windowScale(7), .other(kind: 254, body: [1, 2, 3]),
        ]
        #expect(
            options.flatMap(\.bytes) == [
                1, 2, 4, 0x05, 0xB4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 5, 3, 3, 7, 254, 5, 1, 2, 3,
            ])
        var header = TCPHeader(sourcePort: 1, destinationPort: 2, flags: .syn).with(options)
        #expect(TCPOption.read(header.options) == options)
        #expect(header.maximumSegmentSize == 1460)
        header.maximumSegmentSize = 1420
        #expect(TCPOption.read(header.options)[1] == .maximumSegmentSize(1420))
        #expect(header.with([.noOperation]).maximumSegmentSize == nil)
        for cut in [[2], [2, 4], [2, 4, 5], [2, 0, 5, 5], [2, 1], [0, 2, 4, 5, 5]] as [[UInt8]] {
            #expect(!TCPOption.read(cut).contains(.maximumSegmentSize(0x0505)), "\(cut)")
        }
    }

    @Test func fragmentsFollowTheExtensionHeadersThatAllHopsRead() {
        let packet = Self.packet(.v6, payload: Array(0..<60)).withIP {
            $0.extensions = [.hopByHop]
            $0.fragmentableExtensions = [.destinationOptions()]
        }
        let fragments = packet.fragments(size: 32, identification: 0xDEAD_BEEF)
        #expect(fragments.count == 3)
        // IPv6, hop-by-hop, fragment header, destination options, UDP.
        let first = fragments[0].packet
        #expect(first[6] == 0 && first[40] == 44 && first[48] == 60 && first[56] == 17)
        #expect(Array(first[48..<56]) == [60, 0, 0, 1, 0xDE, 0xAD, 0xBE, 0xEF])
        #expect(Array(fragments[2].packet[48..<56]) == [60, 0, 0, 64, 0xDE, 0xAD, 0xBE, 0xEF])
        let data = fragments.flatMap { $0.packet.dropFirst(56) }
        #expect(data == Array(packet.packet.dropFirst(48)), "together they are what was divided")
        let (read, later) = (PacketDissection(fragments[0].bytes), PacketDissection(fragments[2].bytes))
        #expect(read.source?.port == 40_000 && read.wrongChecksums == [])
        #expect(later.source == nil)
        #expect(later.layers[0].ip.fragment == Fragment(offset: 64, more: false, identification: 0xDEAD_BEEF))
    }

    @Test func anAtomicFragmentIsTheWholePacket() {
        let packet = Self.packet(.v6)
        let fragments = packet.fragments(size: 4096)
        #expect(fragments.count == 1)
        let read = PacketDissection(fragments[0].bytes)
        #expect(read.layers[0].ip.fragment == Fragment(offset: 0, more: false, identification: 0x1234))
        #expect(read.destination == PacketDissection(packet.bytes).destination)
        var broken = fragments[0].bytes
        broken[broken.count - 1] ^= 1
        #expect(PacketDissection(broken).wrongChecksums == ["udp.checksum"], "it has all the checksum covers")
    }

    @Test(arguments: IPFamily.allCases) func fragmentsAreDividedFurther(_ family: IPFamily) {
        let packet = Self.packet(family, payload: Array(0..<100))
        let twice = packet.fragments(size: 48, identification: 9).flatMap { $0.fragments(size: 16) }
        #expect(twice.map(\.bytes) == packet.fragments(size: 16, identification: 9).map(\.bytes))
    }

    @Test func aDifferenceIsNamed() throws {
        let packet = Self.packet(.v4)
        let router = IPAddress.literal("192.0.2.9")
        let error = try #require(packet.error(.portUnreachable(.v4), from: router))
        let other = try #require(
            packet.withUDP { $0.destinationPort = 81 }.error(.portUnreachable(.v4), from: router))
        // The two changed words of the quote are each other's complement, so that the ICMP checksum is the same.
        #expect(
            PacketDiff(expected: error.bytes, actual: other.bytes).differences == [
                "quoted.udp.destination", "quoted.udp.checksum",
            ])
        let tagged = packet.withLink { $0.tags = [VLANTag(id: 5)] }
        #expect(
            PacketDiff(expected: packet.bytes, actual: tagged.bytes).differences == [
                "eth.type", "vlan.control", "vlan.type",
            ], "what follows is the same")
        #expect(PacketDiff(expected: packet.bytes, actual: packet.bytes).differences == [])
        #expect("\(PacketDiff(expected: packet.bytes, actual: tagged.bytes))".hasPrefix("differs in eth.type, vlan."))
    }
}
