internal import NetTypes

/// The flags of a TCP header.
public struct TCPFlags: OptionSet, Sendable, Hashable, CustomStringConvertible {
    /// The bits of byte 13.
    public let rawValue: UInt8
    /// From the bits of byte 13.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// No more data from the sender.
    public static let fin = TCPFlags(rawValue: 0x01)
    /// Synchronize sequence numbers.
    public static let syn = TCPFlags(rawValue: 0x02)
    /// Reset the connection.
    public static let rst = TCPFlags(rawValue: 0x04)
    /// Push.
    public static let psh = TCPFlags(rawValue: 0x08)
    /// The acknowledgment number counts.
    public static let ack = TCPFlags(rawValue: 0x10)
    /// The urgent pointer counts.
    public static let urg = TCPFlags(rawValue: 0x20)

    /// `SYN ACK`; `none`.
    public var description: String {
        let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"]
        let set = names.indices.filter { rawValue >> UInt8($0) & 1 == 1 }.map { names[$0] }
        return set.isEmpty ? "none" : set.joined(separator: " ")
    }
}

/// A TCP header (RFC 9293 3.1). Ports in host byte order.
public struct TCPHeader: Sendable, Hashable {
    /// The sender's port.
    public var sourcePort: UInt16
    /// The receiver's port.
    public var destinationPort: UInt16
    /// The flags.
    public var flags: TCPFlags
    /// Sequence number.
    public var sequence: UInt32 = 0x0102_0304
    /// Acknowledgment number.
    public var acknowledgment: UInt32 = 0
    /// Receive window, unscaled.
    public var window: UInt16 = 64_240
    /// Options, padded with zeros (end of options) to a multiple of 4 bytes.
    public var options: [UInt8] = []
    /// The data offset field, in units of 4 bytes; `nil` for what is true.
    public var dataOffset: UInt8?
    /// The checksum.
    public var checksum = ChecksumField.correct

    /// A header without options.
    public init(sourcePort: UInt16, destinationPort: UInt16, flags: TCPFlags) {
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
        self.flags = flags
    }

    var bytes: [UInt8] {
        let padded = options.padded(to: 4)
        var bytes: [UInt8] = []
        bytes.append(sourcePort)
        bytes.append(destinationPort)
        bytes.append(sequence)
        bytes.append(acknowledgment)
        bytes += [(dataOffset ?? UInt8(5 + padded.count / 4)) << 4, flags.rawValue]
        bytes.append(window)
        return bytes + [0, 0, 0, 0] + padded
    }
}

/// A UDP header (RFC 768). Ports in host byte order.
public struct UDPHeader: Sendable, Hashable {
    /// The sender's port.
    public var sourcePort: UInt16
    /// The receiver's port.
    public var destinationPort: UInt16
    /// The length field, header and payload in bytes; `nil` for what is true.
    public var length: UInt16?
    /// The checksum; `.value(0)` is none.
    public var checksum = ChecksumField.correct

    /// A header.
    public init(sourcePort: UInt16, destinationPort: UInt16) {
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
    }

    func bytes(size: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(sourcePort)
        bytes.append(destinationPort)
        bytes.append(length ?? UInt16(truncatingIfNeeded: 8 + size))
        return bytes + [0, 0]
    }
}

/// What an IP header carries.
public enum TransportHeader: Sendable, Hashable {
    /// TCP.
    case tcp(TCPHeader)
    /// UDP.
    case udp(UDPHeader)
    /// ICMP, or ICMPv6 in IPv6.
    case icmp(ICMPHeader)
    /// Any other protocol, or bytes in the middle of a datagram: the payload is all there is.
    case other(protocolNumber: UInt8)

    func number(_ family: IPFamily) -> UInt8 {
        switch self {
        case .tcp: ProtocolNumber.tcp
        case .udp: ProtocolNumber.udp
        case .icmp: family == .v4 ? ProtocolNumber.icmp : ProtocolNumber.icmp6
        case .other(let number): number
        }
    }

    /// Header and payload.
    func bytes(_ ip: IPHeader, payload: [UInt8]) -> [UInt8] {
        switch self {
        case .tcp(let header): seal(header.bytes + payload, at: 16, header.checksum, ip)
        case .udp(let header): seal(header.bytes(size: payload.count) + payload, at: 6, header.checksum, ip)
        case .icmp(let header): seal(header.bytes + payload, at: 2, header.checksum, ip)
        case .other: payload
        }
    }

    private func seal(_ segment: [UInt8], at offset: Int, _ field: ChecksumField, _ ip: IPHeader) -> [UInt8] {
        var segment = segment
        segment.store(value(of: field, segment, ip), at: offset)
        return segment
    }

    private func value(of field: ChecksumField, _ segment: [UInt8], _ ip: IPHeader) -> UInt16 {
        if case .value(let value) = field { return value }
        let number = number(ip.family)
        guard number != ProtocolNumber.icmp else { return InternetChecksum.of(segment) }
        let sum = InternetChecksum.of(
            segment, protocolNumber: number, source: ip.source, destination: ip.destination)
        if case .udp = self, sum == 0 { return 0xFFFF }
        return sum
    }
}
