internal import Logging

/// A kube-proxy, or its rules, on a node where the agent is not to start beside one.
public struct KubeProxyPresent: Error, CustomStringConvertible {
    /// What was found.
    public let findings: [KubeProxyFinding]

    /// What was found, and what to do.
    public var description: String {
        "kube-proxy is on this node, and the agent is not to run beside it: "
            + findings.map(\.description).joined(separator: "; ")
    }
}

/// Looks for kube-proxy now and then, on a thread of its own: a port that says nothing takes a second.
actor KubeProxyWatcher {
    private let detector: KubeProxyDetector
    private let logger: Logger
    private var warnings = KubeProxyWarnings()
    private let executor = QueueExecutor(label: "needletail.kube-proxy")

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(ownPorts: Set<UInt16>, _ logger: Logger) {
        detector = KubeProxyDetector(ownPorts: ownPorts)
        self.logger = logger
    }

    /// Tells of what is new.
    func look() {
        for finding in warnings.news(detector.findings(), at: .now) {
            logger.warning("kube-proxy is on this node too", metadata: ["found": "\(finding)"])
        }
    }
}
