public import Agent
public import Dataplane
public import KubernetesAPI
public import Logging
public import NetTypes
public import Netlink

/// Which clients behind external devices count as pods: `detectLocalMode`, with kube-proxy's names.
public enum LocalMode: String, Sendable, Hashable, CaseIterable {
    /// Those inside the cluster CIDR.
    case clusterCIDR = "ClusterCIDR"
    /// Those inside the Node object's `podCIDRs`.
    case nodeCIDR = "NodeCIDR"
    /// Those behind a bridge.
    case bridgeInterface = "BridgeInterface"
    /// Those behind devices whose names begin alike.
    case interfaceNamePrefix = "InterfaceNamePrefix"
}

/// What flags and a configuration file say, before it is known whether it is enough to run.
///
/// Each part can be set by one ``Setting``; ``configuration(environment:hostName:)`` makes of them what the agent runs
/// by.
public struct Settings: Sendable, Hashable {
    /// A directory of manifests to follow.
    public var manifests: String?
    /// How the API server is reached.
    public var cluster = ClusterSettings()
    /// This node's name; `nil` is the host's.
    public var nodeName: String?
    /// Host ends of workloads' veth pairs; `nil` as ``localMode`` says, or what network plugins call them.
    public var workloadDevices: InterfacePattern?
    /// Who counts as a pod; `nil`: those in ``clusterCIDR``, if there is one.
    public var localMode: LocalMode?
    /// Pods' prefixes, one of each family at most.
    public var clusterCIDR: [CIDR] = []
    /// The bridge that pods are behind.
    public var bridgeInterface: String?
    /// What pods' devices begin with.
    public var interfaceNamePrefix: String?
    /// The least severe lines of the log.
    public var logLevel = Logger.Level.info
    /// The kernel's inclination to end the agent when memory runs out, -1000 to 1000; `nil`: -999 with an API server, as
    /// kube-proxy, and what it is without.
    public var oomScoreAdjust: Int?
    /// The rest. Source, node name, workload devices and local detection are put in at the end.
    var agent = AgentConfiguration(
        source: .manifests(""), nodeName: "", externalDevices: .standardExternal, workloadDevices: .standardWorkload)

    /// Nothing said: the defaults.
    public init() {
        agent.datapath.sockets = .host
    }

    /// Where maps and links are pinned.
    public var pins: PinDirectory { agent.pins }

    /// What is written to `/proc/self/oom_score_adj`, if anything.
    public var effectiveOOMScoreAdjust: Int? { oomScoreAdjust ?? (manifests == nil ? -999 : nil) }

    /// What the agent runs by.
    ///
    /// - Parameters:
    ///   - environment: `KUBERNETES_SERVICE_HOST` tells that this is a pod.
    ///   - hostName: the host's name, for a node that has not been given one.
    /// - Throws: what is missing, and what contradicts.
    public func configuration(
        environment: [String: String], hostName: String?
    ) throws(SettingsConflict) -> AgentConfiguration {
        var result = agent
        result.source = try source(environment)
        result.nodeName = try node(hostName)
        (result.localDetection, result.workloadDevices) = try detection()
        return result
    }

    private func source(_ environment: [String: String]) throws(SettingsConflict) -> ObjectSource {
        if let manifests {
            guard cluster.kubeconfig == nil, cluster.server == nil else {
                throw SettingsConflict(
                    "--manifests and --kubeconfig (or --master) are two sources of Services: choose one of them")
            }
            return .manifests(manifests)
        }
        guard cluster.kubeconfig != nil || cluster.server != nil || environment["KUBERNETES_SERVICE_HOST"] != nil else {
            throw SettingsConflict(
                """
                there is no source of Services: name a directory with --manifests, or a cluster with --kubeconfig; in a \
                pod, the environment (KUBERNETES_SERVICE_HOST) tells
                """)
        }
        return .cluster(cluster)
    }

    private func node(_ hostName: String?) throws(SettingsConflict) -> String {
        if let nodeName { return nodeName }
        // As kube-proxy does (`nodeutil.GetHostname`).
        let trimmed = (hostName ?? "").filter { !$0.isWhitespace }
        guard let name = NodeName(trimmed) else {
            throw SettingsConflict(
                "the host's name, \"\(trimmed)\", is none that a node can have: say --node-name (see `kubectl get nodes`)"
            )
        }
        return name.text
    }

    private func detection() throws(SettingsConflict) -> (LocalDetection, InterfacePattern) {
        let devices = workloadDevices ?? .standardWorkload
        switch localMode {
        case nil, .clusterCIDR:
            return (clusterCIDR.isEmpty ? .workloadDevices : .clusterCIDR(clusterCIDR), devices)
        case .nodeCIDR:
            return (.nodeCIDR, devices)
        case .bridgeInterface:
            return (.workloadDevices, try pattern(bridgeInterface, "--pod-bridge-interface", suffix: ""))
        case .interfaceNamePrefix:
            return (.workloadDevices, try pattern(interfaceNamePrefix, "--pod-interface-name-prefix", suffix: "*"))
        }
    }

    private func pattern(
        _ name: String?, _ flag: String, suffix: String
    ) throws(SettingsConflict) -> InterfacePattern {
        let mode = localMode?.rawValue ?? ""
        guard workloadDevices == nil else {
            throw SettingsConflict(
                "--workload-devices and --detect-local-mode \(mode) both say where pods are: choose one of them")
        }
        guard let name else { throw SettingsConflict("--detect-local-mode \(mode) needs \(flag)") }
        do {
            return try InterfacePattern(name + suffix)
        } catch {
            throw SettingsConflict("\(flag): \(error)")
        }
    }
}

/// Settings that are right each by itself, and not together.
public struct SettingsConflict: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is missing or contradicts, and what to do.
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// The name of a node: a DNS-1123 subdomain.
struct NodeName {
    let text: String

    /// As the kubelet does with the host's name, capitals become small letters.
    init?(_ name: String) {
        text = name.lowercased()
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard text.utf8.count <= 253, parts.allSatisfy(Self.isLabel) else { return nil }
    }

    private static func isLabel(_ part: Substring) -> Bool {
        let hyphen = UInt8(ascii: "-")
        let isName = part.utf8.allSatisfy {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || $0 == hyphen
        }
        return isName && !part.isEmpty && part.utf8.first != hyphen && part.utf8.last != hyphen
    }
}

extension InterfacePattern {
    /// What container hosts and clouds call devices that lead out.
    static var standardExternal: InterfacePattern { literal("eth*,en*,bond*,!eni*") }

    /// What network plugins call the host's ends of pods' devices.
    static var standardWorkload: InterfacePattern { literal("veth*,cali*,lxc*,eni*,azv*,gke*") }

    private static func literal(_ text: StaticString) -> InterfacePattern {
        guard let pattern = try? InterfacePattern("\(text)") else { preconditionFailure("\(text) is a pattern") }
        return pattern
    }
}
