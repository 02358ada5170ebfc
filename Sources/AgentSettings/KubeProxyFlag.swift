internal import Agent
public import Logging
internal import Resolver

/// A flag of kube-proxy's that stands for something else here.
public struct KubeProxyFlag: Sendable {
    /// The flag without its hyphens.
    public let name: String
    /// What stands for a value in help.
    public let placeholder: String
    /// Whether it can stand without a value.
    public let isBoolean: Bool
    /// What it means.
    public let help: String
    /// What a text does to settings. Throws ``InvalidValue``.
    public let assigning: @Sendable (String) throws -> Override

    private init(
        _ name: String, _ placeholder: String, _ help: String,
        _ assigning: @escaping @Sendable (String) throws -> Override
    ) {
        self.name = name
        self.placeholder = placeholder
        isBoolean = placeholder == "true|false"
        self.help = help
        self.assigning = assigning
    }

    /// All of them.
    public static let all = [verbosity, masqueradeAll, proxyMode, featureGates, configSyncPeriod]

    /// klog's verbosity.
    public static let verbosity = KubeProxyFlag(
        "v", "number", "Log more: 4 is debug, 6 and above trace, below 4 info. --log-level goes before it."
    ) { text in
        guard let number = Int(text), number >= 0 else { throw InvalidValue("write a number from 0 up") }
        return Override { $0.settings.logLevel = level(number) }
    }

    /// `--masquerade all`.
    public static let masqueradeAll = KubeProxyFlag(
        "masquerade-all", "true|false", "The same as --masquerade all."
    ) { text in
        let isOn = try Codec<Bool>.boolean.parse(text)
        return Override { loaded in
            if isOn {
                loaded.settings.agent.resolver.masquerade = .all
            } else if loaded.settings.agent.resolver.masquerade == .all {
                loaded.settings.agent.resolver.masquerade = .minimal
            }
        }
    }

    /// There is one mode.
    public static let proxyMode = KubeProxyFlag(
        "proxy-mode", "mode", "needletail, or nothing; kube-proxy's modes are accepted and have no effect."
    ) { text in
        guard ["", "needletail", "iptables", "nftables", "ipvs"].contains(text) else {
            throw InvalidValue("\"\(text)\": there is one mode, needletail")
        }
        return Override { loaded in
            guard !["", "needletail"].contains(text) else { return }
            loaded.warnings.append("without effect: mode \(text): the node is served by Needletail's BPF programs")
        }
    }

    /// `AllowServiceExternalIPs` has an effect.
    public static let featureGates = KubeProxyFlag(
        "feature-gates", "name=true|false,...", "AllowServiceExternalIPs is followed; other gates have no effect."
    ) { text in
        let gates = try text.split(separator: ",").map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1).map { $0.filter { !$0.isWhitespace } }
            guard parts.count == 2, !parts[0].isEmpty, let isOn = Bool(parts[1].lowercased()) else {
                throw InvalidValue("\"\(pair)\": write such as AllowServiceExternalIPs=false")
            }
            return (String(parts[0]), isOn)
        }
        return Override { loaded in
            for (name, isOn) in gates { loaded.setGate(name, isOn) }
        }
    }

    /// Nothing is told again.
    public static let configSyncPeriod = KubeProxyFlag(
        "config-sync-period", "duration", "Accepted; the cluster is watched, and what is known is not told again."
    ) { text in
        guard GoDuration.parse(text) != nil else { throw InvalidValue("write a duration such as 15m") }
        return Override {
            $0.warnings.append("without effect: --config-sync-period: \(KubeProxyKey.Reason.resync.rawValue)")
        }
    }

    /// The log level of a verbosity of klog. kube-proxy's own `V(2)` to `V(3)` tell of single syncs, as `info` does here.
    public static func level(_ verbosity: Int) -> Logger.Level {
        switch verbosity {
        case ..<4: .info
        case 4, 5: .debug
        default: .trace
        }
    }
}

extension LoadedSettings {
    /// Follows a feature gate, or says that there is nothing to follow.
    mutating func setGate(_ name: String, _ isOn: Bool) {
        if name == "AllowServiceExternalIPs" {
            settings.agent.resolver.servesExternalIPs = isOn
        } else {
            warnings.append("without effect: feature gate \(name): it gates nothing of Needletail's")
        }
    }
}
