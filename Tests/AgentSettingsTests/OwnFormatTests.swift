import AgentSettings
import Foundation
import TestSupport
import Testing

/// Needletail's own configuration file.
@Suite struct OwnFormatTests {
    private func read(_ text: String) throws -> LoadedSettings {
        let head = "apiVersion: needletail.io/v1alpha1\nkind: AgentConfiguration\n"
        return try SettingsFile.parse(Array((head + text).utf8), file: "agent.yaml")
    }

    private func text(_ key: String, _ settings: Settings) throws -> String? {
        try #require(Setting.all.first { $0.key == key }).text(in: settings)
    }

    @Test("A file that says nothing is the defaults", arguments: ["", "cluster:\n", "cluster: {}\nnodeName: null\n"])
    func empty(body: String) throws {
        let loaded = try read(body)
        #expect(loaded.settings == Settings())
        #expect(loaded.warnings == [])
    }

    @Test(
        "Values in the shapes that YAML has for them",
        arguments: [
            ("nodeName: Node-1", "nodeName", "node-1"),
            ("nodeAddress: 2001:db8::1", "nodeAddress", "2001:db8::1"),
            ("cluster: {requestsPerSecond: 2.5}", "cluster.requestsPerSecond", "2.5"),
            ("cluster: {contentType: application/json}", "cluster.contentType", "json"),
            ("devices: {external: [eth0, 'en*']}", "devices.external", "eth0,en*"),
            ("devices: {external: 'eth0, en*'}", "devices.external", "eth0,en*"),
            ("devices: {xdp: \"off\"}", "devices.xdp", "off"),
            ("services: {nodePortAddresses: [primary]}", "services.nodePortAddresses", "primary"),
            ("services: {nodePortAddresses: [external]}", "services.nodePortAddresses", "external"),
            (
                "services: {nodePortAddresses: [192.0.2.0/24, '2001:db8::/64']}", "services.nodePortAddresses",
                "192.0.2.0/24,2001:db8::/64"
            ),
            ("services: {cidrs: [198.18.0.0/16]}", "services.cidrs", "198.18.0.0/16"),
            ("services: {externalIPs: false}", "services.externalIPs", "false"),
            ("limits: {tcpFlows: 1000}", "limits.tcpFlows", "1000"),
            ("limits: {tcpFlows: auto}", "limits.tcpFlows", "auto"),
            ("timeouts: {tcpEstablished: 6h30m}", "timeouts.tcpEstablished", "23400"),
            ("timeouts: {tcpEstablished: 77}", "timeouts.tcpEstablished", "77"),
            ("intervals: {minSync: 500ms}", "intervals.minSync", "500ms"),
            ("health: {bindAddress: ''}", "health.bindAddress", ""),
            ("health: {bindAddress: '[2001:db8::1]:1'}", "health.bindAddress", "[2001:db8::1]:1"),
            ("oomScoreAdjust: -5", "oomScoreAdjust", "-5"),
            ("kubeProxy: refuse", "kubeProxy", "refuse"),
            ("localDetection: {mode: NodeCIDR}", "localDetection.mode", "NodeCIDR"),
        ])
    func accepted(body: String, key: String, expected: String) throws {
        let loaded = try read(body)
        #expect(try text(key, loaded.settings) == expected)
        #expect(loaded.warnings == [])
    }

    @Test(
        "What cannot be used is named with its place and what is expected",
        arguments: [
            ("nodName: x", "3:10: nodName: there is no such key; did you mean nodeName?"),
            ("device: {}", "3:9: device: there is no such key; did you mean devices?"),
            ("xdp: auto", "xdp: there is no such key; did you mean devices.xdp?"),
            ("limits:\n  set: 5", "4:8: limits.set: there is no such key; did you mean limits.sets?"),
            ("wholly: different", "3:9: wholly: there is no such key"),
            ("limits: 5", "limits: expected an object, found the number 5"),
            ("limits: {sets: many}", "limits.sets: write a number from 2 to 268435456"),
            ("limits: {sets: 1}", "limits.sets: write a number from 2"),
            ("limits: {sets: 1.5}", "limits.sets: write a number from 2"),
            ("limits: {sets: [1]}", "limits.sets: expected a number, found a list"),
            ("limits: {natPorts: 100-1}", "limits.natPorts: the first port is above the last"),
            ("services: {externalIPs: 1}", "services.externalIPs: expected true or false, found the number 1"),
            ("services: {cidrs: [1.2.3.4]}", "services.cidrs: \"1.2.3.4\" is no prefix"),
            ("services: {cidrs: [0.0.0.0/0]}", "services.cidrs: not everything is a ClusterIP"),
            ("services: {cidrs: {a: b}}", "services.cidrs: expected a list"),
            (
                "services: {nodePortAddresses: [primary, 192.0.2.0/24]}",
                "services.nodePortAddresses: primary stands alone"
            ),
            (
                "services: {masquerade: sometimes}",
                "services.masquerade: \"sometimes\": must be minimal, kube-proxy or all"
            ),
            ("services: {proxyName: a b}", "services.proxyName: values of labels"),
            ("devices: {xdp: off}", "devices.xdp: expected a string, found the boolean off (put it in quotes)"),
            ("devices: {external: ['a b']}", "devices.external: interface pattern \"a b\""),
            ("timeouts: {tcpClosed: 0}", "timeouts.tcpClosed: write a number of seconds from 1"),
            ("timeouts: {tcpClosed: 500ms}", "timeouts.tcpClosed: write a number of seconds"),
            ("intervals: {audit: 25h}", "intervals.audit: write a duration from 1s to 24h"),
            ("health: {bindAddress: 10256}", "health.bindAddress: expected a string, found the number 10256"),
            ("health: {bindAddress: 'host:1'}", "health.bindAddress: \"host:1\": write an address and port"),
            ("health: {bindAddress: '2001:db8::1:80'}", "health.bindAddress: "),
            ("nodeName: a_b", "nodeName: names of nodes are"),
            ("nodeAddress: here", "nodeAddress: \"here\" is no IP address"),
            ("pinDirectory: here", "pinDirectory: must be an absolute path"),
            ("oomScoreAdjust: 1001", "oomScoreAdjust: write a number from -1000 to 1000"),
            ("cluster: {server: 192.0.2.1}", "cluster.server: \"192.0.2.1\": write a URL"),
            ("cluster: {requestsPerSecond: 0}", "cluster.requestsPerSecond: write a number above 0"),
            ("cluster: {burst: 0}", "cluster.burst: write a number from 1"),
            ("logLevel: loud", "logLevel: \"loud\": must be trace, debug"),
            ("localDetection: {clusterCIDR: [198.18.0.0/16, 198.19.0.0/16]}", "localDetection.clusterCIDR: one prefix"),
        ])
    func refused(body: String, message: String) throws {
        let problem = #expect(throws: SettingsProblem.self) { _ = try read(body) }
        let lines = try #require(problem).lines
        #expect(lines.count == 1)
        #expect(lines.first?.hasPrefix("agent.yaml:") == true)
        #expect(lines.first?.contains(message) == true, "\(lines)")
    }

    @Test("All that is wrong is said at once, in the order of the file")
    func several() throws {
        let problem = #expect(throws: SettingsProblem.self) {
            _ = try read("limits: {sets: 1, slots: x}\nnothing: 1\n")
        }
        #expect(
            try #require(problem).lines.map { $0.split(separator: ":")[3] } == [
                " limits.sets", " limits.slots", " nothing",
            ])
    }

    @Test(
        "Files of no kind that is known",
        arguments: [
            ("", "0 documents"), ("a: [", "not YAML"), ("- 1\n", "expected an object"),
            ("kind: X\n", "apiVersion: missing"),
            ("apiVersion: v1\nkind: ConfigMap\n", "v1 ConfigMap is not known"),
            (
                "apiVersion: needletail.io/v1\nkind: AgentConfiguration\n",
                "needletail.io/v1 AgentConfiguration is not known"
            ),
            (
                "apiVersion: needletail.io/v1alpha1\nkind: AgentConfiguration\n---\na: 1\n",
                "2 documents: there must be one"
            ),
            (
                "apiVersion: needletail.io/v1alpha1\nkind: AgentConfiguration\nnodeName: a\nnodeName: b\n",
                "more than once"
            ),
        ])
    func unusable(text: String, message: String) throws {
        let problem = #expect(throws: SettingsProblem.self) {
            _ = try SettingsFile.parse(Array(text.utf8), file: "f")
        }
        #expect(try #require(problem).description.contains(message))
    }

    @Test("JSON is YAML")
    func json() throws {
        let text = #"{"apiVersion":"needletail.io/v1alpha1","kind":"AgentConfiguration","limits":{"sets":7}}"#
        #expect(try self.text("limits.sets", try SettingsFile.parse(Array(text.utf8), file: "f").settings) == "7")
    }

    @Test("What is written reads back as the same", arguments: 0..<200)
    func roundTrip(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        var loaded = LoadedSettings()
        for setting in Setting.all where generator.below(2) == 0 {
            let candidates = try #require(Self.samples[setting.key], "no samples for \(setting.key)")
            let text = candidates[generator.below(candidates.count)]
            try setting.assigning(text).apply(to: &loaded)
        }
        let written = loaded.settings.fileText
        let again = try SettingsFile.parse(Array(written.utf8), file: "f")
        #expect(again.settings == loaded.settings, "seed \(seed)\n\(written)")
        #expect(again.warnings == [])
        #expect(again.settings.fileText == written)
        let told = try JSONSerialization.jsonObject(with: Data(loaded.settings.configz.utf8)) as? [String: Any]
        let inner = try JSONSerialization.data(withJSONObject: #require(told?["needletail.io"]))
        let fromJSON = try SettingsFile.parse(Array(inner), file: "configz")
        #expect(fromJSON.settings == loaded.settings, "seed \(seed)\n\(loaded.settings.configz)")
    }

    /// Texts that each setting takes, hostile ones among them.
    private static let samples: [String: [String]] = {
        let texts = [
            "x", "/a b", "\"quoted\" \\ #: -", "true", "null", "1e3", "{a: [b]}", "\u{e9}\u{1}\n\t\u{2028}\u{1F600}",
        ]
        let entries = ["2", "1000", "268435456"]
        let seconds = ["1", "31536000", "6h"]
        let durations = ["1s", "90s", "1h1m1.001002003s", "24h"]
        let booleans = ["true", "false"]
        return [
            "nodeName": ["a", "no", "1", "node-1.example"], "nodeAddress": ["192.0.2.1", "2001:db8::1", "::"],
            "manifests": texts, "cluster.kubeconfig": texts, "cluster.context": texts,
            "cluster.server": ["https://192.0.2.1:6443", "http://[2001:db8::1]:80/x"],
            "cluster.contentType": ["json", "protobuf"],
            "cluster.requestsPerSecond": ["0.25", "7", "1e-3", "123456789"],
            "cluster.burst": ["1", "100000"],
            "devices.external": ["eth0", "en*,!enx*", "e+"], "devices.workload": ["veth*", "!eth0", "cali*,lxc?"],
            "devices.xdp": ["off", "native"], "devices.xdpForward": ["never", "always"],
            "devices.tc": ["tcx", "clsact"],
            "localDetection.mode": ["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"],
            "localDetection.clusterCIDR": ["198.18.0.0/16", "198.18.0.0/16,2001:db8::/64"],
            "localDetection.bridgeInterface": ["cbr0", "no"], "localDetection.interfaceNamePrefix": ["veth", "1"],
            "sockets.mode": ["off", "host", "all"], "sockets.cgroup": ["/", "/sys/fs/cgroup/x y"],
            "sockets.protectNodePorts": booleans,
            "services.proxyName": ["a", "null", "A.b_c-1"], "services.masquerade": ["minimal", "kube-proxy", "all"],
            "services.forwarding": ["snat", "dsr"],
            "services.nodePortAddresses": ["primary", "external", "192.0.2.0/24", "0.0.0.0/0,::/0"],
            "services.localhostNodePorts": booleans, "services.externalIPs": booleans,
            "services.cidrs": ["198.18.0.0/16", "198.18.0.0/16,2001:db8::/108"],
            "limits.frontends": entries, "limits.sets": entries, "limits.slots": entries, "limits.backends": entries,
            "limits.services": entries, "limits.tcpFlows": entries + ["auto"], "limits.udpFlows": entries + ["auto"],
            "limits.affinity": entries, "limits.sourceRanges": entries, "limits.natPorts": ["1-65535", "7-7"],
            "limits.newFlows": ["0", "1000000000"], "limits.answers": ["0", "1"],
            "timeouts.tcpOpening": seconds, "timeouts.tcpEstablished": seconds, "timeouts.tcpClosing": seconds,
            "timeouts.tcpClosed": seconds, "timeouts.udpOpening": seconds, "timeouts.udpEstablished": seconds,
            "intervals.collect": seconds, "intervals.audit": durations, "intervals.sync": durations,
            "intervals.minSync": durations + ["0", "0.5s"],
            "health.bindAddress": ["", ":1", "192.0.2.1:65535", "[::]:10256"],
            "metrics.bindAddress": ["", ":1", "[2001:db8::1]:1"], "metrics.maxServices": ["0", "1000000"],
            "bindAddressHardFail": booleans, "logLevel": ["trace", "critical"], "kubeProxy": ["refuse", "ignore"],
            "pinDirectory": ["/sys/fs/bpf/x", "/a b"], "oomScoreAdjust": ["auto", "-1000", "0", "1000"],
        ]
    }()
}
