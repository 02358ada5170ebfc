/// What a proxy needs to know of a v1 Node. Values are kept as the object holds them.
public struct Node: Sendable, Hashable {
    /// The node's name.
    public var name: String
    /// `status.addresses` of type `InternalIP`, in order.
    public var internalIPs: [String]
    /// `status.addresses` of type `ExternalIP`, in order.
    public var externalIPs: [String]
    /// Label `topology.kubernetes.io/zone`.
    public var zone: String?
    /// `spec.podCIDRs`.
    public var podCIDRs: [String]
    /// `spec.taints[].key`.
    public var taints: [String]
    /// Whether `metadata.deletionTimestamp` is set.
    public var isBeingDeleted: Bool

    /// A node.
    public init(
        name: String, internalIPs: [String] = [], externalIPs: [String] = [], zone: String? = nil,
        podCIDRs: [String] = [], taints: [String] = [], isBeingDeleted: Bool = false
    ) {
        self.name = name
        self.internalIPs = internalIPs
        self.externalIPs = externalIPs
        self.zone = zone
        self.podCIDRs = podCIDRs
        self.taints = taints
        self.isBeingDeleted = isBeingDeleted
    }
}
