import AgentSettings
import TestSupport
import Testing

/// Files that were written for kube-proxy.
@Suite struct KubeProxyFormatTests {
    private func read(_ text: String) throws -> LoadedSettings {
        let head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
        return try SettingsFile.parse(Array((head + text).utf8), file: "config.conf")
    }

    private func text(_ key: String, _ settings: Settings) throws -> String? {
        try #require(Setting.all.first { $0.key == key }).text(in: settings)
    }

    /// The shape of what kubeadm writes: every key, most of them with nothing in it.
    static let kubeadm = """
        bindAddress: 0.0.0.0
        bindAddressHardFail: false
        clientConnection:
          acceptContentTypes: ""
          burst: 0
          contentType: ""
          kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
          qps: 0
        clusterCIDR: 198.18.0.0/16
        configSyncPeriod: 0s
        conntrack:
          maxPerCore: null
          min: null
          tcpBeLiberal: false
          tcpCloseWaitTimeout: null
          tcpEstablishedTimeout: null
          udpStreamTimeout: 0s
          udpTimeout: 0s
        detectLocal:
          bridgeInterface: ""
          interfaceNamePrefix: ""
        detectLocalMode: ""
        enableProfiling: false
        featureGates: null
        healthzBindAddress: ""
        hostnameOverride: ""
        iptables:
          localhostNodePorts: null
          masqueradeAll: false
          masqueradeBit: null
          minSyncPeriod: 0s
          syncPeriod: 0s
        ipvs:
          excludeCIDRs: null
          minSyncPeriod: 0s
          scheduler: ""
          strictARP: false
          syncPeriod: 0s
          tcpFinTimeout: 0s
          tcpTimeout: 0s
          udpTimeout: 0s
        logging:
          flushFrequency: 0
          options:
            json:
              infoBufferSize: "0"
            text:
              infoBufferSize: "0"
          verbosity: 0
        metricsBindAddress: ""
        mode: ""
        nftables:
          masqueradeAll: false
          masqueradeBit: null
          minSyncPeriod: 0s
          syncPeriod: 0s
        nodePortAddresses: null
        oomScoreAdj: null
        portRange: ""
        showHiddenMetricsForVersion: ""
        winkernel:
          enableDSR: false
          forwardHealthCheckVip: false
          networkName: ""
          rootHnsEndpointName: ""
          sourceVip: ""
        windowsRunAsService: false
        """

    @Test("A file with every key and nothing in them asks for nothing but its kubeconfig and pods' prefix")
    func everyKey() throws {
        let loaded = try read(Self.kubeadm)
        #expect(loaded.warnings == [])
        var expected = LoadedSettings()
        try Setting.kubeconfig.assigning("/var/lib/kube-proxy/kubeconfig.conf").apply(to: &expected)
        try Setting.clusterCIDR.assigning("198.18.0.0/16").apply(to: &expected)
        #expect(loaded.settings == expected.settings)
    }

    @Test(
        "Keys that apply",
        arguments: [
            ("clientConnection: {kubeconfig: /k}", "cluster.kubeconfig", "/k"),
            (
                "clientConnection: {contentType: application/vnd.kubernetes.protobuf}", "cluster.contentType",
                "protobuf"
            ),
            ("clientConnection: {contentType: application/json}", "cluster.contentType", "json"),
            ("clientConnection: {qps: 50}", "cluster.requestsPerSecond", "50"),
            ("clientConnection: {qps: 0.5}", "cluster.requestsPerSecond", "0.5"),
            ("clientConnection: {qps: 0}", "cluster.requestsPerSecond", "5"),
            ("clientConnection: {qps: -1}", "cluster.requestsPerSecond", "100000"),
            ("clientConnection: {burst: 100}", "cluster.burst", "100"),
            ("hostnameOverride: ' Node-1 '", "nodeName", "node-1"),
            ("bindAddress: 192.0.2.7", "nodeAddress", "192.0.2.7"),
            ("bindAddress: 2001:db8::7", "metrics.bindAddress", "[::1]:10249"),
            ("healthzBindAddress: 127.0.0.1:1", "health.bindAddress", "127.0.0.1:1"),
            ("healthzBindAddress: 0.0.0.0", "health.bindAddress", "0.0.0.0:10256"),
            ("healthzBindAddress: '::'", "health.bindAddress", "[::]:10256"),
            ("healthzBindAddress: ''", "health.bindAddress", ":10256"),
            ("metricsBindAddress: 0.0.0.0:10249", "metrics.bindAddress", "0.0.0.0:10249"),
            ("metricsBindAddress: 192.0.2.1", "metrics.bindAddress", "192.0.2.1:10249"),
            ("bindAddressHardFail: true", "bindAddressHardFail", "true"),
            ("clusterCIDR: '198.18.0.0/16,2001:db8::/64'", "localDetection.clusterCIDR", "198.18.0.0/16,2001:db8::/64"),
            ("detectLocalMode: NodeCIDR", "localDetection.mode", "NodeCIDR"),
            ("detectLocal: {bridgeInterface: cbr0}", "localDetection.bridgeInterface", "cbr0"),
            ("detectLocal: {interfaceNamePrefix: cali}", "localDetection.interfaceNamePrefix", "cali"),
            ("nodePortAddresses: [primary]", "services.nodePortAddresses", "primary"),
            ("nodePortAddresses: []", "services.nodePortAddresses", "primary"),
            (
                "nodePortAddresses: [192.0.2.0/24, 010.1.2.0/24]", "services.nodePortAddresses",
                "192.0.2.0/24,10.1.2.0/24"
            ),
            ("iptables: {masqueradeAll: true}", "services.masquerade", "all"),
            ("mode: nftables\nnftables: {masqueradeAll: true}", "services.masquerade", "all"),
            // As for kube-proxy, another mode's part is not looked at.
            ("mode: nftables\niptables: {masqueradeAll: true}", "services.masquerade", "minimal"),
            ("mode: ipvs\niptables: {masqueradeAll: true}", "services.masquerade", "all"),
            ("iptables: {localhostNodePorts: true}", "services.localhostNodePorts", "true"),
            ("iptables: {localhostNodePorts: false}", "services.localhostNodePorts", "false"),
            ("mode: nftables\niptables: {localhostNodePorts: true}", "services.localhostNodePorts", "false"),
            ("iptables: {syncPeriod: 1m0s}", "intervals.sync", "1m"),
            ("iptables: {minSyncPeriod: 10s}", "intervals.minSync", "10s"),
            ("mode: nftables\nnftables: {syncPeriod: 45s}\niptables: {syncPeriod: 1m}", "intervals.sync", "45s"),
            ("mode: ipvs\nipvs: {minSyncPeriod: 2s}", "intervals.minSync", "2s"),
            ("conntrack: {tcpEstablishedTimeout: 24h0m0s}", "timeouts.tcpEstablished", "86400"),
            ("conntrack: {tcpCloseWaitTimeout: 30m}", "timeouts.tcpClosing", "1800"),
            ("conntrack: {udpTimeout: 10s}", "timeouts.udpOpening", "10"),
            ("conntrack: {udpStreamTimeout: 90s}", "timeouts.udpEstablished", "90"),
            ("conntrack: {udpTimeout: 0s}", "timeouts.udpOpening", "30"),
            ("featureGates: {AllowServiceExternalIPs: false}", "services.externalIPs", "false"),
            ("logging: {verbosity: 4}", "logLevel", "debug"), ("logging: {verbosity: 2}", "logLevel", "info"),
            ("oomScoreAdj: -998", "oomScoreAdjust", "-998"),
        ])
    func mapped(body: String, key: String, expected: String) throws {
        #expect(try text(key, try read(body).settings) == expected)
    }

    @Test(
        "Keys that cannot apply are named with the reason, one line for each reason",
        arguments: [
            ("mode: iptables", ["mode iptables"]), ("mode: needletail", []),
            ("iptables: {masqueradeBit: 15}", ["iptables.masqueradeBit: Needletail marks no packets"]),
            ("iptables: {masqueradeBit: 14}", []),
            (
                "mode: ipvs\nipvs: {scheduler: lc, strictARP: true, tcpTimeout: 1h}",
                ["mode ipvs", "ipvs.scheduler, ipvs.strictARP, ipvs.tcpTimeout: there is no IPVS"]
            ),
            (
                "conntrack: {maxPerCore: 1000, min: 5, tcpBeLiberal: true}",
                ["conntrack.maxPerCore, conntrack.min, conntrack.tcpBeLiberal: flows are kept in tables of their own"]
            ),
            ("conntrack: {maxPerCore: 32768, min: 131072, tcpBeLiberal: false}", []),
            ("winkernel: {enableDSR: true}", ["winkernel.enableDSR: it is for Windows"]),
            ("enableProfiling: true", ["enableProfiling: there are no Go profiles"]),
            ("configSyncPeriod: 15m0s", []), ("configSyncPeriod: 5m", ["configSyncPeriod: the cluster is watched"]),
            ("portRange: 30000-32767", ["portRange: no ports are opened"]),
            ("clientConnection: {acceptContentTypes: application/json}", ["clientConnection.acceptContentTypes: what"]),
            ("logging: {format: json, vmodule: [{filePattern: a, verbosity: 1}]}", ["logging.format, logging.vmodule"]),
            ("logging: {format: text, flushFrequency: 5s}", []),
            ("featureGates: {NFTablesProxyMode: true}", ["feature gate NFTablesProxyMode"]),
        ])
    func withoutEffect(body: String, warnings: [String]) throws {
        let said = try read(body).warnings
        #expect(said.count == warnings.count, "\(said)")
        for warning in warnings { #expect(said.contains { $0.contains(warning) }, "\(said)") }
    }

    @Test("Keys that nobody knows are named with their lines, and the rest holds")
    func unknown() throws {
        let loaded = try read(
            "iptables: {masqueradeAl: true}\nclusterCDIR: x\nwholly: {different: [1]}\nmode: nftables\n")
        #expect(
            loaded.warnings.first
                == "not known, and without effect: clusterCDIR (line 4), iptables.masqueradeAl (line 3), wholly (line 5)"
        )
        #expect(loaded.warnings.count == 2)
    }

    @Test(
        "Wrong types and values are errors that name the key",
        arguments: [
            ("clientConnection: {qps: fast}", "clientConnection.qps: expected a number, found the string \"fast\""),
            ("clientConnection: {burst: 1.5}", "clientConnection.burst: 1.5: expected a decimal integer"),
            ("clientConnection: {contentType: yaml}", "clientConnection.contentType: \"yaml\": must be"),
            ("clientConnection: /k", "clientConnection: expected an object"),
            ("bindAddress: here", "bindAddress: \"here\" is no IP address"),
            ("bindAddressHardFail: 1", "bindAddressHardFail: expected true or false"),
            ("healthzBindAddress: here", "healthzBindAddress: \"here\": write an address and port"),
            ("hostnameOverride: a_b", "hostnameOverride: names of nodes"),
            ("hostnameOverride: 17", "hostnameOverride: expected a string, found the number 17"),
            ("mode: userspace", "mode: \"userspace\": there is one mode"),
            ("detectLocalMode: clusterCIDR", "detectLocalMode: \"clusterCIDR\": must be ClusterCIDR, NodeCIDR"),
            ("clusterCIDR: 198.18.0.0", "clusterCIDR: \"198.18.0.0\" is no prefix"),
            ("nodePortAddresses: [primary, 192.0.2.0/24]", "nodePortAddresses: primary stands alone"),
            ("nodePortAddresses: {}", "nodePortAddresses: expected a list"),
            ("iptables: {syncPeriod: 30}", "iptables.syncPeriod: expected a string, found the number 30"),
            ("iptables: {syncPeriod: 30 s}", "iptables.syncPeriod: \"30 s\": must be a duration such as 30s"),
            // Also where it would not apply.
            ("ipvs: {tcpTimeout: long}", "ipvs.tcpTimeout: \"long\": must be a duration"),
            ("winkernel: {enableDSR: maybe}", "winkernel.enableDSR: expected true or false"),
            ("iptables: {masqueradeBit: x}", "iptables.masqueradeBit: expected an integer"),
            ("conntrack: {tcpEstablishedTimeout: 1ms}", "conntrack.tcpEstablishedTimeout: write a number of seconds"),
            ("featureGates: {A: 'yes please'}", "featureGates.A: expected true or false"),
            ("featureGates: [A]", "featureGates: expected an object"),
            ("oomScoreAdj: 5000", "oomScoreAdj: write a number from -1000 to 1000"),
            ("logging: {verbosity: loud}", "logging.verbosity: expected an integer"),
        ])
    func refused(body: String, message: String) throws {
        let problem = #expect(throws: SettingsProblem.self) { _ = try read(body) }
        let lines = try #require(problem).lines
        #expect(lines.count == 1, "\(lines)")
        #expect(lines.first?.hasPrefix("config.conf:3:") == true)
        #expect(lines.first?.contains(message) == true, "\(lines)")
    }
}
