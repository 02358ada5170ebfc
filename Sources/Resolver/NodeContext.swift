public import NetTypes
public import ServiceModel

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

    /// The node of a Node object, or what can be said of it before the object is seen.
    ///
    /// NodePorts are served on its primary addresses, as kube-proxy's nftables mode does by default: of each family the
    /// first internal address, or else the first external one.
    public init(nodeName: String, node: Node?) {
        let internalAddresses = (node?.internalIPs ?? []).compactMap { IPAddress($0) }
        let all = internalAddresses + (node?.externalIPs ?? []).compactMap { IPAddress($0) }
        let primary = IPFamily.allCases.compactMap { family in all.first { $0.family == family } }
        self.init(nodeName: nodeName, zone: node?.zone, nodePortAddresses: primary, nodeAddresses: all)
    }
}
