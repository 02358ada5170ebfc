public import Dataplane
internal import NeedletailABI
public import NetTypes
internal import Planning
internal import ServiceModel

/// A value of a filter that cannot be read.
public struct FilterError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is expected.
    public let description: String
}

/// An address or a prefix of addresses, with or without a port.
public struct EndpointFilter: Sendable, Hashable {
    /// The prefix an address must lie in.
    public let prefix: CIDR
    /// The port it must have, in host byte order; `nil` is any.
    public let port: UInt16?

    /// Reads `ADDRESS`, `ADDRESS/LENGTH`, `IPV4:PORT` or `[IPV6]:PORT`.
    public init(_ text: String) throws(FilterError) {
        let expected = FilterError(
            description: "expected an address (192.0.2.1), a prefix (192.0.2.0/24) or both with a port (192.0.2.1:80)")
        if let prefix = CIDR(text) ?? IPAddress(text).flatMap({ CIDR($0, length: $0.family.bitWidth) }) {
            self.prefix = prefix
            port = nil
            return
        }
        guard let colon = text.lastIndex(of: ":"), let number = UInt16(text[text.index(after: colon)...]),
            number > 0
        else { throw expected }
        var host = text[..<colon]
        if host.first == "[", host.last == "]" { host = host.dropFirst().dropLast() }
        guard let address = IPAddress(host), (address.family == .v6) == (text.first == "["),
            let exact = CIDR(address, length: address.family.bitWidth)
        else { throw expected }
        prefix = exact
        port = number
    }

    func matches(_ endpoint: TransportEndpoint) -> Bool {
        prefix.contains(endpoint.address) && (port == nil || port == endpoint.port)
    }
}

/// A backend by address, or by id as `backend list` shows it.
public enum BackendFilterTarget: Sendable, Hashable {
    /// By id.
    case id(UInt32)
    /// By where it is reached.
    case endpoint(EndpointFilter)

    /// Reads a number as an id, anything else as an ``EndpointFilter``.
    public init(_ text: String) throws(FilterError) {
        if let id = UInt32(text) {
            self = .id(id)
        } else {
            self = .endpoint(try EndpointFilter(text))
        }
    }

    func matches(_ id: UInt32, _ endpoint: TransportEndpoint?) -> Bool {
        switch self {
        case .id(let wanted): wanted == id
        case .endpoint(let filter): endpoint.map(filter.matches) ?? false
        }
    }
}

/// What makes an address a frontend, as it is asked for and shown.
public enum FrontendKindName: String, Sendable, Hashable, CaseIterable, Encodable {
    /// `spec.clusterIPs`.
    case clusterIP = "ClusterIP"
    /// A NodePort on one of the node's addresses.
    case nodePort = "NodePort"
    /// `status.loadBalancer.ingress`.
    case loadBalancer = "LoadBalancer"
    /// `spec.externalIPs`.
    case externalIP = "ExternalIP"
    /// None that this version knows.
    case unknown = "?"

    /// Reads a kind in any case, with or without hyphens.
    public init(_ text: String) throws(FilterError) {
        let wanted = text.lowercased().filter { $0 != "-" }
        guard let kind = Self.allCases.first(where: { $0 != .unknown && $0.rawValue.lowercased() == wanted }) else {
            throw FilterError(description: "expected ClusterIP, NodePort, LoadBalancer or ExternalIP")
        }
        self = kind
    }

    init(_ flags: FrontendFlags) {
        let kinds: [(FrontendFlags, Self)] = [
            (.clusterIP, .clusterIP), (.nodePort, .nodePort), (.loadBalancer, .loadBalancer),
            (.externalIP, .externalIP),
        ]
        self = kinds.first { flags.contains($0.0) }?.1 ?? .unknown
    }
}

extension TransportProtocol {
    /// Reads a protocol that is balanced.
    public init(filter text: String) throws(FilterError) {
        guard let transport = TransportProtocol(text), transport != .sctp else {
            throw FilterError(description: "expected tcp or udp")
        }
        self = transport
    }
}

/// Which frontends to show. What is `nil` matches all.
public struct ServiceFilter: Sendable, Hashable {
    /// The Service's namespace.
    public var namespace: String?
    /// The Service's name.
    public var name: String?
    /// Where the frontend listens.
    public var address: EndpointFilter?
    /// The protocol.
    public var transport: TransportProtocol?
    /// The port the frontend listens on, in host byte order.
    public var port: UInt16?
    /// What the frontend stems from.
    public var kind: FrontendKindName?

    /// Everything.
    public init() {}

    func matches(_ key: TransportEndpoint, _ record: FrontendRecord, _ snapshot: Snapshot) -> Bool {
        let service = snapshot.image.services[record.service]?.service
        return (namespace == nil || namespace == service?.namespace) && (name == nil || name == service?.name)
            && (address.map { $0.matches(key) } ?? true) && (transport == nil || transport == key.transport)
            && (port == nil || port == key.port) && (kind == nil || kind == FrontendKindName(record.flags))
    }
}

/// Which backends to show. What is `nil` matches all.
public struct BackendFilter: Sendable, Hashable {
    /// Used by a Service of this namespace.
    public var namespace: String?
    /// Used by a Service of this name.
    public var name: String?
    /// Which one.
    public var backend: BackendFilterTarget?
    /// The protocol.
    public var transport: TransportProtocol?
    /// The state.
    public var state: BackendStateName?
    /// Whether it runs on this node.
    public var isLocal: Bool?

    /// Everything.
    public init() {}
}

/// Which flows to show or flush. What is `nil` matches all.
public struct FlowFilter: Sendable, Hashable {
    /// The Service's namespace.
    public var namespace: String?
    /// The Service's name.
    public var name: String?
    /// The Service, or one port of it.
    public var service: ServiceSelector?
    /// Client, frontend or backend.
    public var address: EndpointFilter?
    /// The backend.
    public var backend: BackendFilterTarget?
    /// The protocol.
    public var transport: TransportProtocol?
    /// Where the flow is in its life.
    public var state: FlowEntry.State?

    /// Everything.
    public init() {}

    /// Whether it lets all flows through.
    public var isEmpty: Bool { self == FlowFilter() }

    func matches(_ flow: FlowEntry, _ snapshot: Snapshot) -> Bool {
        let parties = flow.parties
        let port = snapshot.image.services[flow.service]
        return (namespace == nil || namespace == port?.service.namespace) && (name == nil || name == port?.service.name)
            && (service.map { $0.matches(port, snapshot.ports(of: flow.service)) } ?? true)
            && (address.map { filter in
                filter.matches(parties.client) || filter.matches(parties.frontend) || filter.matches(parties.backend)
            } ?? true)
            && (backend.map { $0.matches(flow.backend.rawValue, parties.backend) } ?? true)
            && (transport == nil || transport == flow.transport) && (state == nil || state == flow.state)
    }
}

extension FlowEntry.State {
    /// Reads a state.
    public init(filter text: String) throws(FilterError) {
        guard let state = Self(rawValue: text.lowercased()) else {
            throw FilterError(
                description: "expected one of \(Self.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        self = state
    }
}
