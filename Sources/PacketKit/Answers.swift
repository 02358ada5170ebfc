public import NetTypes

/// What others send because of a packet, and what a packet becomes on its way.
extension PacketBuilder {
    /// An ICMP or ICMPv6 message; the family is that of the addresses.
    ///
    /// Hop limit 64; change it and other fields with ``withIP(_:)``.
    ///
    /// - Parameter body: the data of an echo, or the quote of an error: see ``quote(bytes:)``.
    public init(
        icmp header: ICMPHeader, from source: IPAddress, to destination: IPAddress, body: [UInt8] = []
    ) {
        self.init(.ip(IPHeader(source: source, destination: destination), .icmp(header)), payload: body)
    }

    /// A TCP reset; with an acknowledgment number it has the flag ACK too. No window, no data.
    public init(
        resetFrom source: TransportEndpoint, to destination: TransportEndpoint, sequence: UInt32,
        acknowledgment: UInt32?
    ) {
        self.init(from: source, to: destination, flags: acknowledgment == nil ? .rst : [.rst, .ack], payload: [])
        self = withTCP {
            $0.sequence = sequence
            $0.acknowledgment = acknowledgment ?? 0
            $0.window = 0
        }
    }

    /// The IP packet alone: without link header and trailer. Empty for a frame without one.
    public var packet: [UInt8] {
        guard case .ip(let ip, let transport) = content else { return [] }
        let segment = transport.bytes(ip, payload: payload)
        return ip.bytes(carrying: transport.number(ip.family), size: segment.count) + segment
    }

    /// How many bytes of ``packet`` come before the transport header: IP header, options, extension headers.
    public var ipHeaderSize: Int {
        guard case .ip(let ip, let transport) = content else { return 0 }
        return packet.count - transport.bytes(ip, payload: payload).count
    }

    /// The beginning of the IP packet, as an ICMP error quotes it: `bytes` in all, or the whole if that is shorter.
    public func quote(bytes: Int = .max) -> [UInt8] { Array(packet.prefix(bytes)) }

    /// The IP header with the first `transportBytes` after it, 8 being the least an ICMP error quotes (RFC 792).
    public func quote(transportBytes: Int) -> [UInt8] { quote(bytes: ipHeaderSize + transportBytes) }

    /// An ICMP error about this packet to its sender, on the link it came by: MAC addresses swapped, VLAN tags kept.
    /// `nil` for a frame without IP packet.
    ///
    /// - Parameters:
    ///   - address: who reports.
    ///   - quote: how much of the packet is quoted at most, in bytes.
    public func error(_ header: ICMPHeader, from address: IPAddress, quote: Int = 512) -> PacketBuilder? {
        guard let ip else { return nil }
        let error = PacketBuilder(icmp: header, from: address, to: ip.source, body: self.quote(bytes: quote))
        return error.with { $0.link = link.turned }
    }

    /// The reset that answers this TCP segment where there is no connection (RFC 9293 3.5.2), on the link it came by.
    /// `nil` for what is no TCP segment, or is a reset itself.
    public var reset: PacketBuilder? {
        guard case .ip(let ip, .tcp(let tcp)) = content, !tcp.flags.contains(.rst) else { return nil }
        let length = payload.count + (tcp.flags.contains(.syn) ? 1 : 0) + (tcp.flags.contains(.fin) ? 1 : 0)
        let isAcknowledging = tcp.flags.contains(.ack)
        let reset = PacketBuilder(
            resetFrom: TransportEndpoint(ip.destination, tcp.destinationPort, .tcp),
            to: TransportEndpoint(ip.source, tcp.sourcePort, .tcp),
            sequence: isAcknowledging ? tcp.acknowledgment : 0,
            acknowledgment: isAcknowledging ? nil : tcp.sequence &+ UInt32(length))
        return reset.with { $0.link = link.turned }
    }

    /// The packet inside an outer IP header, on the same link: IPIP, IP6IP6 (RFC 2003, RFC 2473), or one in the other.
    ///
    /// The outer header is plain, with hop limit 64; change it with ``withIP(_:)``. A frame without IP packet stays as
    /// it is.
    public func encapsulated(from source: IPAddress, to destination: IPAddress) -> PacketBuilder {
        guard let ip else { return self }
        let number = ip.family == .v4 ? ProtocolNumber.ipv4 : ProtocolNumber.ipv6
        return with {
            $0.content = .ip(IPHeader(source: source, destination: destination), .other(protocolNumber: number))
            $0.payload = packet
            $0.trailer = []
        }
    }

    /// The same frame with fields of its link header changed.
    public func withLink(_ change: (inout LinkHeader) -> Void) -> PacketBuilder { with { change(&$0.link) } }

    /// The same frame between other MAC addresses, 6 bytes each.
    public func relinked(from source: [UInt8], to destination: [UInt8]) -> PacketBuilder {
        withLink { ($0.source, $0.destination) = (source, destination) }
    }

    /// The same packet one hop further: hop limit decremented, unless it is 0; an IPv4 checksum that was set to a value
    /// is updated as routers do it (RFC 1624), so that a wrong one stays wrong.
    public var hopLimitDecremented: PacketBuilder {
        withIP {
            guard $0.hopLimit > 0 else { return }
            $0.hopLimit -= 1
            if case .value(let value) = $0.checksum {
                $0.checksum = .value(
                    InternetChecksum.updating(
                        value, from: UInt16($0.hopLimit + 1) << 8, to: UInt16($0.hopLimit) << 8))
            }
        }
    }
}

extension LinkHeader {
    /// Back to where it came from: MAC addresses swapped.
    public var turned: LinkHeader {
        var copy = self
        (copy.source, copy.destination) = (destination, source)
        return copy
    }
}
