public import Dataplane
public import KubernetesAPI
public import NetTypes
public import Netlink
public import Resolver
internal import ServiceModel

/// Where Services and their endpoints come from.
public enum ObjectSource: Sendable, Hashable {
    /// A directory of manifests, which is followed.
    case manifests(String)
    /// The API server of a cluster.
    case cluster(ClusterSettings)
}

/// On which of the node's addresses NodePorts are served.
public enum NodePortAddresses: Sendable, Hashable {
    /// On the node's primary address of each family: the first `InternalIP` of its Node object, else the first
    /// `ExternalIP`; without a Node object that of the first external device. As kube-proxy's nftables mode by default.
    case primary
    /// On all addresses of external devices.
    case externalDevices
    /// On all addresses in these prefixes. As for kube-proxy, a family without a prefix is served on all addresses.
    case prefixes([CIDR])
}

/// Which clients behind external devices count as pods, beside those behind workload devices (`detectLocalMode`).
public enum LocalDetection: Sendable, Hashable {
    /// None.
    case workloadDevices
    /// Those with addresses in these prefixes, one of each family at most: all pods of the cluster.
    case clusterCIDR([CIDR])
    /// Those with addresses in the `podCIDRs` of the Node object.
    case nodeCIDR
}

extension LocalDetection {
    /// By family, the prefix whose addresses count as pods behind external devices too; as for kube-proxy, the first of
    /// each family. By `podCIDRs` none until the Node object has some; they are followed, where kube-proxy ends when they
    /// change (service semantics 3.4).
    func prefixes(_ node: Node?) -> [IPFamily: CIDR] {
        let prefixes =
            switch self {
            case .workloadDevices: [CIDR]()
            case .clusterCIDR(let prefixes): prefixes
            case .nodeCIDR: (node?.podCIDRs ?? []).compactMap { CIDR($0) }
            }
        return Dictionary(prefixes.map { ($0.family, $0) }) { first, _ in first }
    }
}

/// What the agent does when it finds kube-proxy, or its rules, on the node.
public enum KubeProxyPolicy: String, Sendable, Hashable, CaseIterable {
    /// Says so, and goes on.
    case warn
    /// Says so, and does not start.
    case refuse
    /// Does not look.
    case ignore
}

/// Everything the agent is told from outside.
public struct AgentConfiguration: Sendable, Hashable {
    /// Where Services and their endpoints come from.
    public var source: ObjectSource
    /// This node's name, as endpoints carry it in `nodeName`. Lower case, as Kubernetes has it.
    public var nodeName: String
    /// Devices that lead out of the node.
    public var externalDevices: InterfacePattern
    /// Host ends of workloads' veth pairs.
    public var workloadDevices: InterfacePattern
    /// Where NodePorts are served.
    public var nodePortAddresses = NodePortAddresses.primary
    /// Who counts as a pod.
    public var localDetection = LocalDetection.workloadDevices
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

    /// This node's address in place of the Node object's and the devices' (`bindAddress` of kube-proxy): the primary one
    /// of its family for NodePorts and source ranges.
    public var nodeAddress: IPAddress?
    /// Where health is told: `:10256`, `192.0.2.1:10256`, `[::]:10256`. No address means all of both families, an empty
    /// text none.
    public var healthBindAddress = ":10256"
    /// Where metrics are told, likewise.
    public var metricsBindAddress = "127.0.0.1:10249"
    /// Whether the agent ends when it cannot listen for health or metrics, instead of trying again.
    public var bindAddressHardFail = false
    /// A family is unhealthy when a change has waited for twice this time.
    public var syncPeriod = Duration.seconds(30)
    /// The least time from the end of one sync to the beginning of the next.
    public var minSyncPeriod = Duration.zero
    /// Between two audits of the maps.
    public var auditInterval = Duration.seconds(300)
    /// Service ports that have metrics of their own; the others share one series.
    public var maxServiceSeries = 1000
    /// What to do beside a kube-proxy.
    public var kubeProxyPolicy = KubeProxyPolicy.warn

    /// The agent's version, as `--version` and `needletail status` show it.
    public static let version = NeedletailVersion.current

    /// A configuration with the required parts; the rest has defaults.
    public init(
        source: ObjectSource, nodeName: String, externalDevices: InterfacePattern, workloadDevices: InterfacePattern
    ) {
        self.source = source
        self.nodeName = nodeName.lowercased()
        self.externalDevices = externalDevices
        self.workloadDevices = workloadDevices
    }
}
