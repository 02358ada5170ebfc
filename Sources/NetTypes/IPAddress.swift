internal import Glibc

/// The two address families, numbered as in the IP header's version field.
public enum IPFamily: UInt8, Sendable, Hashable, CaseIterable, Comparable {
    /// IPv4.
    case v4 = 4
    /// IPv6.
    case v6 = 6

    /// Address length in bits: 32 or 128.
    public var bitWidth: Int { self == .v4 ? 32 : 128 }

    /// IPv4 sorts before IPv6.
    public static func < (a: IPFamily, b: IPFamily) -> Bool { a.rawValue < b.rawValue }
}

/// An IPv4 or IPv6 address as a number (host byte order; an IPv4 address uses the low 32 bits).
///
/// Ordered by family, then numerically. Zone identifiers are not part of an address.
public struct IPAddress: Sendable, Hashable, Comparable {
    // Two words and not one: a `UInt128` is aligned to 16 bytes, which makes an endpoint half as large again, and an agent
    // keeps hundreds of thousands.
    /// The upper half of ``bits``.
    let high: UInt64
    /// The lower half of ``bits``.
    let low: UInt64
    /// The family.
    public let family: IPFamily

    /// The address as an unsigned number in host byte order.
    public var bits: UInt128 { UInt128(high) << 64 | UInt128(low) }

    /// An IPv4 address from its number in host byte order (`0xC000_0201` is 192.0.2.1).
    public init(v4 bits: UInt32) {
        high = 0
        low = UInt64(bits)
        family = .v4
    }

    /// An IPv6 address from its number in host byte order.
    public init(v6 bits: UInt128) {
        high = UInt64(truncatingIfNeeded: bits >> 64)
        low = UInt64(truncatingIfNeeded: bits)
        family = .v6
    }

    /// Reads an address from its bytes in network byte order; `nil` unless there are 4 or 16 of them.
    public init?(bytes: some Collection<UInt8>) {
        let value = bytes.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
        switch bytes.count {
        case 4: self.init(v4: UInt32(value))
        case 16: self.init(v6: value)
        default: return nil
        }
    }

    /// Reads the usual text forms: dotted decimal for IPv4 and RFC 4291 text for IPv6 (no zone).
    ///
    /// IPv4 octets may carry leading zeros and are read as decimal all the same, groups of IPv6 more than four digits:
    /// stored Kubernetes objects may hold such legacy spellings and kube-proxy reads them so
    /// (`netutils.ParseIPSloppy`). An IPv4-mapped IPv6 address
    /// (`::ffff:192.0.2.1`) is the IPv4 address, as in Go's `net.ParseIP`.
    public init?(_ text: some StringProtocol) {
        var text = String(text)
        let parsed = text.withUTF8 { $0.contains(UInt8(ascii: ":")) ? Self.parseV6($0) : Self.parseV4($0) }
        guard let parsed else { return nil }
        self = parsed
    }

    private static func parseV4(_ text: UnsafeBufferPointer<UInt8>) -> IPAddress? {
        var value: UInt32 = 0
        var octet: UInt32?
        var dots = 0
        for byte in text {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                let next = (octet ?? 0) * 10 + UInt32(byte - UInt8(ascii: "0"))
                guard next <= 255 else { return nil }
                octet = next
            case UInt8(ascii: "."):
                guard let complete = octet, dots < 3 else { return nil }
                value = value << 8 | complete
                octet = nil
                dots += 1
            default: return nil
            }
        }
        guard let last = octet, dots == 3 else { return nil }
        return IPAddress(v4: value << 8 | last)
    }

    private static func parseV6(_ text: UnsafeBufferPointer<UInt8>) -> IPAddress? {
        if let address = parseStrictV6(text) { return address }
        guard text.count < 128, let plain = withoutLeadingZeros(text) else { return nil }
        return plain.withUnsafeBufferPointer(parseStrictV6)
    }

    /// The same without what only legacy spellings have; `nil` if there is nothing of that kind.
    private static func withoutLeadingZeros(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        var plain: [UInt8] = []
        var start = plain.endIndex
        var isChanged = false
        for byte in text {
            let isZero = start < plain.endIndex && plain[start...].allSatisfy { $0 == UInt8(ascii: "0") }
            switch byte {
            case UInt8(ascii: ":"), UInt8(ascii: "."):
                plain.append(byte)
                start = plain.endIndex
                continue
            case _ where isZero:
                // A digit follows: it stands for all zeros before it.
                plain.removeLast(plain.endIndex - start)
                isChanged = true
            default: break
            }
            plain.append(byte)
        }
        return isChanged ? plain : nil
    }

    private static func parseStrictV6(_ text: UnsafeBufferPointer<UInt8>) -> IPAddress? {
        // INET6_ADDRSTRLEN, with the final zero inet_pton wants.
        guard text.count < 46, !text.contains(0) else { return nil }
        var parsed = in6_addr()
        let isAddress = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 46) { buffer in
            buffer.initialize(repeating: 0)
            for (index, byte) in text.enumerated() { buffer[index] = CChar(bitPattern: byte) }
            return inet_pton(AF_INET6, buffer.baseAddress, &parsed) == 1
        }
        guard isAddress else { return nil }
        let value = withUnsafeBytes(of: parsed) { $0.reduce(UInt128(0)) { $0 << 8 | UInt128($1) } }
        if value >> 32 == 0xFFFF { return IPAddress(v4: UInt32(truncatingIfNeeded: value)) }
        return IPAddress(v6: value)
    }

    /// The address in network byte order: 4 or 16 bytes.
    public var bytes: [UInt8] {
        (0..<family.bitWidth / 8).reversed().map { UInt8(truncatingIfNeeded: bits >> UInt128($0 * 8)) }
    }

    /// 0.0.0.0 or ::.
    public var isUnspecified: Bool { bits == 0 }

    /// 127.0.0.0/8 or ::1.
    public var isLoopback: Bool { family == .v4 ? bits >> 24 == 127 : bits == 1 }

    /// 169.254.0.0/16 or fe80::/10.
    public var isLinkLocal: Bool { family == .v4 ? bits >> 16 == 0xA9FE : bits >> 118 == 0x3FA }

    /// 224.0.0.0/4 or ff00::/8.
    public var isMulticast: Bool { family == .v4 ? bits >> 28 == 0xE : bits >> 120 == 0xFF }

    /// By family, then numerically.
    public static func < (a: IPAddress, b: IPAddress) -> Bool {
        if a.family != b.family { return a.family < b.family }
        return a.high == b.high ? a.low < b.low : a.high < b.high
    }
}

extension IPAddress: CustomStringConvertible {
    /// The canonical text: dotted decimal, or RFC 5952.
    public var description: String {
        if family == .v4 {
            return (0..<4).reversed().map { String(UInt8(truncatingIfNeeded: bits >> UInt128($0 * 8))) }
                .joined(separator: ".")
        }
        return rfc5952
    }

    /// RFC 5952 section 4: lower case, no leading zeros, the longest run of two or more zero groups (the first of
    /// equals) becomes `::`.
    private var rfc5952: String {
        let groups = (0..<8).map { UInt16(truncatingIfNeeded: bits >> UInt128((7 - $0) * 16)) }
        var best = 0..<0
        var start = 0
        while start < 8 {
            guard groups[start] == 0 else {
                start += 1
                continue
            }
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > max(best.count, 1) { best = start..<end }
            start = end
        }
        func hex(_ range: Range<Int>) -> String {
            groups[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        return best.isEmpty ? hex(0..<8) : "\(hex(0..<best.lowerBound))::\(hex(best.upperBound..<8))"
    }

    /// `192.0.2.1:80` or `[2001:db8::1]:80`.
    public func withPort(_ port: UInt16) -> String {
        family == .v4 ? "\(self):\(port)" : "[\(self)]:\(port)"
    }
}
