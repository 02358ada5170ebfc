import AgentSettings
import ArgumentParser

extension Option where Value == Override? {
    /// The flag of a setting; name, help and default are the setting's.
    init(_ setting: Setting, _ aliases: NameSpecification.Element...) {
        let initial = setting.initial.map { $0.isEmpty ? "" : " (default: \($0))" } ?? ""
        self.init(
            name: NameSpecification([.customLong(setting.flag)] + aliases),
            // Numbers may be below 0, and look like a flag.
            parsing: setting.shape == .number ? .unconditional : .next,
            help: ArgumentHelp("\(setting.help)\(initial)", valueName: setting.placeholder),
            transform: { text in try Self.refusing { try setting.assigning(text) } })
    }

    /// A flag of kube-proxy's.
    init(_ flag: KubeProxyFlag, _ aliases: NameSpecification.Element...) {
        self.init(
            name: NameSpecification([.customLong(flag.name)] + aliases),
            help: ArgumentHelp(flag.help, valueName: flag.placeholder),
            transform: { text in try Self.refusing { try flag.assigning(text) } })
    }

    /// ArgumentParser puts flag and value in front of what is thrown, if it is its own.
    private static func refusing(_ body: () throws -> Override) throws -> Override {
        do {
            return try body()
        } catch {
            throw ValidationError("\(error)")
        }
    }
}

/// Flags of settings.
protocol SettingFlags: ParsableArguments {}

extension SettingFlags {
    /// What was given on the command line, in the order of declarations.
    var overrides: [Override] {
        Mirror(reflecting: self).children.compactMap { ($0.value as? Option<Override?>)?.wrappedValue }
    }
}

/// The command line as ArgumentParser wants it.
enum Arguments {
    private static let booleans = Set(
        Setting.all.filter { $0.shape == .boolean }.map(\.flag)
            + KubeProxyFlag.all.filter(\.isBoolean).map(\.name))

    /// Gives flags that stand alone for `true` that value, so that `--masquerade-all` and `--masquerade-all=false` are
    /// both understood, as by the Kubernetes programs.
    static func normalized(_ arguments: [String]) -> [String] {
        arguments.map { booleans.contains(String($0.dropFirst(2))) && $0.hasPrefix("--") ? "\($0)=true" : $0 }
    }
}

/// What the node is, and where objects come from.
struct SourceFlags: SettingFlags {
    @Option(.manifests) var manifests: Override?
    @Option(.kubeconfig) var kubeconfig: Override?
    @Option(.context) var context: Override?
    @Option(.server) var server: Override?
    @Option(.contentType) var contentType: Override?
    @Option(.requestsPerSecond) var requestsPerSecond: Override?
    @Option(.burst) var burst: Override?
    @Option(.nodeName, .customLong("hostname-override")) var nodeName: Override?
    @Option(.nodeAddress) var nodeAddress: Override?
}

/// Which devices carry the datapath, and how.
struct DeviceFlags: SettingFlags {
    @Option(.externalDevices) var externalDevices: Override?
    @Option(.workloadDevices) var workloadDevices: Override?
    @Option(.xdp) var xdp: Override?
    @Option(.xdpForward) var xdpForward: Override?
    @Option(.tc) var tc: Override?
    @Option(.localMode) var localMode: Override?
    @Option(.clusterCIDR) var clusterCIDR: Override?
    @Option(.bridgeInterface) var bridgeInterface: Override?
    @Option(.interfaceNamePrefix) var interfaceNamePrefix: Override?
}

/// Which sockets are led to backends when they connect.
struct SocketFlags: SettingFlags {
    @Option(.sockets) var sockets: Override?
    @Option(.cgroup) var cgroup: Override?
    @Option(.protectsNodePorts) var protectsNodePorts: Override?
}

/// What Services do not say by themselves.
struct ServiceFlags: SettingFlags {
    @Option(.serviceProxyName) var serviceProxyName: Override?
    @Option(.masquerade) var masquerade: Override?
    @Option(KubeProxyFlag.masqueradeAll) var masqueradeAll: Override?
    @Option(.forwarding) var forwarding: Override?
    @Option(.nodePortAddresses) var nodePortAddresses: Override?
    @Option(.localhostNodePorts) var localhostNodePorts: Override?
    @Option(.externalIPs) var externalIPs: Override?
    @Option(.serviceCIDRs) var serviceCIDRs: Override?
}

/// How much fits, and how fast it may come.
struct LimitFlags: SettingFlags {
    @Option(.maxFrontends) var maxFrontends: Override?
    @Option(.maxSets) var maxSets: Override?
    @Option(.maxSlots) var maxSlots: Override?
    @Option(.maxBackends) var maxBackends: Override?
    @Option(.maxServices) var maxServices: Override?
    @Option(.maxTCPFlows) var maxTCPFlows: Override?
    @Option(.maxUDPFlows) var maxUDPFlows: Override?
    @Option(.maxAffinity) var maxAffinity: Override?
    @Option(.maxSourceRanges) var maxSourceRanges: Override?
    @Option(.natPorts) var natPorts: Override?
    @Option(.newFlowLimit) var newFlowLimit: Override?
    @Option(.answerLimit) var answerLimit: Override?
}

/// How long flows are kept without a packet, and how often things are done.
struct TimeFlags: SettingFlags {
    @Option(.tcpOpening) var tcpOpening: Override?
    @Option(.tcpEstablished) var tcpEstablished: Override?
    @Option(.tcpClosing) var tcpClosing: Override?
    @Option(.tcpClosed) var tcpClosed: Override?
    @Option(.udpOpening) var udpOpening: Override?
    @Option(.udpEstablished) var udpEstablished: Override?
    @Option(.collectInterval) var collectInterval: Override?
    @Option(.auditInterval) var auditInterval: Override?
    @Option(.syncPeriod) var syncPeriod: Override?
    @Option(.minSyncPeriod) var minSyncPeriod: Override?
}

/// What others see of the agent.
struct AgentFlags: SettingFlags {
    @Option(.healthAddress) var healthAddress: Override?
    @Option(.metricsAddress) var metricsAddress: Override?
    @Option(.maxServiceSeries) var maxServiceSeries: Override?
    @Option(.bindAddressHardFail) var bindAddressHardFail: Override?
    @Option(KubeProxyFlag.verbosity, .customShort("v")) var verbosity: Override?
    // After the verbosity: it goes before it.
    @Option(.logLevel) var logLevel: Override?
    @Option(.kubeProxyPolicy) var kubeProxyPolicy: Override?
    @Option(.pinDirectory) var pinDirectory: Override?
    @Option(.oomScoreAdjust) var oomScoreAdjust: Override?
    @Option(KubeProxyFlag.proxyMode) var proxyMode: Override?
    @Option(KubeProxyFlag.featureGates) var featureGates: Override?
    @Option(KubeProxyFlag.configSyncPeriod) var configSyncPeriod: Override?
}
