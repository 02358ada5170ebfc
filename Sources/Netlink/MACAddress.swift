/// An Ethernet hardware address (EUI-48).
public struct MACAddress: Sendable, Hashable, CustomStringConvertible {
    /// The address as a number of 48 bits: the first byte on the wire is the most significant.
    public let bits: UInt64

    /// The low 48 bits of a number.
    public init(bits: UInt64) {
        self.bits = bits & 0xFFFF_FFFF_FFFF
    }

    /// Six bytes in the order of the wire; `nil` for any other number of bytes.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 6 else { return nil }
        bits = bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Reads six groups of two hexadecimal digits, parted by colons.
    public init?(_ text: some StringProtocol) {
        let groups = text.split(separator: ":", omittingEmptySubsequences: false)
        let bytes = groups.compactMap { $0.utf8.count == 2 ? UInt8($0, radix: 16) : nil }
        guard groups.count == 6, groups.allSatisfy({ !$0.hasPrefix("+") }) else { return nil }
        self.init(bytes: bytes)
    }

    /// Six bytes in the order of the wire.
    public var bytes: [UInt8] {
        (0..<6).reversed().map { UInt8(truncatingIfNeeded: bits >> UInt64($0 * 8)) }
    }

    /// `02:00:5e:10:00:01`.
    public var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}
