public import Dataplane
public import NetTypes
public import Netlink
public import Resolver

/// Everything the agent is told from outside.
public struct AgentConfiguration: Sendable {
    /// The directory of manifests it follows.
    public var manifests: String
    /// This node's name, as endpoints carry it in `nodeName`. Lower case, as Kubernetes has it.
    public var nodeName: String
    /// Devices that lead out of the node.
    public var externalDevices: InterfacePattern
    /// Host ends of workloads' veth pairs.
    public var workloadDevices: InterfacePattern
    /// NodePorts are served on the node's addresses in these prefixes; empty: on the addresses of external devices.
    public var nodePortPrefixes: [CIDR] = []
    /// What Services do not say by themselves.
    public var resolver = Resolver.Options()
    /// Prefixes that ClusterIPs are taken from: addresses in them that no Service has are refused.
    public var serviceCIDRs: [CIDR] = []
    /// Where maps and links are pinned.
    public var pins = PinDirectory()
    /// Sizes and timeouts.
    public var datapath = DatapathSettings()
    /// How programs are attached.
    public var attachment = AttachmentOptions()
    /// The cgroup whose sockets are led to backends, as ``datapath`` says; `nil`: the root of the cgroup v2 hierarchy.
    public var cgroup: String?
    /// Seconds between two looks through the flow table for what has expired.
    public var collectInterval: Int = 5

    /// The agent's version, as `--version` and `needletail status` show it.
    public static let version = NeedletailVersion.current

    /// A configuration with the required parts; the rest has defaults.
    public init(
        manifests: String, nodeName: String, externalDevices: InterfacePattern, workloadDevices: InterfacePattern
    ) {
        self.manifests = manifests
        self.nodeName = nodeName.lowercased()
        self.externalDevices = externalDevices
        self.workloadDevices = workloadDevices
    }
}
