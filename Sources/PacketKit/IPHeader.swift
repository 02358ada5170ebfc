public import NetTypes

/// Numbers of what may follow an IP header (IANA "protocol numbers").
public enum ProtocolNumber {
    /// IPv6 hop-by-hop options.
    public static let hopByHop: UInt8 = 0
    /// ICMP.
    public static let icmp: UInt8 = 1
    /// IPv4 inside another header (IPIP).
    public static let ipv4: UInt8 = 4
    /// TCP.
    public static let tcp: UInt8 = 6
    /// UDP.
    public static let udp: UInt8 = 17
    /// IPv6 inside another header (IP6IP6).
    public static let ipv6: UInt8 = 41
    /// IPv6 routing header.
    public static let routing: UInt8 = 43
    /// IPv6 fragment header.
    public static let fragment: UInt8 = 44
    /// ICMPv6.
    public static let icmp6: UInt8 = 58
    /// IPv6 destination options.
    public static let destinationOptions: UInt8 = 60
    /// SCTP.
    public static let sctp: UInt8 = 132
}

/// An IPv6 extension header (RFC 8200 section 4).
public struct ExtensionHeader: Sendable, Hashable {
    /// Its own number.
    public var number: UInt8
    /// What follows its first two bytes; padded with zeros (Pad1 options) to a multiple of 8 bytes in all.
    public var body: [UInt8]
    /// The length field, in units of 8 bytes beyond the first 8; `nil` for what is true.
    public var length: UInt8?

    /// A header of any kind.
    public init(number: UInt8, body: [UInt8], length: UInt8? = nil) {
        self.number = number
        self.body = body
        self.length = length
    }

    /// Hop-by-hop options: padding only.
    public static let hopByHop = ExtensionHeader(number: ProtocolNumber.hopByHop, body: [1, 4, 0, 0, 0, 0])

    /// Destination options: `size` bytes in all, padding only.
    public static func destinationOptions(size: Int = 8) -> ExtensionHeader {
        ExtensionHeader(
            number: ProtocolNumber.destinationOptions, body: [UInt8](repeating: 0, count: max(6, size - 2)))
    }

    /// A routing header of type 2 with one address of zeros.
    public static func routing(segmentsLeft: UInt8) -> ExtensionHeader {
        ExtensionHeader(
            number: ProtocolNumber.routing, body: [2, segmentsLeft] + [UInt8](repeating: 0, count: 20))
    }

    func bytes(next: UInt8) -> [UInt8] {
        var bytes = ([next, 0] + body).padded(to: 8)
        bytes[1] = length ?? UInt8(truncatingIfNeeded: bytes.count / 8 - 1)
        return bytes
    }
}

extension [ExtensionHeader] {
    /// All of them, the last announcing `number`.
    func bytes(next number: UInt8) -> [UInt8] {
        zip(self, dropFirst().map(\.number) + [number]).flatMap { $0.bytes(next: $1) }
    }
}

/// Which part of a datagram a packet carries.
public struct Fragment: Sendable, Hashable {
    /// Where it begins, in bytes; a multiple of 8.
    public var offset: Int
    /// Whether more follow.
    public var more: Bool
    /// Common to all fragments of the datagram.
    public var identification: UInt32

    /// A fragment.
    public init(offset: Int, more: Bool, identification: UInt32 = 0x1234) {
        self.offset = offset
        self.more = more
        self.identification = identification
    }
}

/// An IPv4 or IPv6 header. The family is that of the addresses.
///
/// Fields whose value follows from the packet are `nil` for that value; set, they are sent as they are.
public struct IPHeader: Sendable, Hashable {
    /// The sender.
    public var source: IPAddress
    /// The receiver, of the same family.
    public var destination: IPAddress
    /// Time to live, hop limit.
    public var hopLimit: UInt8 = 64
    /// Type of service, traffic class.
    public var trafficClass: UInt8 = 0
    /// IPv4 identification of a packet that is no fragment; low 16 bits of the IPv6 flow label.
    public var label: UInt16 = 0xBEEF
    /// IPv4: the flag "do not fragment".
    public var doNotFragment = true
    /// The part of a datagram this packet carries; `nil` for all of it.
    public var fragment: Fragment?
    /// IPv4 options, padded with zeros (end of options) to a multiple of 4 bytes; ignored for IPv6.
    public var options: [UInt8] = []
    /// IPv6 extension headers before the fragment header and the transport header; ignored for IPv4.
    public var extensions: [ExtensionHeader] = []
    /// IPv6 extension headers after the fragment header; ignored for IPv4. To fragments they are data.
    public var fragmentableExtensions: [ExtensionHeader] = []

    /// The version field.
    public var version: UInt8?
    /// IPv4: the header length field, in units of 4 bytes.
    public var headerLength: UInt8?
    /// IPv4: the total length field. IPv6: the payload length field. In bytes.
    public var length: UInt16?
    /// The protocol (next header) field that announces the transport header.
    public var protocolNumber: UInt8?
    /// IPv4: the header checksum.
    public var checksum = ChecksumField.correct

    /// A plain header between two addresses.
    public init(source: IPAddress, destination: IPAddress) {
        self.source = source
        self.destination = destination
    }

    /// The family.
    public var family: IPFamily { source.family }

    func bytes(carrying number: UInt8, size: Int) -> [UInt8] {
        family == .v4
            ? ipv4(protocolNumber ?? number, size: size) : ipv6(protocolNumber ?? number, size: size)
    }

    private func ipv4(_ number: UInt8, size: Int) -> [UInt8] {
        let padded = options.padded(to: 4)
        let headerSize = 20 + padded.count
        var bytes = [(version ?? 4) << 4 | (headerLength ?? UInt8(headerSize / 4)) & 0xF, trafficClass]
        bytes.append(length ?? UInt16(truncatingIfNeeded: headerSize + size))
        bytes.append(fragment.map { UInt16(truncatingIfNeeded: $0.identification) } ?? label)
        bytes.append(
            fragment.map { UInt16($0.offset / 8) | ($0.more ? 0x2000 : 0) } ?? (doNotFragment ? 0x4000 : 0))
        bytes += [hopLimit, number, 0, 0] + source.bytes + destination.bytes + padded
        switch checksum {
        case .correct: bytes.store(InternetChecksum.of(bytes), at: 10)
        case .value(let value): bytes.store(value, at: 10)
        }
        return bytes
    }

    private func ipv6(_ number: UInt8, size: Int) -> [UInt8] {
        var chain = extensions
        if let fragment {
            var body: [UInt8] = []
            body.append(UInt16(fragment.offset) | (fragment.more ? 1 : 0))
            body.append(fragment.identification)
            chain.append(ExtensionHeader(number: ProtocolNumber.fragment, body: body, length: 0))
        }
        let following = (chain + fragmentableExtensions).bytes(next: number)
        let first = (chain + fragmentableExtensions).first?.number ?? number
        var bytes: [UInt8] = []
        bytes.append(UInt32((version ?? 6) & 0xF) << 28 | UInt32(trafficClass) << 20 | UInt32(label))
        bytes.append(length ?? UInt16(truncatingIfNeeded: following.count + size))
        bytes += [first, hopLimit]
        return bytes + source.bytes + destination.bytes + following
    }
}
