import Agent
import AgentSettings
import KubernetesAPI
import NetTypes
import Netlink
import TestSupport
import Testing

/// What file and flags make together.
@Suite struct SettingsTests {
    private func settings(_ given: [(Setting, String)]) throws -> Settings {
        var loaded = LoadedSettings()
        for (setting, text) in given { try setting.assigning(text).apply(to: &loaded) }
        return loaded.settings
    }

    private func configuration(
        _ given: (Setting, String)..., environment: [String: String] = [:], hostName: String? = "node-1"
    ) throws -> AgentConfiguration {
        try settings(given).configuration(environment: environment, hostName: hostName)
    }

    @Test("The source is the directory, the kubeconfig, or the pod's service account")
    func sources() throws {
        #expect(try configuration((.manifests, "m")).source == .manifests("m"))
        #expect(
            try configuration((.kubeconfig, "k"), (.context, "c")).source
                == .cluster(ClusterSettings(kubeconfig: "k", context: "c")))
        let pod = ["KUBERNETES_SERVICE_HOST": "192.0.2.1"]
        #expect(try configuration(environment: pod).source == .cluster(ClusterSettings()))
        #expect(
            try configuration((.server, "https://192.0.2.1:6443"), environment: pod).source
                == .cluster(ClusterSettings(server: "https://192.0.2.1:6443")))
        // Also in a pod, manifests are what was asked for.
        #expect(try configuration((.manifests, "m"), environment: pod).source == .manifests("m"))
    }

    @Test("Without a source, or with two, it says what to do")
    func sourceConflicts() throws {
        let missing = #expect(throws: SettingsConflict.self) { _ = try configuration() }
        for word in ["--manifests", "--kubeconfig", "KUBERNETES_SERVICE_HOST"] {
            #expect(missing?.description.contains(word) == true)
        }
        let two = #expect(throws: SettingsConflict.self) {
            _ = try configuration((.manifests, "m"), (.kubeconfig, "k"))
        }
        #expect(two?.description.contains("choose one") == true)
    }

    @Test(
        "The node's name is the host's, trimmed and in small letters",
        arguments: [("Node-1", "node-1"), (" node.example\n", "node.example")])
    func nodeNames(hostName: String, expected: String) throws {
        #expect(try configuration((.manifests, "m"), hostName: hostName).nodeName == expected)
        #expect(try configuration((.manifests, "m"), (.nodeName, "Other"), hostName: hostName).nodeName == "other")
    }

    @Test("A host whose name no node can have needs --node-name", arguments: ["", "a_b", "-x", nil])
    func hostNames(hostName: String?) {
        let conflict = #expect(throws: SettingsConflict.self) {
            _ = try configuration((.manifests, "m"), hostName: hostName)
        }
        #expect(conflict?.description.contains("--node-name") == true)
    }

    @Test("Local detection is by devices, by prefixes, or by names of devices")
    func localDetection() throws {
        let cidrs = [try #require(CIDR("198.18.0.0/16")), try #require(CIDR("2001:db8::/64"))]
        let standard = try configuration((.manifests, "m"))
        #expect(standard.localDetection == .workloadDevices)
        let cluster = try configuration((.manifests, "m"), (.clusterCIDR, "198.18.0.0/16,2001:db8::/64"))
        #expect(cluster.localDetection == .clusterCIDR(cidrs))
        #expect(
            try configuration(
                (.manifests, "m"), (.localMode, "NodeCIDR"), (.clusterCIDR, "198.18.0.0/16")
            ).localDetection == .nodeCIDR)
        // As for kube-proxy, a mode without its prefixes detects nothing; devices still tell.
        #expect(
            try configuration((.manifests, "m"), (.localMode, "ClusterCIDR")).localDetection == .workloadDevices)
        let bridge = try configuration((.manifests, "m"), (.localMode, "BridgeInterface"), (.bridgeInterface, "cbr0"))
        #expect(bridge.workloadDevices.matches("cbr0") && !bridge.workloadDevices.matches("cbr01"))
        let prefix = try configuration(
            (.manifests, "m"), (.localMode, "InterfaceNamePrefix"), (.interfaceNamePrefix, "pod"))
        #expect(prefix.workloadDevices.matches("pod7") && !prefix.workloadDevices.matches("veth7"))
        #expect(prefix.localDetection == .workloadDevices)
    }

    @Test(
        "A mode without its name, or beside --workload-devices, is refused",
        arguments: [
            ([("BridgeInterface", Setting.localMode)], "--pod-bridge-interface"),
            ([("InterfaceNamePrefix", Setting.localMode)], "--pod-interface-name-prefix"),
            (
                [("BridgeInterface", .localMode), ("cbr0", .bridgeInterface), ("x*", .workloadDevices)],
                "--workload-devices"
            ),
            ([("BridgeInterface", .localMode), ("a/b", .bridgeInterface)], "hold no blanks, slashes"),
        ])
    func localConflicts(given: [(String, Setting)], reason: String) throws {
        let settings = try settings([(.manifests, "m")] + given.map { ($1, $0) })
        let conflict = #expect(throws: SettingsConflict.self) {
            _ = try settings.configuration(environment: [:], hostName: "node")
        }
        #expect(conflict?.description.contains(reason) == true)
    }

    @Test("The OOM score is kube-proxy's with a cluster, the kernel's without, and what is said in any case")
    func oomScore() throws {
        #expect(try settings([(.kubeconfig, "k")]).effectiveOOMScoreAdjust == -999)
        #expect(try settings([(.manifests, "m")]).effectiveOOMScoreAdjust == nil)
        #expect(try settings([(.manifests, "m"), (.oomScoreAdjust, "100")]).effectiveOOMScoreAdjust == 100)
    }

    @Test("No two settings share a key or a flag, and each says what it is")
    func table() {
        #expect(Set(Setting.all.map(\.key)).count == Setting.all.count)
        let flags = Setting.all.map(\.flag) + KubeProxyFlag.all.map(\.name)
        #expect(Set(flags).count == flags.count)
        for setting in Setting.all {
            #expect(setting.key.split(separator: ".").count <= 2)
            #expect(setting.help.hasSuffix("."))
        }
    }

    @Test("Defaults are texts that can be given")
    func defaults() throws {
        for setting in Setting.all {
            guard let text = setting.initial else { continue }
            var loaded = LoadedSettings()
            try setting.assigning(text).apply(to: &loaded)
            #expect(loaded.settings == Settings(), "\(setting.key)")
        }
    }

    @Test(
        "Flags of kube-proxy's",
        arguments: [
            ("v", "0", "logLevel", "info"), ("v", "3", "logLevel", "info"), ("v", "4", "logLevel", "debug"),
            ("v", "10", "logLevel", "trace"), ("masquerade-all", "true", "services.masquerade", "all"),
            ("masquerade-all", "false", "services.masquerade", "minimal"),
            ("feature-gates", "AllowServiceExternalIPs=false", "services.externalIPs", "false"),
            ("feature-gates", "", "services.externalIPs", "true"),
        ])
    func kubeProxyFlags(name: String, text: String, key: String, expected: String) throws {
        let flag = try #require(KubeProxyFlag.all.first { $0.name == name })
        let setting = try #require(Setting.all.first { $0.key == key })
        var loaded = LoadedSettings()
        try flag.assigning(text).apply(to: &loaded)
        #expect(setting.text(in: loaded.settings) == expected)
        #expect(loaded.warnings == [])
    }

    @Test(
        "What has no effect is said",
        arguments: [
            ("proxy-mode", "iptables", "mode iptables"), ("config-sync-period", "15m", "--config-sync-period"),
            ("feature-gates", "NFTablesProxyMode=true", "NFTablesProxyMode"),
        ])
    func withoutEffect(name: String, text: String, word: String) throws {
        let flag = try #require(KubeProxyFlag.all.first { $0.name == name })
        var loaded = LoadedSettings()
        try flag.assigning(text).apply(to: &loaded)
        #expect(loaded.settings == Settings())
        #expect(loaded.warnings.count == 1)
        #expect(loaded.warnings.first?.contains(word) == true)
    }

    @Test(
        "Flags of kube-proxy's refuse what they do not understand",
        arguments: [
            ("v", "-1"), ("v", "x"), ("masquerade-all", "yes"), ("proxy-mode", "userspace"), ("feature-gates", "A"),
            ("feature-gates", "A=maybe"), ("config-sync-period", "15"),
        ])
    func refusedFlags(name: String, text: String) throws {
        let flag = try #require(KubeProxyFlag.all.first { $0.name == name })
        #expect(throws: InvalidValue.self) { _ = try flag.assigning(text) }
    }
}
