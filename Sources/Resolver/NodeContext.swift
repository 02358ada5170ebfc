public import NetTypes

/// What the resolver must know of the node it works for.
public struct NodeContext: Sendable, Hashable {
    /// The node's name as in `endpoints[].nodeName`; empty means that no endpoint is local.
    public var nodeName: String
    /// Label `topology.kubernetes.io/zone` of the node.
    public var zone: String?
    /// The addresses NodePorts are served on, both families. Loopback addresses among them are left out.
    public var nodePortAddresses: [IPAddress]
    /// All of the node's own addresses as its Node object has them: a source range that contains one of them lets
    /// load balancer IPs in as sources too.
    public var nodeAddresses: [IPAddress]

    /// A node.
    public init(
        nodeName: String, zone: String? = nil, nodePortAddresses: [IPAddress] = [], nodeAddresses: [IPAddress] = []
    ) {
        self.nodeName = nodeName
        self.zone = zone
        self.nodePortAddresses = nodePortAddresses
        self.nodeAddresses = nodeAddresses
    }
}
