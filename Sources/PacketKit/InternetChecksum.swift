public import NetTypes

/// The one's complement checksum of IP, TCP, UDP and ICMP (RFC 1071), always computed over all bytes.
public enum InternetChecksum {
    /// The checksum of these bytes, whose own checksum field must be 0. An odd last byte is padded with a zero.
    ///
    /// 0 when the bytes already hold their correct checksum.
    public static func of(_ bytes: some Sequence<UInt8>) -> UInt16 {
        var sum: UInt64 = 0
        var isHigh = true
        for byte in bytes {
            sum += isHigh ? UInt64(byte) << 8 : UInt64(byte)
            isHigh.toggle()
        }
        while sum > 0xFFFF { sum = (sum & 0xFFFF) + (sum >> 16) }
        return ~UInt16(sum)
    }

    /// The checksum of a TCP, UDP or ICMPv6 segment, over its pseudo header too (RFC 9293 3.1, RFC 8200 8.1).
    ///
    /// - Parameters:
    ///   - segment: header and payload; its own checksum field must be 0.
    ///   - protocolNumber: the transport's number, not that of an extension header before it.
    public static func of(
        _ segment: [UInt8], protocolNumber: UInt8, source: IPAddress, destination: IPAddress
    ) -> UInt16 {
        var covered = source.bytes + destination.bytes
        if source.family == .v4 {
            covered += [0, protocolNumber]
            covered.append(UInt16(truncatingIfNeeded: segment.count))
        } else {
            covered.append(UInt32(truncatingIfNeeded: segment.count))
            covered += [0, 0, 0, protocolNumber]
        }
        return of(covered + segment)
    }

    /// The checksum after one 16-bit word has changed (RFC 1624 equation 3); off by as much as it was before.
    public static func updating(_ checksum: UInt16, from old: UInt16, to new: UInt16) -> UInt16 {
        var sum = UInt32(~checksum) + UInt32(~old) + UInt32(new)
        while sum > 0xFFFF { sum = (sum & 0xFFFF) + (sum >> 16) }
        return ~UInt16(sum)
    }
}

/// What a checksum field says.
public enum ChecksumField: Sendable, Hashable {
    /// What it must be for the bytes of the packet. A UDP checksum that comes out as 0 is 0xFFFF (RFC 768).
    case correct
    /// This, whatever the bytes are. 0 is "none" for UDP.
    case value(UInt16)
}

extension [UInt8] {
    mutating func append(_ value: UInt16) {
        append(UInt8(value >> 8))
        append(UInt8(value & 0xFF))
    }

    mutating func append(_ value: UInt32) {
        append(UInt16(value >> 16))
        append(UInt16(value & 0xFFFF))
    }

    mutating func store(_ value: UInt16, at offset: Int) {
        self[offset] = UInt8(value >> 8)
        self[offset + 1] = UInt8(value & 0xFF)
    }

    /// With zeros up to a multiple of `unit`.
    func padded(to unit: Int) -> [UInt8] {
        self + [UInt8](repeating: 0, count: (unit - count % unit) % unit)
    }
}
