/// A sign of kube-proxy on the node.
public struct KubeProxyFinding: Sendable, Hashable, CustomStringConvertible {
    /// What it is.
    public enum Sign: Sendable, Hashable {
        /// A process; its id.
        case process(Int32)
        /// Something that answers as kube-proxy does on a port of the loopback address.
        case port(UInt16)
        /// The table of the nftables mode.
        case nftTable
        /// The chain of the iptables mode, made by iptables-nft or by legacy iptables.
        case iptablesChain(isLegacy: Bool)
        /// The device of the IPVS mode.
        case ipvsDevice
    }

    /// What was found.
    public var sign: Sign
    /// Where, if it is of an address family: `ip` or `ip6`, as nft has it.
    public var family: String?

    /// A finding.
    public init(_ sign: Sign, family: String? = nil) {
        self.sign = sign
        self.family = family
    }

    /// Whether kube-proxy runs; the rest may be what one left behind.
    public var isRunning: Bool {
        switch sign {
        case .process, .port: true
        case .nftTable, .iptablesChain, .ipvsDevice: false
        }
    }

    /// What was found, and what to do about it.
    public var description: String { "\(what): \(advice)" }

    private var what: String {
        switch sign {
        case .process(let id): "process \(id) is kube-proxy"
        case .port(let port): "kube-proxy answers on 127.0.0.1:\(port)"
        case .nftTable: "nftables table \(family ?? "") kube-proxy"
        case .iptablesChain(let isLegacy):
            "\(command) chain KUBE-SERVICES (\(isLegacy ? "legacy" : "nft"))"
        case .ipvsDevice: "device kube-ipvs0"
        }
    }

    private var command: String { family == "ip6" ? "ip6tables" : "iptables" }

    private var advice: String {
        switch sign {
        case .process, .port:
            """
            both serve the same Services; remove its DaemonSet (kubectl -n kube-system delete daemonset kube-proxy), or \
            share the Services out with --service-proxy-name
            """
        case .nftTable:
            "if kube-proxy is gone for good, remove it: nft delete table \(family ?? "ip") kube-proxy"
        case .iptablesChain(let isLegacy):
            """
            if kube-proxy is gone for good, remove its rules: kube-proxy --cleanup, or \
            \(command)\(isLegacy ? "-legacy" : "")-save | grep -v KUBE- | \(command)\(isLegacy ? "-legacy" : "")-restore
            """
        case .ipvsDevice:
            "if kube-proxy is gone for good, remove it and its servers: ipvsadm -C; ip link delete kube-ipvs0"
        }
    }
}
