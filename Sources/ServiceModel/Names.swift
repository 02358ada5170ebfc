public import NetTypes

/// Namespace and name of an object. Cluster-scoped objects (Node, ServiceCIDR) have an empty namespace.
public struct ObjectName: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The namespace; empty for cluster-scoped objects.
    public let namespace: String
    /// The name.
    public let name: String

    /// Puts the two together.
    public init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }

    /// `namespace/name`, or the bare name of a cluster-scoped object.
    public var description: String { namespace.isEmpty ? name : "\(namespace)/\(name)" }

    /// By namespace, then name.
    public static func < (a: Self, b: Self) -> Bool { (a.namespace, a.name) < (b.namespace, b.name) }
}

/// The only key that joins a Service port to EndpointSlice ports: Service, port *name* and protocol.
///
/// Port numbers and `targetPort` take no part in it (`ServicePortName` in kube-proxy's `pkg/proxy/types.go`).
public struct ServicePortName: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The Service.
    public let service: ObjectName
    /// The port's name; empty for the unnamed port of a one-port Service.
    public let port: String
    /// The protocol.
    public let transport: TransportProtocol

    /// Puts the three together.
    public init(service: ObjectName, port: String, transport: TransportProtocol) {
        self.service = service
        self.port = port
        self.transport = transport
    }

    /// `namespace/name:port/TCP`, or `namespace/name/TCP` when the port has no name.
    public var description: String { "\(service)\(port.isEmpty ? "" : ":\(port)")/\(transport)" }

    /// By Service, port name, protocol.
    public static func < (a: Self, b: Self) -> Bool {
        (a.service, a.port, a.transport) < (b.service, b.port, b.transport)
    }
}
