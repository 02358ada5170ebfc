internal import BenchABI
internal import NetTypes

/// TCP flags a benchmark sends.
enum SegmentKind: UInt8 {
    case syn = 0x02
    case data = 0x10
}

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

/// The packet of a case, as a template: the wrapper program puts each flow's client address and port in.
struct Frame {
    /// Clients are this network's addresses (low 16 bits zero), at one end of the packet.
    var clients: IPAddress
    /// The other end.
    var peer: TransportEndpoint
    /// Whether the client is the receiver.
    var isReply: Bool
    var kind: SegmentKind

    private static let payload = 16
    private static let tcpHeader = 20

    private var family: IPFamily { clients.family }

    /// The headers from the IP header on, client port 0, checksums 0.
    private var headers: [UInt8] {
        let (source, destination) = isReply ? (peer.address, clients) : (clients, peer.address)
        let ports: [UInt16] = isReply ? [peer.port, 0] : [0, peer.port]
        var bytes: [UInt8] = []
        if family == .v4 {
            let total = UInt16(20 + Self.tcpHeader + Self.payload)
            bytes += [0x45, 0] + total.octets + [0, 0, 0x40, 0, 64, TransportProtocol.tcp.rawValue, 0, 0]
        } else {
            let length = UInt16(Self.tcpHeader + Self.payload)
            bytes += [0x60, 0, 0, 0] + length.octets + [TransportProtocol.tcp.rawValue, 64]
        }
        bytes += source.octets + destination.octets + ports.flatMap(\.octets)
        bytes += [0, 0, 0, 1, 0, 0, 0, 1, 0x50, kind.rawValue, 0xFF, 0xFF, 0, 0, 0, 0]
        return bytes
    }

    private var ethernet: [UInt8] {
        let addresses: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]
        return addresses + (family == .v4 ? UInt16(0x0800) : 0x86DD).octets
    }

    /// A whole frame, to be the packet of the first run.
    var bytes: [UInt8] { ethernet + headers + [UInt8](repeating: 0, count: Self.payload) }

    /// What the wrapper programs need.
    func benchCase(_ walk: Walk) -> nt_bench_case {
        let headers = headers
        let ipHeader = family == .v4 ? 20 : 40
        let pseudo = TransportProtocol.tcp.number.octets + UInt16(Self.tcpHeader + Self.payload).octets
        var wire = nt_bench_case()
        wire.next = walk.next
        wire.stride = walk.stride
        wire.mask = UInt64(walk.flows.count - 1)
        wire.client_is_destination = isReply ? 1 : 0
        wire.ip_sum = family == .v4 ? InternetChecksum.sum(headers[..<ipHeader]) : 0
        // The addresses are the end of the IP header in both families.
        let addresses = ipHeader - family.bitWidth / 4
        wire.tcp_sum = InternetChecksum.sum(headers[addresses...] + pseudo)
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

extension TransportProtocol {
    fileprivate var number: UInt16 { UInt16(rawValue) }
}

extension IPAddress {
    /// In network byte order.
    fileprivate var octets: [UInt8] {
        (0..<family.bitWidth / 8).reversed().map { UInt8(truncatingIfNeeded: bits >> UInt128($0 * 8)) }
    }
}
