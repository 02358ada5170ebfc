internal import Agent
internal import Manifests
internal import NetTypes
internal import Resolver

/// Reads `KubeProxyConfiguration`. As kube-proxy does, it names keys that it does not know in a warning and goes on.
struct KubeProxyFormat {
    private struct Value {
        let cursor: Cursor
        /// As ``Setting`` wants it.
        let text: String
    }

    private var loaded = LoadedSettings()
    private var problems: [ManifestProblem] = []
    private var values: [String: Value] = [:]
    private var gates: [(name: String, isOn: Bool)] = []
    private var unknown: [String] = []

    static func read(_ document: Cursor) throws(SettingsProblem) -> LoadedSettings {
        var reader = KubeProxyFormat()
        reader.attempt { reader throws(ManifestProblem) in try reader.collect(document, in: nil) }
        reader.warnOfUnknown()
        reader.translate()
        reader.warn()
        guard reader.problems.isEmpty else { throw SettingsProblem(reader.problems) }
        return reader.loaded
    }

    /// Notes what is wrong and goes on, so that everything is said at once.
    private mutating func attempt(_ body: (inout KubeProxyFormat) throws(ManifestProblem) -> Void) {
        do throws(ManifestProblem) {
            try body(&self)
        } catch {
            problems.append(error)
        }
    }

    private mutating func collect(_ cursor: Cursor, in group: String?) throws(ManifestProblem) {
        for (key, value) in try cursor.entries() {
            let name = group.map { "\($0).\(key)" } ?? key
            if group == nil, ["apiVersion", "kind"].contains(key) || value.isNull && Self.groups.contains(key) {
                continue
            }
            attempt { reader throws(ManifestProblem) in
                if let shape = KubeProxyKey.shapes[name] {
                    if !value.isNull { try reader.take(name, value, shape) }
                } else if group == nil, Self.groups.contains(key) {
                    try reader.collect(value, in: key)
                } else {
                    reader.unknown.append(value.line.map { "\(name) (line \($0))" } ?? name)
                }
            }
        }
    }

    private static let groups = Set(
        KubeProxyKey.shapes.keys.filter { $0.contains(".") }.compactMap {
            $0.split(separator: ".").first.map(String.init)
        })

    private mutating func take(_ name: String, _ value: Cursor, _ shape: KubeProxyKey.Shape) throws(ManifestProblem) {
        let text: String
        switch shape {
        case .text: text = try value.string()
        case .boolean: text = "\(try value.boolean())"
        case .integer: text = "\(try value.integer())"
        case .number:
            let number = try value.number()
            text = Int(exactly: number).map(String.init) ?? "\(number)"
        case .duration:
            text = try value.string()
            guard GoDuration.parse(text) != nil else {
                throw value.problem("\"\(text)\": must be a duration such as 30s or 1h0m0s")
            }
        case .texts: text = try value.listText()
        case .gates:
            for (gate, state) in try value.entries() { gates.append((gate, try state.boolean())) }
            return
        case .any: text = (try? value.string()) ?? (try? value.integer()).map(String.init) ?? value.kind
        }
        values[name] = Value(cursor: value, text: text)
    }

    /// The value of a key, unless it is one that asks for kube-proxy's default.
    private func value(_ key: String) -> Value? {
        guard let value = values[key], !value.text.isEmpty, value.text != "0" else { return nil }
        if KubeProxyKey.shapes[key] == .duration, GoDuration.parse(value.text) == .zero { return nil }
        return value
    }

    private mutating func assign(_ key: String, _ setting: Setting, _ transform: (String) -> String = { $0 }) {
        guard let value = value(key) else { return }
        let text = transform(value.text)
        attempt { reader throws(ManifestProblem) in
            do {
                try setting.assigning(text).apply(to: &reader.loaded)
            } catch {
                throw value.cursor.problem("\(error)")
            }
        }
    }

    private mutating func translate() {
        assign("clientConnection.kubeconfig", .kubeconfig)
        assign("clientConnection.contentType", .contentType)
        // Below 0 is no limit.
        assign("clientConnection.qps", .requestsPerSecond) { $0.hasPrefix("-") ? "100000" : $0 }
        assign("clientConnection.burst", .burst)
        assign("hostnameOverride", .nodeName) { $0.filter { !$0.isWhitespace } }
        assign("bindAddress", .nodeAddress)
        assign("healthzBindAddress", .healthAddress) { Self.withPort($0, 10256) }
        assign("metricsBindAddress", .metricsAddress) { Self.withPort($0, 10249) }
        if loaded.settings.agent.nodeAddress?.family == .v6, value("metricsBindAddress") == nil {
            loaded.settings.agent.metricsBindAddress = "[::1]:10249"
        }
        assign("bindAddressHardFail", .bindAddressHardFail)
        assign("detectLocalMode", .localMode)
        assign("detectLocal.bridgeInterface", .bridgeInterface)
        assign("detectLocal.interfaceNamePrefix", .interfaceNamePrefix)
        assign("clusterCIDR", .clusterCIDR)
        assign("nodePortAddresses", .nodePortAddresses)
        assign("oomScoreAdj", .oomScoreAdjust)
        assign("conntrack.tcpEstablishedTimeout", .tcpEstablished)
        assign("conntrack.tcpCloseWaitTimeout", .tcpClosing)
        assign("conntrack.udpTimeout", .udpOpening)
        assign("conntrack.udpStreamTimeout", .udpEstablished)
        translateMode()
        for gate in gates { loaded.setGate(gate.name, gate.isOn) }
        if let value = value("logging.verbosity"), let verbosity = Int(value.text) {
            loaded.settings.logLevel = KubeProxyFlag.level(verbosity)
        }
    }

    /// The part of the file that kube-proxy would look at in this mode.
    private mutating func translateMode() {
        let mode = values["mode"]?.text ?? ""
        attempt { reader throws(ManifestProblem) in
            do {
                try KubeProxyFlag.proxyMode.assigning(mode).apply(to: &reader.loaded)
            } catch {
                guard let cursor = reader.values["mode"]?.cursor else { return }
                throw cursor.problem("\(error)")
            }
        }
        let section = ["nftables", "ipvs"].contains(mode) ? mode : "iptables"
        assign("\(section).syncPeriod", .syncPeriod)
        assign("\(section).minSyncPeriod", .minSyncPeriod)
        // IPVS masquerades by iptables.
        let masquerading = mode == "nftables" ? "nftables" : "iptables"
        if values["\(masquerading).masqueradeAll"]?.text == "true" { loaded.settings.agent.resolver.masquerade = .all }
        if masquerading == "iptables" { assign("iptables.localhostNodePorts", .localhostNodePorts) }
    }

    /// As kube-proxy, which puts a port behind an address that has none.
    private static func withPort(_ text: String, _ port: UInt16) -> String {
        IPAddress(text)?.withPort(port) ?? text
    }

    private mutating func warnOfUnknown() {
        guard !unknown.isEmpty else { return }
        loaded.warnings.append("not known, and without effect: \(unknown.sorted().joined(separator: ", "))")
    }

    private mutating func warn() {
        for reason in KubeProxyKey.Reason.allCases {
            let keys = KubeProxyKey.inapplicable.filter { key, rule in
                guard rule.reason == reason, let value = value(key) else { return false }
                return value.text != "false" && !rule.initial.contains(value.text)
            }.keys.sorted()
            if !keys.isEmpty {
                loaded.warnings.append("without effect: \(keys.joined(separator: ", ")): \(reason.rawValue)")
            }
        }
    }
}
