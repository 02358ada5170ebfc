internal import Glibc
public import NeedletailABI
public import NetTypes
internal import Planning
internal import ServiceModel

// Between the control plane's types and the map records of bpf/abi/needletail.h. Nothing else in Swift knows that the
// records are in network byte order.

extension NetworkPort {
    /// From a port in host byte order.
    public init(hostOrder port: UInt16) { self.init(rawValue: port.bigEndian) }

    /// The port in host byte order.
    public var port: UInt16 { UInt16(bigEndian: rawValue) }
}

// The initialisers that Swift makes for C enums take any number; switching over one that is no case is undefined.

extension FlowDirection {
    init?(wire: UInt8) {
        guard wire <= Self.reverse.rawValue else { return nil }
        self.init(rawValue: UInt32(wire))
    }
}

extension BackendState {
    init?(wire: UInt8) {
        guard wire <= Self.gone.rawValue else { return nil }
        self.init(rawValue: UInt32(wire))
    }
}

extension RefusalCode {
    init?(wire: UInt8) {
        guard wire <= Self.noLocalEndpoints.rawValue else { return nil }
        self.init(rawValue: UInt32(wire))
    }
}

extension IPAddress {
    init(words: (UInt32, UInt32, UInt32, UInt32), _ family: IPFamily) {
        if family == .v4 {
            self.init(v4: UInt32(bigEndian: words.0))
            return
        }
        let parts = [words.0, words.1, words.2, words.3]
        self.init(v6: parts.reduce(UInt128(0)) { $0 << 32 | UInt128(UInt32(bigEndian: $1)) })
    }

    /// Four words in network byte order; an IPv4 address is the first of them.
    var words: (UInt32, UInt32, UInt32, UInt32) {
        if family == .v4 { return (UInt32(truncatingIfNeeded: bits).bigEndian, 0, 0, 0) }
        func word(_ index: Int) -> UInt32 { UInt32(truncatingIfNeeded: bits >> UInt128(96 - 32 * index)).bigEndian }
        return (word(0), word(1), word(2), word(3))
    }
}

/// A frontend key of one family.
protocol WireFrontendKey {
    static var family: IPFamily { get }
    /// The endpoint must be of this family.
    init(_ endpoint: TransportEndpoint)
    /// `nil` when the protocol is none the control plane writes.
    var endpoint: TransportEndpoint? { get }
}

extension nt_frontend_key4: WireFrontendKey {
    static var family: IPFamily { .v4 }

    init(_ endpoint: TransportEndpoint) {
        self.init(
            addr: endpoint.address.words.0, port: NetworkPort(hostOrder: endpoint.port),
            protocol: endpoint.transport.rawValue,
            pad: 0)
    }

    var endpoint: TransportEndpoint? {
        TransportProtocol(rawValue: `protocol`).map {
            TransportEndpoint(IPAddress(words: (addr, 0, 0, 0), .v4), port.port, $0)
        }
    }
}

extension nt_frontend_key6: WireFrontendKey {
    static var family: IPFamily { .v6 }

    init(_ endpoint: TransportEndpoint) {
        self.init(
            addr: endpoint.address.words, port: NetworkPort(hostOrder: endpoint.port),
            protocol: endpoint.transport.rawValue,
            pad: 0)
    }

    var endpoint: TransportEndpoint? {
        TransportProtocol(rawValue: `protocol`).map {
            TransportEndpoint(IPAddress(words: addr, .v6), port.port, $0)
        }
    }
}

/// A source, destination and protocol as they are on the wire.
public struct FlowTuple: Sendable, Hashable {
    /// The sender.
    public var source: TransportEndpoint
    /// The receiver.
    public var destination: TransportEndpoint

    /// From sender to receiver; both have the same protocol.
    public init(source: TransportEndpoint, destination: TransportEndpoint) {
        self.source = source
        self.destination = destination
    }

    /// The tuple of the answer.
    public var reversed: FlowTuple { FlowTuple(source: destination, destination: source) }
}

/// A flow key of one family.
protocol WireFlowKey {
    init(_ tuple: FlowTuple, _ direction: FlowDirection)
    var tuple: FlowTuple? { get }
    var transport: TransportProtocol? { get }
    var flowDirection: FlowDirection? { get }
}

extension nt_flow_key4: WireFlowKey {
    init(_ tuple: FlowTuple, _ direction: FlowDirection) {
        self.init(
            src: tuple.source.address.words.0, dst: tuple.destination.address.words.0,
            sport: NetworkPort(hostOrder: tuple.source.port), dport: NetworkPort(hostOrder: tuple.destination.port),
            protocol: tuple.source.transport.rawValue, direction: UInt8(direction.rawValue), pad: 0)
    }

    var tuple: FlowTuple? {
        FlowTuple(
            IPAddress(words: (src, 0, 0, 0), .v4), sport, IPAddress(words: (dst, 0, 0, 0), .v4), dport, `protocol`)
    }

    var transport: TransportProtocol? { TransportProtocol(rawValue: `protocol`) }

    var flowDirection: FlowDirection? { FlowDirection(wire: direction) }
}

extension nt_flow_key6: WireFlowKey {
    init(_ tuple: FlowTuple, _ direction: FlowDirection) {
        self.init(
            src: tuple.source.address.words, dst: tuple.destination.address.words,
            sport: NetworkPort(hostOrder: tuple.source.port), dport: NetworkPort(hostOrder: tuple.destination.port),
            protocol: tuple.source.transport.rawValue, direction: UInt8(direction.rawValue), pad: 0)
    }

    var tuple: FlowTuple? {
        FlowTuple(IPAddress(words: src, .v6), sport, IPAddress(words: dst, .v6), dport, `protocol`)
    }

    var transport: TransportProtocol? { TransportProtocol(rawValue: `protocol`) }

    var flowDirection: FlowDirection? { FlowDirection(wire: direction) }
}

extension FlowTuple {
    init?(
        _ source: IPAddress, _ sport: NetworkPort, _ destination: IPAddress, _ dport: NetworkPort, _ number: UInt8
    ) {
        guard let transport = TransportProtocol(rawValue: number) else { return nil }
        self.source = TransportEndpoint(source, sport.port, transport)
        self.destination = TransportEndpoint(destination, dport.port, transport)
    }
}

/// A flow value of one family.
protocol WireFlowValue {
    var head: nt_flow { get }
    /// The addresses after the rewrite.
    var rewritten: (source: IPAddress, destination: IPAddress) { get }
}

extension nt_flow4: WireFlowValue {
    var rewritten: (source: IPAddress, destination: IPAddress) {
        (IPAddress(words: (src, 0, 0, 0), .v4), IPAddress(words: (dst, 0, 0, 0), .v4))
    }
}

extension nt_flow6: WireFlowValue {
    var rewritten: (source: IPAddress, destination: IPAddress) {
        (IPAddress(words: src, .v6), IPAddress(words: dst, .v6))
    }
}

/// A source range key of one family.
protocol WireRangeKey {
    /// The prefix must be of this family.
    init(_ service: ServiceID, _ prefix: CIDR)
    /// `nil` when the length is none the control plane writes.
    var range: (service: ServiceID, prefix: CIDR)? { get }
}

/// Bits of the service in front of those of the address.
private let serviceBits: UInt32 = 32

extension nt_range_key4: WireRangeKey {
    init(_ service: ServiceID, _ prefix: CIDR) {
        self.init(
            prefix_length: serviceBits + UInt32(prefix.length), service: service, addr: prefix.base.words.0)
    }

    var range: (service: ServiceID, prefix: CIDR)? {
        CIDR(IPAddress(words: (addr, 0, 0, 0), .v4), length: Int(prefix_length) - Int(serviceBits)).map {
            (service, $0)
        }
    }
}

extension nt_range_key6: WireRangeKey {
    init(_ service: ServiceID, _ prefix: CIDR) {
        self.init(prefix_length: serviceBits + UInt32(prefix.length), service: service, addr: prefix.base.words)
    }

    var range: (service: ServiceID, prefix: CIDR)? {
        CIDR(IPAddress(words: addr, .v6), length: Int(prefix_length) - Int(serviceBits)).map { (service, $0) }
    }
}

/// An address key of one family.
protocol WireAddressKey {
    /// The address must be of this family.
    init(_ address: IPAddress)
    var address: IPAddress { get }
}

extension nt_address_key4: WireAddressKey {
    init(_ address: IPAddress) { self.init(addr: address.words.0) }
    var address: IPAddress { IPAddress(words: (addr, 0, 0, 0), .v4) }
}

extension nt_address_key6: WireAddressKey {
    init(_ address: IPAddress) { self.init(addr: address.words) }
    var address: IPAddress { IPAddress(words: addr, .v6) }
}

extension FrontendRecord {
    func wire(for key: TransportEndpoint) -> nt_frontend {
        nt_frontend(
            addr: nt_addr(w: key.address.words), port: NetworkPort(hostOrder: key.port),
            protocol: key.transport.rawValue,
            family: key.address.family.rawValue, flags: flags.rawValue, service: service,
            set: (external.setID, `internal`.setID), refusal: (external.refusalByte, `internal`.refusalByte),
            pad: (0, 0), affinity: affinity)
    }

    init(_ wire: nt_frontend) {
        self.init(
            flags: FrontendFlags(rawValue: wire.flags), service: wire.service,
            external: ScopeRecord(wire.set.0, wire.refusal.0), internal: ScopeRecord(wire.set.1, wire.refusal.1),
            affinity: wire.affinity)
    }
}

extension ScopeRecord {
    init(_ set: SetID, _ refusal: UInt8) {
        self = set.rawValue != 0 ? .set(set) : .refuse(RefusalCode(wire: refusal) ?? .noEndpoints)
    }

    var setID: SetID { if case .set(let id) = self { id } else { SetID(rawValue: 0) } }

    var refusalByte: UInt8 { if case .refuse(let code) = self { UInt8(code.rawValue) } else { 0 } }
}

extension SetRecord {
    init?(_ wire: nt_set) {
        guard wire.slots != 0 else { return nil }
        self.init(line: wire.line, slots: wire.slots, backends: wire.backends, digest: wire.digest)
    }

    var wire: nt_set { nt_set(line: line, slots: slots, backends: backends, pad: 0, digest: digest) }
}

extension BackendRecord {
    init?(_ wire: nt_backend) {
        guard let state = BackendState(wire: wire.state), state != .free,
            let family = IPFamily(rawValue: wire.family), let transport = TransportProtocol(rawValue: wire.protocol)
        else { return nil }
        self.init(
            endpoint: TransportEndpoint(IPAddress(words: wire.addr.w, family), wire.port.port, transport),
            state: state, isLocal: UInt32(wire.flags) & NT_BACKEND_LOCAL != 0)
    }

    var wire: nt_backend {
        nt_backend(
            addr: nt_addr(w: endpoint.address.words), port: NetworkPort(hostOrder: endpoint.port),
            protocol: endpoint.transport.rawValue, family: endpoint.address.family.rawValue,
            state: UInt8(state.rawValue), flags: isLocal ? UInt8(NT_BACKEND_LOCAL) : 0, pad: 0)
    }
}

/// Text in a fixed array of bytes, cut at its end and padded with zeros.
public enum FixedText {
    /// Stores text, at most the field's size less one byte.
    public static func store<Field>(_ text: String, in field: inout Field) {
        withUnsafeMutableBytes(of: &field) { bytes in
            for (index, byte) in zip(0..<bytes.count - 1, text.utf8) { bytes[index] = byte }
        }
    }

    /// The text up to the first zero.
    public static func load<Field>(_ field: Field) -> String {
        withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

extension ServicePortName {
    init?(_ wire: nt_service_info) {
        guard let transport = TransportProtocol(rawValue: wire.protocol) else { return nil }
        self.init(
            service: ObjectName(
                namespace: FixedText.load(wire.service_namespace), name: FixedText.load(wire.name)),
            port: FixedText.load(wire.port_name), transport: transport)
    }

    var wire: nt_service_info {
        var info = nt_service_info()
        FixedText.store(service.namespace, in: &info.service_namespace)
        FixedText.store(service.name, in: &info.name)
        FixedText.store(port, in: &info.port_name)
        info.protocol = transport.rawValue
        return info
    }
}
