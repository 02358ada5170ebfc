/// What a proxy needs to know of a networking.k8s.io/v1 ServiceCIDR: where ClusterIPs are taken from. Values are kept
/// as the object holds them.
public struct ServiceCIDR: Sendable, Hashable {
    /// The object's name.
    public var name: String
    /// `spec.cidrs`: at most one prefix of each family.
    public var cidrs: [String]

    /// A ServiceCIDR.
    public init(name: String, cidrs: [String]) {
        self.name = name
        self.cidrs = cidrs
    }
}
