public import NetTypes
internal import PacketKit

/// Source and destination of a packet. Both have the same family and protocol.
public struct Tuple: Sendable, Hashable, CustomStringConvertible {
    /// The sender.
    public var source: TransportEndpoint
    /// The receiver.
    public var destination: TransportEndpoint

    /// From one end to the other.
    public init(_ source: TransportEndpoint, _ destination: TransportEndpoint) {
        self.source = source
        self.destination = destination
    }

    /// The way back.
    public var reversed: Tuple { Tuple(destination, source) }

    /// `192.0.2.1:40000 → 203.0.113.1:80/TCP`.
    public var description: String { "\(source.address.withPort(source.port)) → \(destination)" }
}

/// Reads numbers in network byte order.
extension [UInt8] {
    func be16(_ at: Int) -> UInt16 { UInt16(self[at]) << 8 | UInt16(self[at + 1]) }
    func be32(_ at: Int) -> UInt32 { UInt32(be16(at)) << 16 | UInt32(be16(at + 2)) }

    func address(_ at: Int, _ family: IPFamily) -> IPAddress {
        family == .v4
            ? IPAddress(v4: be32(at))
            : IPAddress(v6: self[at..<at + 16].reduce(UInt128(0)) { $0 << 8 | UInt128($1) })
    }

    mutating func put16(_ value: UInt16, _ at: Int) {
        self[at] = UInt8(value >> 8)
        self[at + 1] = UInt8(value & 0xFF)
    }

    mutating func put(_ bytes: [UInt8], _ at: Int) { replaceSubrange(at..<at + bytes.count, with: bytes) }
}

/// An IP header in a buffer, and where what it carries begins and ends.
struct ParsedIP {
    /// Why a packet is left alone.
    enum Obstacle: Error, Hashable {
        case malformed
        case extensionHeaders
    }

    var family: IPFamily
    /// Offset of the header.
    var start: Int
    /// Offset of what the last header announces.
    var payload: Int
    /// Offset of the end of the packet by its own length field; a quoted packet may be cut before.
    var end: Int
    /// What the last header announces.
    var number: UInt8
    var source: IPAddress
    var destination: IPAddress
    var hopLimit: UInt8
    var doNotFragment = false
    /// The number common to all fragments of the datagram; `nil` for a packet that is whole.
    var identification: UInt32?
    /// Bytes of the datagram before this part of it.
    var offset = 0

    /// Of at most this many extension headers a packet may have; more are left alone.
    static let extensionHeaderLimit = 6
    /// Bytes of extension headers, likewise.
    static let extensionBytesLimit = 256

    /// Reads the header at `start`. `whole`: the packet must be all there, as far as its length field says.
    init(_ bytes: [UInt8], at start: Int, _ family: IPFamily, whole: Bool) throws(Obstacle) {
        self.family = family
        self.start = start
        switch family {
        case .v4:
            guard bytes.count >= start + 20, bytes[start] >> 4 == 4, bytes[start] & 0xF >= 5 else { throw .malformed }
            payload = start + Int(bytes[start] & 0xF) * 4
            end = start + Int(bytes.be16(start + 2))
            guard payload <= bytes.count, payload <= end, !whole || end <= bytes.count else { throw .malformed }
            number = bytes[start + 9]
            hopLimit = bytes[start + 8]
            source = bytes.address(start + 12, .v4)
            destination = bytes.address(start + 16, .v4)
            let fragment = bytes.be16(start + 6)
            doNotFragment = fragment & 0x4000 != 0
            offset = Int(fragment & 0x1FFF) * 8
            if fragment & 0x3FFF != 0 { identification = UInt32(bytes.be16(start + 4)) }
        case .v6:
            guard bytes.count >= start + 40, bytes[start] >> 4 == 6 else { throw .malformed }
            payload = start + 40
            end = payload + Int(bytes.be16(start + 4))
            guard !whole || end <= bytes.count else { throw .malformed }
            number = bytes[start + 6]
            hopLimit = bytes[start + 7]
            source = bytes.address(start + 8, .v6)
            destination = bytes.address(start + 24, .v6)
            try walkExtensions(bytes)
        }
    }

    private mutating func walkExtensions(_ bytes: [UInt8]) throws(Obstacle) {
        let known = [
            ProtocolNumber.hopByHop, ProtocolNumber.routing, ProtocolNumber.fragment,
            ProtocolNumber.destinationOptions,
        ]
        let first = payload
        var count = 0
        while known.contains(number), offset == 0 {
            count += 1
            guard count <= Self.extensionHeaderLimit else { throw .extensionHeaders }
            guard payload + 8 <= min(end, bytes.count) else { throw .malformed }
            let isFragment = number == ProtocolNumber.fragment
            let size = isFragment ? 8 : (Int(bytes[payload + 1]) + 1) * 8
            if number == ProtocolNumber.routing, bytes[payload + 3] != 0 { throw .extensionHeaders }
            if isFragment {
                identification = bytes.be32(payload + 4)
                offset = Int(bytes.be16(payload + 2) & 0xFFF8)
            }
            number = bytes[payload]
            payload += size
            guard payload - first <= Self.extensionBytesLimit else { throw .extensionHeaders }
            guard payload <= min(end, bytes.count) else { throw .malformed }
        }
    }

    /// A fragment that is not the first of its datagram: no transport header.
    var isLaterFragment: Bool { offset > 0 }
}

/// What a program sees in a frame.
struct ParsedFrame {
    /// Why a frame is none of ours.
    enum Refusal: Error, Hashable {
        case notIP
        case otherProtocol
        case malformed
        case extensionHeaders
    }

    enum Kind {
        case tcp(TCPFlags)
        case udp
        /// A TCP or UDP fragment without ports.
        case laterFragment(TransportProtocol)
        case icmp
        /// An IP packet of the same family.
        case encapsulated
    }

    let bytes: [UInt8]
    let ip: ParsedIP
    let kind: Kind

    init(_ bytes: [UInt8]) throws(Refusal) {
        self.bytes = bytes
        var offset = 12
        var tags = 0
        while bytes.count >= offset + 2, tags < 2,
            [EtherType.vlan, EtherType.serviceVLAN].contains(bytes.be16(offset))
        {
            tags += 1
            offset += 4
        }
        guard bytes.count >= offset + 2 else { throw .notIP }
        let family: IPFamily
        switch bytes.be16(offset) {
        case EtherType.ipv4: family = .v4
        case EtherType.ipv6: family = .v6
        default: throw .notIP
        }
        do throws(ParsedIP.Obstacle) {
            ip = try ParsedIP(bytes, at: offset + 2, family, whole: true)
        } catch {
            throw error == .malformed ? .malformed : .extensionHeaders
        }
        let size = ip.end - ip.payload
        switch (ip.number, family) {
        case (ProtocolNumber.tcp, _) where ip.isLaterFragment: kind = .laterFragment(.tcp)
        case (ProtocolNumber.udp, _) where ip.isLaterFragment: kind = .laterFragment(.udp)
        case (ProtocolNumber.tcp, _):
            guard size >= 20 else { throw .malformed }
            let header = Int(bytes[ip.payload + 12] >> 4) * 4
            guard header >= 20, header <= size else { throw .malformed }
            kind = .tcp(TCPFlags(rawValue: bytes[ip.payload + 13]))
        case (ProtocolNumber.udp, _):
            guard size >= 8 else { throw .malformed }
            let length = Int(bytes.be16(ip.payload + 4))
            // The first fragment has the length of the whole datagram.
            guard length >= 8, length <= size || ip.identification != nil else { throw .malformed }
            kind = .udp
        case (ProtocolNumber.icmp, .v4), (ProtocolNumber.icmp6, .v6):
            guard size >= 8 || ip.isLaterFragment else { throw .malformed }
            kind = .icmp
        case (4, .v4), (41, .v6): kind = .encapsulated
        default: throw .otherProtocol
        }
    }

    /// Of an unfragmented TCP or UDP packet, or a first fragment.
    var tuple: Tuple? {
        switch kind {
        case .tcp: tuple(.tcp)
        case .udp: tuple(.udp)
        default: nil
        }
    }

    private func tuple(_ transport: TransportProtocol) -> Tuple {
        Tuple(
            TransportEndpoint(ip.source, bytes.be16(ip.payload), transport),
            TransportEndpoint(ip.destination, bytes.be16(ip.payload + 2), transport))
    }

    /// Of headers without options or extensions, whole, and of no interest to a connection's state.
    var isPlain: Bool {
        guard ip.start == 14, ip.payload == 14 + (ip.family == .v4 ? 20 : 40), ip.identification == nil else {
            return false
        }
        switch kind {
        case .tcp(let flags): return flags.contains(.ack) && flags.isDisjoint(with: [.syn, .fin, .rst])
        case .udp: return true
        default: return false
        }
    }

    var flags: TCPFlags? { if case .tcp(let flags) = kind { flags } else { nil } }

    /// Bytes from the IP header on, by its own account.
    var length: Int { ip.end - ip.start }
}
