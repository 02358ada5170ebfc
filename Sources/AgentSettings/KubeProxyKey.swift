/// The keys of `KubeProxyConfiguration` (`kubeproxy.config.k8s.io/v1alpha1`,
/// `staging/src/k8s.io/kube-proxy/config/v1alpha1/types.go` and `component-base`'s, Kubernetes 1.36).
enum KubeProxyKey {
    enum Shape {
        case text
        case boolean
        case integer
        case number
        case duration
        case texts
        /// Names with booleans.
        case gates
        /// Whatever is there.
        case any
    }

    /// Why a key cannot apply; one warning each.
    enum Reason: String, CaseIterable {
        case conntrack = "flows are kept in tables of their own, not by conntrack (see limits and timeouts)"
        case marks = "Needletail marks no packets"
        case ipvs = "there is no IPVS: backends are chosen by Maglev tables"
        case windows = "it is for Windows"
        case profiling = "there are no Go profiles and no hidden metrics"
        case resync = "the cluster is watched, and what is known is not told again"
        case wire = "what is accepted goes with contentType"
        case logging = "logs are text on standard error, and only a verbosity can be said"
        case portRange = "no ports are opened for Services"
    }

    /// All keys with what they hold.
    static let shapes: [String: Shape] = [
        "clientConnection.kubeconfig": .text, "clientConnection.acceptContentTypes": .text,
        "clientConnection.contentType": .text, "clientConnection.qps": .number, "clientConnection.burst": .integer,
        "hostnameOverride": .text, "bindAddress": .text, "healthzBindAddress": .text, "metricsBindAddress": .text,
        "bindAddressHardFail": .boolean, "enableProfiling": .boolean, "showHiddenMetricsForVersion": .text,
        "mode": .text,
        "iptables.masqueradeBit": .integer, "iptables.masqueradeAll": .boolean,
        "iptables.localhostNodePorts": .boolean, "iptables.syncPeriod": .duration, "iptables.minSyncPeriod": .duration,
        "nftables.masqueradeBit": .integer, "nftables.masqueradeAll": .boolean, "nftables.syncPeriod": .duration,
        "nftables.minSyncPeriod": .duration,
        "ipvs.syncPeriod": .duration, "ipvs.minSyncPeriod": .duration, "ipvs.scheduler": .text,
        "ipvs.excludeCIDRs": .texts, "ipvs.strictARP": .boolean, "ipvs.tcpTimeout": .duration,
        "ipvs.tcpFinTimeout": .duration, "ipvs.udpTimeout": .duration,
        "winkernel.networkName": .text, "winkernel.sourceVip": .text, "winkernel.enableDSR": .boolean,
        "winkernel.rootHnsEndpointName": .text, "winkernel.forwardHealthCheckVip": .boolean,
        "detectLocalMode": .text, "detectLocal.bridgeInterface": .text, "detectLocal.interfaceNamePrefix": .text,
        "clusterCIDR": .text, "nodePortAddresses": .texts, "oomScoreAdj": .integer,
        "conntrack.maxPerCore": .integer, "conntrack.min": .integer, "conntrack.tcpEstablishedTimeout": .duration,
        "conntrack.tcpCloseWaitTimeout": .duration, "conntrack.tcpBeLiberal": .boolean,
        "conntrack.udpTimeout": .duration, "conntrack.udpStreamTimeout": .duration,
        "configSyncPeriod": .duration, "portRange": .text, "windowsRunAsService": .boolean, "featureGates": .gates,
        "logging.format": .text, "logging.flushFrequency": .any, "logging.verbosity": .integer,
        "logging.vmodule": .any, "logging.options": .any,
    ]

    /// Keys that cannot apply. Values that are kube-proxy's defaults ask for nothing, and are passed over.
    /// `logging.options` only says how a format's lines are buffered.
    static let inapplicable: [String: (reason: Reason, initial: [String])] = [
        "clientConnection.acceptContentTypes": (.wire, []),
        "enableProfiling": (.profiling, []), "showHiddenMetricsForVersion": (.profiling, []),
        "iptables.masqueradeBit": (.marks, ["14"]), "nftables.masqueradeBit": (.marks, ["14"]),
        "ipvs.scheduler": (.ipvs, []), "ipvs.excludeCIDRs": (.ipvs, []), "ipvs.strictARP": (.ipvs, []),
        "ipvs.tcpTimeout": (.ipvs, []), "ipvs.tcpFinTimeout": (.ipvs, []), "ipvs.udpTimeout": (.ipvs, []),
        "winkernel.networkName": (.windows, []), "winkernel.sourceVip": (.windows, []),
        "winkernel.enableDSR": (.windows, []), "winkernel.rootHnsEndpointName": (.windows, []),
        "winkernel.forwardHealthCheckVip": (.windows, []), "windowsRunAsService": (.windows, []),
        "conntrack.maxPerCore": (.conntrack, ["32768"]), "conntrack.min": (.conntrack, ["131072"]),
        "conntrack.tcpBeLiberal": (.conntrack, []),
        "configSyncPeriod": (.resync, ["15m", "15m0s"]), "portRange": (.portRange, []),
        "logging.format": (.logging, ["text"]), "logging.flushFrequency": (.logging, ["5s", "5000000000"]),
        "logging.vmodule": (.logging, []),
    ]
}
