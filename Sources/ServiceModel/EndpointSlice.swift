/// What a proxy needs to know of a discovery.k8s.io/v1 EndpointSlice. Values are kept as the object holds them.
public struct EndpointSlice: Sendable, Hashable {
    /// Namespace and name.
    public var name: ObjectName
    /// Value of the label `kubernetes.io/service-name`; a slice without it, or with an empty one, belongs to nobody.
    public var serviceName: String?
    /// Whether the label `service.kubernetes.io/headless` is present: such slices are not for proxies.
    public var isHeadless: Bool
    /// `IPv4`, `IPv6` or `FQDN`.
    public var addressType: String
    /// The endpoints.
    public var endpoints: [Endpoint]
    /// The ports, each of which every endpoint of the slice has.
    public var ports: [EndpointPort]
    /// Annotation `endpoints.kubernetes.io/last-change-trigger-time` in nanoseconds since 1970, UTC: when what the slice
    /// follows last changed. For measuring latency alone.
    public var lastChangeTriggerTime: Int64?

    /// What controllers note in ``lastChangeTriggerTime``, as RFC 3339 text.
    public static let lastChangeTriggerTimeAnnotation = "endpoints.kubernetes.io/last-change-trigger-time"

    /// A slice.
    public init(
        name: ObjectName, serviceName: String?, isHeadless: Bool = false, addressType: String,
        endpoints: [Endpoint] = [], ports: [EndpointPort] = [], lastChangeTriggerTime: Int64? = nil
    ) {
        self.name = name
        self.serviceName = serviceName
        self.isHeadless = isHeadless
        self.addressType = addressType
        self.endpoints = endpoints
        self.ports = ports
        self.lastChangeTriggerTime = lastChangeTriggerTime
    }

    /// The Service the slice belongs to, in the slice's own namespace.
    public var service: ObjectName? {
        guard let serviceName, !serviceName.isEmpty else { return nil }
        return ObjectName(namespace: name.namespace, name: serviceName)
    }
}

/// One of an EndpointSlice's `endpoints`.
public struct Endpoint: Sendable, Hashable {
    /// The first address, which is the one a proxy uses; `nil` if there is none.
    public private(set) var address: String?
    /// Hardly any endpoint has more than one: an array for that alone would be most of what is allocated.
    private var otherAddresses: [String]
    /// The state.
    public var conditions: EndpointConditions
    /// The node it runs on.
    public var nodeName: String?
    /// The zone of that node. Without effect on balancing: only hints count.
    public var zone: String?
    /// `hints.forZones[].name`.
    public var forZones: [String]
    /// `hints.forNodes[].name`.
    public var forNodes: [String]

    /// An endpoint.
    public init(
        addresses: [String], conditions: EndpointConditions = EndpointConditions(), nodeName: String? = nil,
        zone: String? = nil, forZones: [String] = [], forNodes: [String] = []
    ) {
        address = addresses.first
        otherAddresses = Array(addresses.dropFirst())
        self.conditions = conditions
        self.nodeName = nodeName
        self.zone = zone
        self.forZones = forZones
        self.forNodes = forNodes
    }
}

extension Endpoint {
    /// All addresses of the endpoint.
    public var addresses: [String] {
        get { (address.map { [$0] } ?? []) + otherAddresses }
        set {
            address = newValue.first
            otherAddresses = Array(newValue.dropFirst())
        }
    }

    /// Adds an address behind those it has.
    public mutating func append(address: String) {
        if self.address == nil { self.address = address } else { otherAddresses.append(address) }
    }
}

/// An endpoint's `conditions` as written, each of which may be absent.
public struct EndpointConditions: Sendable, Hashable {
    /// `ready`, as written.
    public var ready: Bool?
    /// `serving`, as written.
    public var serving: Bool?
    /// `terminating`, as written.
    public var terminating: Bool?

    /// The three conditions.
    public init(ready: Bool? = nil, serving: Bool? = nil, terminating: Bool? = nil) {
        self.ready = ready
        self.serving = serving
        self.terminating = terminating
    }

    /// Takes new traffic: unless told otherwise, yes.
    public var isReady: Bool { ready ?? true }
    /// Answers its clients: unless told otherwise, yes. It does *not* default to ``isReady``.
    public var isServing: Bool { serving ?? true }
    /// Is being deleted.
    public var isTerminating: Bool { terminating ?? false }
}

/// One of an EndpointSlice's `ports`.
public struct EndpointPort: Sendable, Hashable {
    /// The name that joins it to a Service port.
    public var name: String?
    /// `TCP`, `UDP` or `SCTP`.
    public var protocolName: String
    /// The number at the endpoint; `nil` means any, which no proxy can balance.
    public var port: Int?

    /// A port; TCP unless said otherwise.
    public init(name: String? = "", protocolName: String = "TCP", port: Int?) {
        self.name = name
        self.protocolName = protocolName
        self.port = port
    }
}
