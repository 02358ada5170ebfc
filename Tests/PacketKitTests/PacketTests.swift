import NetTypes
import PacketKit
import Testing

@Suite struct PacketTests {
    @Test func checksumOfTheExampleInRFC1071() {
        #expect(InternetChecksum.of([0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]) == ~0xDDF2)
        #expect(InternetChecksum.of([0x01]) == ~0x0100, "an odd byte is a high one")
        #expect(InternetChecksum.of([UInt8]()) == 0xFFFF)
    }

    private static func endpoint(_ family: IPFamily, _ number: UInt8, _ port: UInt16, _ transport: TransportProtocol)
        -> TransportEndpoint
    {
        let address =
            family == .v4
            ? IPAddress(v4: 0xC000_0200 + UInt32(number)) : IPAddress(v6: 0x2001_0DB8 << 96 | UInt128(number))
        return TransportEndpoint(address, port, transport)
    }

    private static func packet(
        _ family: IPFamily, _ transport: TransportProtocol, payload: [UInt8] = [1, 2, 3]
    ) -> PacketBuilder {
        PacketBuilder(
            from: endpoint(family, 1, 40_000, transport), to: endpoint(family, 2, 80, transport), flags: .syn,
            payload: payload)
    }

    @Test func aWholeFrameByHand() {
        // Both checksums were worked out by another program from the words of the headers.
        var expected: [UInt8] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00]
        expected += [0x45, 0, 0, 31, 0xBE, 0xEF, 0x40, 0, 64, 17, 0xF7, 0xDA]
        expected += [192, 0, 2, 1, 192, 0, 2, 2]
        expected += [0x9C, 0x40, 0, 80, 0, 11, 0xDB, 0x41, 1, 2, 3]
        #expect(
            Self.packet(.v4, .udp).bytes == expected,
            "\(PacketDiff(expected: expected, actual: Self.packet(.v4, .udp).bytes))")
    }

    @Test(arguments: IPFamily.allCases, [TransportProtocol.tcp, .udp])
    func whatIsBuiltIsRead(_ family: IPFamily, _ transport: TransportProtocol) {
        let packet = Self.packet(family, transport).withIP {
            $0.options = [1, 1, 1, 1]
            $0.extensions = [.hopByHop, .routing(segmentsLeft: 0), .destinationOptions()]
        }
        .with {
            $0.link.tags = [VLANTag(id: 7, type: EtherType.serviceVLAN), VLANTag(id: 9)]
            $0.trailer = [0, 0, 0]
        }
        let dissection = PacketDissection(packet.bytes)
        #expect(dissection.source == Self.endpoint(family, 1, 40_000, transport))
        #expect(dissection.destination == Self.endpoint(family, 2, 80, transport))
        #expect(dissection.wrongChecksums == [])
        #expect(
            dissection.fields.map(\.range).flatMap { $0 } == Array(packet.bytes.indices), "every byte is in a field")
        #expect(dissection.fields.suffix(2).map(\.name) == ["payload", "trailer"])
    }

    @Test(arguments: IPFamily.allCases, [TransportProtocol.tcp, .udp])
    func everyFlippedBitOfTheHeadersAndDataIsNoticed(_ family: IPFamily, _ transport: TransportProtocol) {
        let bytes = Self.packet(family, transport).bytes
        // IPv6 has no checksum over traffic class, flow label and hop limit; flips there go unnoticed.
        let covered = family == .v4 ? 14..<bytes.count : 22..<bytes.count
        for bit in covered.lowerBound * 8..<covered.upperBound * 8 {
            var flipped = bytes
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            let dissection = PacketDissection(flipped)
            #expect(!dissection.wrongChecksums.isEmpty || dissection.source == nil, "bit \(bit)")
        }
    }

    @Test(arguments: IPFamily.allCases)
    func fragmentsCarryTheDatagram(_ family: IPFamily) {
        let packet = Self.packet(family, .udp, payload: Array(0..<100))
        let fragments = packet.fragments(size: 40)
        #expect(fragments.map { $0.ip?.fragment?.offset } == [0, 40, 80])
        #expect(fragments.map { $0.ip?.fragment?.more } == [true, true, false])
        let headers = family == .v4 ? 34 : 54
        #expect(fragments.flatMap(\.payload) == Array(packet.bytes.dropFirst(headers)))
        #expect(PacketDissection(fragments[1].bytes).source == nil)
    }

    @Test func aDifferenceIsMarked() {
        let packet = Self.packet(.v4, .tcp)
        let other = packet.withTCP { $0.flags = [.syn, .ack] }
        let text = PacketDiff(expected: packet.bytes, actual: other.bytes).description
        let marked = text.split(separator: "\n").filter { $0.hasPrefix("*") }.map {
            $0.dropFirst(2).prefix { $0 != " " }
        }
        #expect(marked == ["tcp.flags", "tcp.checksum", "20", "30"])
        #expect(text.contains("| SYN ") && text.contains("| SYN ACK"))
    }

    @Test("Any bytes can be taken apart and compared")
    func garbage() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            var bytes = (0..<Int.random(in: 0...120, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            if bytes.count > 14 {
                bytes.replaceSubrange(
                    12..<14, with: [[8, 0], [0x86, 0xDD], [0x81, 0]].randomElement(using: &random) ?? [])
            }
            if bytes.count > 15, bytes[12] != 0x81 { bytes[14] = bytes[12] == 8 ? 0x45 : 0x60 }
            // Half of them with something inside: ICMP errors, tunnels, fragments.
            if bytes.count > 100, bytes[12] != 0x81, Bool.random(using: &random) {
                let isV4 = bytes[12] == 8
                let start = isV4 ? 34 : 54
                bytes[isV4 ? 23 : 20] = [1, 4, 6, 41, 44, 58].randomElement(using: &random) ?? 0
                if isV4 { bytes.replaceSubrange(20..<22, with: [0, 0]) }
                bytes[start] = [0x45, 0x60, 1, 3, 4, 6].randomElement(using: &random) ?? 0
                bytes[start + 8] = [0x45, 0x4F, 0x60].randomElement(using: &random) ?? 0
            }
            let ranges = PacketDissection(bytes).fields.map(\.range)
            #expect(ranges.flatMap { $0 } == Array(bytes.indices), "\(bytes)")
            _ = PacketDiff(expected: bytes, actual: Array(bytes.reversed())).description
        }
    }
}
