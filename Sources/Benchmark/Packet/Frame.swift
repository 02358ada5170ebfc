internal import BenchABI
internal import NetTypes

/// In which order runs go through the flows.
struct Walk {
    /// The number of the first run; a walk through the same flows can so be taken up where it was left.
    var next: UInt64 = 0
    var flows: FlowCount
    /// Odd.
    var stride: UInt64

    /// In no order that a cache could foresee, and another than ``ordered(_:)``'s: entries that were allocated one
    /// after the other must not be visited so.
    static func scattered(_ flows: FlowCount, from next: UInt64 = 0) -> Walk {
        Walk(next: next, flows: flows, stride: 0x9E37_79B9_7F4A_7C15)
    }

    /// One by one.
    static func ordered(_ flows: FlowCount) -> Walk { Walk(flows: flows, stride: 1) }

    /// Never twice the same flow.
    static func endless(from next: UInt64) -> Walk { scattered(FlowCount(largest: ()), from: next) }
}

/// The packet of a case, as a template: the wrapper program puts in what tells the flow from others.
struct Frame {
    /// One of the packet's two.
    enum End {
        case source, destination
    }

    enum Kind: Hashable {
        /// A TCP SYN without data or options.
        case syn
        /// TCP with ACK set and 16 bytes of data.
        case data
        /// UDP with 16 bytes of data.
        case datagram
        /// An ICMP error that quotes ``data``, with the outer addresses.
        case error(from: IPAddress, to: IPAddress)
    }

    /// Where it comes from.
    var source: TransportEndpoint
    /// Where it goes.
    var destination: TransportEndpoint
    /// Which address the flow's number is in: its low 16 bits are zero here.
    var address: End
    /// Which port the flow's number is added to.
    var port: End
    var kind: Kind
    /// The flows are spread over so many destinations, at this address and the following.
    var services = 1
    /// Address and port are not those of the flow's number but of the programs' list.
    var isListed = false

    /// From all clients to somebody.
    init(from clients: TransportEndpoint, to peer: TransportEndpoint, _ kind: Kind, services: Int = 1) {
        self.init(source: clients, destination: peer, address: .source, port: .source, kind: kind, services: services)
    }

    /// From somebody to all clients.
    init(to clients: TransportEndpoint, from peer: TransportEndpoint, _ kind: Kind) {
        self.init(source: peer, destination: clients, address: .destination, port: .destination, kind: kind)
    }

    /// From backends to ports of the node's: the replies to flows whose source is the node's.
    init(from backends: TransportEndpoint, toPortsOf node: IPAddress) {
        self.init(
            source: backends, destination: TransportEndpoint(node, 0, backends.transport), address: .source,
            port: .destination, kind: .data, isListed: true)
    }

    private init(
        source: TransportEndpoint, destination: TransportEndpoint, address: End, port: End, kind: Kind,
        services: Int = 1, isListed: Bool = false
    ) {
        self.source = source
        self.destination = destination
        self.address = address
        self.port = port
        self.kind = kind
        self.services = services
        self.isListed = isListed
    }
}

// MARK: Bytes

/// Which wrapper program makes packets of it.
enum Shape: String, CaseIterable {
    case tcp, udp, error
}

extension Frame {
    private static let payload = 16
    private static let tcpHeader = 20
    private static let udpHeader = 8

    var family: IPFamily { source.address.family }

    var shape: Shape {
        switch kind {
        case .syn, .data: .tcp
        case .datagram: .udp
        case .error: .error
        }
    }

    /// Bytes after the headers.
    private var payload: Int { kind == .data || kind == .datagram ? Self.payload : 0 }

    private var isFromError: Bool { shape == .error }

    private var ports: [UInt8] {
        (port == .source ? UInt16(0) : source.port).octets
            + (port == .destination ? UInt16(0) : destination.port).octets
    }

    /// TCP or UDP, checksum 0; of an error, what it quotes.
    private var transportHeader: [UInt8] {
        if kind == .datagram { return ports + UInt16(Self.udpHeader + payload).octets + [0, 0] }
        let sequence: [UInt8] = [0, 0, 0, 1]
        if isFromError { return ports + sequence }
        let flags: UInt8 = kind == .syn ? 0x02 : 0x10
        return ports + sequence + [0, 0, 0, kind == .syn ? 0 : 1, 0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]
    }

    private static func ipHeader(
        _ source: IPAddress, _ destination: IPAddress, _ transport: UInt8, length: Int
    ) -> [UInt8] {
        let addresses = source.bytes + destination.bytes
        guard source.family == .v4 else {
            return [0x60, 0, 0, 0] + UInt16(length).octets + [transport, 64] + addresses
        }
        return [0x45, 0] + UInt16(20 + length).octets + [0, 0, 0x40, 0, 64, transport, 0, 0] + addresses
    }

    /// The IP header with the flow's tuple, checksum 0.
    private var tupleHeader: [UInt8] {
        let transport: TransportProtocol = kind == .datagram ? .udp : .tcp
        // The quoted packet had data too.
        let length = isFromError ? Self.tcpHeader + Self.payload : transportHeader.count + payload
        return Self.ipHeader(source.address, destination.address, transport.rawValue, length: length)
    }

    /// The ICMP error before what it quotes, checksum 0: host, or address, unreachable (RFC 792, RFC 4443).
    private var icmpHeader: [UInt8] { (family == .v4 ? [3, 1] : [1, 3]) + [0, 0, 0, 0, 0, 0] }

    private static let icmp: [IPFamily: UInt8] = [.v4: 1, .v6: 58]

    /// What comes before ``tupleHeader``, its checksums right but ICMP's.
    private var errorHeaders: [UInt8] {
        guard case .error(let from, let to) = kind else { return [] }
        let length = icmpHeader.count + tupleHeader.count + transportHeader.count
        var header = Self.ipHeader(from, to, Self.icmp[family] ?? 0, length: length)
        if family == .v4 {
            let sum = ~InternetChecksum.sum(header)
            withUnsafeBytes(of: sum) { header.replaceSubrange(10..<12, with: $0) }
        }
        return header + icmpHeader
    }

    /// From the IP header on.
    private var headers: [UInt8] { errorHeaders + tupleHeader + transportHeader }

    private var ethernet: [UInt8] {
        let addresses: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]
        return addresses + (family == .v4 ? UInt16(0x0800) : 0x86DD).octets
    }

    /// A whole frame, to be the packet of the first run.
    var bytes: [UInt8] { ethernet + headers + [UInt8](repeating: 0, count: payload) }

    /// The sum that the checksum of TCP, UDP or ICMP is made of.
    private var transportSum: UInt16 {
        guard case .error(let from, let to) = kind else {
            let transport: TransportProtocol = kind == .datagram ? .udp : .tcp
            let length = UInt16(transportHeader.count + payload)
            let pseudo =
                source.address.bytes + destination.address.bytes + UInt16(transport.rawValue).octets + length.octets
            return InternetChecksum.sum(pseudo + transportHeader)
        }
        let message = icmpHeader + tupleHeader + transportHeader
        // ICMP's pseudo header is there in IPv6 alone.
        let pseudo =
            family == .v4
            ? [] : from.bytes + to.bytes + UInt16(message.count).octets + UInt16(Self.icmp[.v6] ?? 0).octets
        return InternetChecksum.sum(pseudo + message)
    }

    /// What the wrapper programs need.
    func benchCase(_ walk: Walk) -> nt_bench_case {
        var wire = nt_bench_case()
        wire.next = walk.next
        wire.stride = walk.stride
        wire.mask = UInt64(walk.flows.count - 1)
        wire.services = UInt32(services)
        wire.shift = UInt32(walk.flows.count.trailingZeroBitCount)
        wire.length = UInt32(bytes.count)
        wire.first_port = port == .source ? source.port : destination.port
        wire.listed = isListed ? 1 : 0
        wire.address_is_destination = address == .destination ? 1 : 0
        wire.port_is_destination = port == .destination ? 1 : 0
        wire.ip_sum = family == .v4 ? InternetChecksum.sum(tupleHeader) : 0
        wire.l4_sum = transportSum
        withUnsafeMutableBytes(of: &wire.ethernet) { $0.copyBytes(from: ethernet) }
        withUnsafeMutableBytes(of: &wire.words) { $0.copyBytes(from: headers) }
        return wire
    }
}

/// The sum of RFC 1071.
enum InternetChecksum {
    /// Of an even number of bytes, folded to 16 bits, not complemented, as it would be stored in memory.
    static func sum(_ bytes: some Sequence<UInt8>) -> UInt16 {
        var sum: UInt32 = 0
        var high: UInt8?
        for byte in bytes {
            if let first = high {
                sum += UInt32(first) << 8 | UInt32(byte)
                sum = (sum & 0xFFFF) + (sum >> 16)
                high = nil
            } else {
                high = byte
            }
        }
        return UInt16(sum).bigEndian
    }
}

extension UInt16 {
    /// In network byte order.
    fileprivate var octets: [UInt8] { [UInt8(self >> 8), UInt8(self & 0xFF)] }
}
