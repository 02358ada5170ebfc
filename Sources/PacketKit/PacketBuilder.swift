public import NetTypes

/// A frame, described by its fields. ``bytes`` gives lengths and checksums their correct values unless a field says
/// otherwise.
public struct PacketBuilder: Sendable, Hashable {
    /// What the link header carries.
    public enum Content: Sendable, Hashable {
        /// An IP packet with a transport header.
        case ip(IPHeader, TransportHeader)
        /// An ARP packet.
        case arp(ARPMessage)
        /// The payload alone, of this type.
        case raw(type: UInt16)
    }

    /// The link header.
    public var link = LinkHeader()
    /// What it carries.
    public var content: Content
    /// Data after the transport header.
    public var payload: [UInt8] = []
    /// Bytes after the end of the IP packet, as Ethernet pads short frames.
    public var trailer: [UInt8] = []

    /// A frame.
    public init(_ content: Content, payload: [UInt8] = []) {
        self.content = content
        self.payload = payload
    }

    /// A segment or datagram between two endpoints, whose protocol is that of the source.
    public init(
        from source: TransportEndpoint, to destination: TransportEndpoint, flags: TCPFlags = .ack,
        payload: [UInt8] = Array("needletail".utf8)
    ) {
        let ip = IPHeader(source: source.address, destination: destination.address)
        let transport: TransportHeader =
            switch source.transport {
            case .tcp: .tcp(TCPHeader(sourcePort: source.port, destinationPort: destination.port, flags: flags))
            case .udp: .udp(UDPHeader(sourcePort: source.port, destinationPort: destination.port))
            case .sctp: .other(protocolNumber: ProtocolNumber.sctp)
            }
        self.init(.ip(ip, transport), payload: payload)
    }

    /// The IP header, if there is one; setting it where there is none does nothing.
    public var ip: IPHeader? {
        get { if case .ip(let header, _) = content { header } else { nil } }
        set { if let newValue, case .ip(_, let transport) = content { content = .ip(newValue, transport) } }
    }

    /// The transport header, if there is one; setting it where there is none does nothing.
    public var transport: TransportHeader? {
        get { if case .ip(_, let transport) = content { transport } else { nil } }
        set { if let newValue, case .ip(let ip, _) = content { content = .ip(ip, newValue) } }
    }

    /// The same frame with fields changed.
    public func with(_ change: (inout PacketBuilder) -> Void) -> PacketBuilder {
        var copy = self
        change(&copy)
        return copy
    }

    /// The same frame with fields of its IP header changed, if it has one.
    public func withIP(_ change: (inout IPHeader) -> Void) -> PacketBuilder {
        with { if case .ip(var ip, let transport) = $0.content { change(&ip); $0.content = .ip(ip, transport) } }
    }

    /// The same frame with fields of its TCP header changed, if it has one.
    public func withTCP(_ change: (inout TCPHeader) -> Void) -> PacketBuilder {
        with { if case .tcp(var tcp) = $0.transport { change(&tcp); $0.transport = .tcp(tcp) } }
    }

    /// The same frame with fields of its UDP header changed, if it has one.
    public func withUDP(_ change: (inout UDPHeader) -> Void) -> PacketBuilder {
        with { if case .udp(var udp) = $0.transport { change(&udp); $0.transport = .udp(udp) } }
    }

    /// The same frame between other endpoints, with correct checksums; what NAT must make of it.
    public func readdressed(from source: TransportEndpoint, to destination: TransportEndpoint) -> PacketBuilder {
        withIP { ($0.source, $0.destination) = (source.address, destination.address) }
            .withTCP { ($0.sourcePort, $0.destinationPort) = (source.port, destination.port) }
            .withUDP { ($0.sourcePort, $0.destinationPort) = (source.port, destination.port) }
    }

    /// The fragments of an IP packet, each with at most `size` bytes of what can be divided: transport header and
    /// payload, for IPv6 also ``IPHeader/fragmentableExtensions``. The transport checksum is that of the whole.
    ///
    /// A single one that holds everything is an atomic fragment (RFC 6946). Fragments can be divided further; they keep
    /// their identification. IPv4 options and ``IPHeader/extensions`` are in all of them.
    ///
    /// - Parameter size: in bytes; rounded down to a multiple of 8, but at least 8.
    public func fragments(size: Int, identification: UInt32 = 0x1234) -> [PacketBuilder] {
        guard case .ip(let ip, let transport) = content else { return [self] }
        var whole = transport.bytes(ip, payload: payload)
        var number = ip.protocolNumber ?? transport.number(ip.family)
        if ip.family == .v6 {
            whole = ip.fragmentableExtensions.bytes(next: number) + whole
            number = ip.fragmentableExtensions.first?.number ?? number
        }
        let first = ip.fragment ?? Fragment(offset: 0, more: false, identification: identification)
        let size = max(8, size / 8 * 8)
        return stride(from: 0, to: max(1, whole.count), by: size).map { offset in
            let end = min(offset + size, whole.count)
            return with {
                $0.content = .ip(ip, .other(protocolNumber: number))
                $0.payload = Array(whole[offset..<end])
            }
            .withIP {
                $0.fragmentableExtensions = []
                $0.protocolNumber = nil
                $0.fragment = Fragment(
                    offset: first.offset + offset, more: first.more || end < whole.count,
                    identification: first.identification)
            }
        }
    }

    /// The frame, from its Ethernet header on.
    public var bytes: [UInt8] {
        switch content {
        case .ip(let ip, _):
            return link.bytes(carrying: ip.family == .v4 ? EtherType.ipv4 : EtherType.ipv6) + packet + trailer
        case .arp(let message): return link.bytes(carrying: EtherType.arp) + message.bytes + payload + trailer
        case .raw(let type): return link.bytes(carrying: type) + payload + trailer
        }
    }
}
