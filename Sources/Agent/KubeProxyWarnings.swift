/// Which findings are worth a line in the log: each when it appears, at once or when its last line is a few minutes old.
public struct KubeProxyWarnings: Sendable {
    /// The least time between two lines about the same sign.
    public static let interval = Duration.seconds(300)

    private var present: Set<KubeProxyFinding> = []
    private var untold: Set<KubeProxyFinding> = []
    private var told: [KubeProxyFinding: ContinuousClock.Instant] = [:]

    /// Nothing found yet.
    public init() {}

    /// What to tell of what was found at a time.
    public mutating func news(_ findings: [KubeProxyFinding], at now: ContinuousClock.Instant) -> [KubeProxyFinding] {
        let found = Set(findings)
        untold = untold.intersection(found).union(found.subtracting(present))
        present = found
        told = told.filter { now - $0.value < Self.interval }
        let news = findings.filter { untold.contains($0) && told[$0] == nil }
        for finding in news { told[finding] = now }
        untold.subtract(news)
        return news
    }
}
