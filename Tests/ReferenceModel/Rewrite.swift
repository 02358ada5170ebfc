internal import NetTypes
internal import PacketKit

/// Changes of packets. Checksums are computed over all bytes, before and after: a correct one is then correct
/// afterwards, and a wrong one, or one that covers bytes that are not there, is wrong by as much as before.
enum Rewrite {
    /// Gives an IP packet other addresses and, where its transport header is there, other ports.
    ///
    /// - Parameters:
    ///   - transport: what is at `ip.payload`; `nil` for a later fragment, whose addresses alone change.
    ///   - limit: where the bytes that belong to the packet end.
    static func translate(
        _ bytes: inout [UInt8], _ ip: ParsedIP, _ transport: TransportProtocol?, to tuple: Tuple, limit: Int
    ) {
        let before = bytes
        setAddresses(&bytes, ip, tuple.source.address, tuple.destination.address)
        guard let transport else { return }
        bytes.put16(tuple.source.port, ip.payload)
        bytes.put16(tuple.destination.port, ip.payload + 2)
        let place = ip.payload + (transport == .tcp ? 16 : 6)
        guard place + 2 <= limit else { return }
        // Zero is "none".
        if transport == .udp, before.be16(place) == 0 { return }
        let value = moved(
            before.be16(place), from: sum(before, ip, limit), to: sum(bytes, ip, limit))
        bytes.put16(transport == .udp && value == 0 ? 0xFFFF : value, place)
    }

    /// Other addresses, and the IPv4 header's checksum.
    static func setAddresses(_ bytes: inout [UInt8], _ ip: ParsedIP, _ source: IPAddress, _ destination: IPAddress) {
        changeHeader(&bytes, ip) {
            $0.put(source.bytes, ip.start + (ip.family == .v4 ? 12 : 8))
            $0.put(destination.bytes, ip.start + (ip.family == .v4 ? 16 : 24))
        }
    }

    /// One hop less.
    static func decrementHopLimit(_ bytes: inout [UInt8], _ ip: ParsedIP) {
        changeHeader(&bytes, ip) { $0[ip.start + (ip.family == .v4 ? 8 : 7)] -= 1 }
    }

    /// Changes an IP header; IPv4's checksum follows.
    static func changeHeader(_ bytes: inout [UInt8], _ ip: ParsedIP, _ change: (inout [UInt8]) -> Void) {
        let headerSize = ip.family == .v4 ? Int(bytes[ip.start] & 0xF) * 4 : 0
        let before = Array(bytes[ip.start..<ip.start + headerSize])
        change(&bytes)
        guard ip.family == .v4 else { return }
        let after = Array(bytes[ip.start..<ip.start + headerSize])
        bytes.put16(moved(before.be16(10), from: words(before), to: words(after)), ip.start + 10)
    }

    /// A checksum field after a change of what it covers; `from` and `to` are sums that hold the field itself.
    static func moved(_ field: UInt16, from before: UInt64, to after: UInt64) -> UInt16 {
        // Modulo 0xFFFF, the one's complement sum of field and data stays what it was.
        let modulus: UInt64 = 0xFFFF
        let value = (UInt64(field) + before % modulus + modulus - after % modulus) % modulus
        return UInt16(value)
    }

    /// The sum of all 16-bit words, an odd last byte padded.
    static func words(_ bytes: some Collection<UInt8>) -> UInt64 {
        var sum: UInt64 = 0
        for (index, byte) in bytes.enumerated() { sum += index % 2 == 0 ? UInt64(byte) << 8 : UInt64(byte) }
        return sum
    }

    /// The sum over a transport header, its data and the addresses of its pseudo header; the rest of that never
    /// changes.
    private static func sum(_ bytes: [UInt8], _ ip: ParsedIP, _ limit: Int) -> UInt64 {
        let addresses = ip.family == .v4 ? ip.start + 12..<ip.start + 20 : ip.start + 8..<ip.start + 40
        return words(bytes[addresses]) + words(bytes[ip.payload..<limit])
    }
}
