internal import Synchronization

/// What the metrics server tells.
public struct MetricsSources: Sendable {
    /// A reading for `/metrics`. Scrapes that come while one is being made share it.
    public var snapshot: @Sendable () async -> MetricsSnapshot
    /// The agent's configuration in JSON, for `/configz`.
    public var configuration: @Sendable () async -> String
    /// Whether the agent is ready, for `/readyz`: `nil`, or why not.
    public var unreadiness: @Sendable () -> String?

    /// Puts them together.
    public init(
        snapshot: @escaping @Sendable () async -> MetricsSnapshot,
        configuration: @escaping @Sendable () async -> String = { "{}" },
        unreadiness: @escaping @Sendable () -> String? = { nil }
    ) {
        self.snapshot = snapshot
        self.configuration = configuration
        self.unreadiness = unreadiness
    }
}

extension HTTPServer {
    /// kube-proxy's metrics server: `/metrics`, `/metrics/slis`, `/proxyMode`, `/configz`, `/healthz`, `/livez`, and
    /// `/readyz`.
    ///
    /// `/healthz` says `ok` as long as it can, and `/livez` follows `health`.
    ///
    /// - Parameters:
    ///   - failsHard: Whether ``run()`` throws when it cannot listen, instead of trying again.
    ///   - retryInterval: From one attempt to listen to the next.
    ///   - report: Told how listening goes; of a failure once.
    public static func metrics(
        _ address: ListenAddress, on thread: ServerThread, _ health: HealthState, _ sources: MetricsSources,
        failsHard: Bool = false, retryInterval: Duration = .seconds(5),
        report: @escaping @Sendable (BindReport) -> Void = { _ in }
    ) -> HTTPServer {
        let responder = MetricsResponder(health, sources)
        return HTTPServer(
            address, on: thread, failsHard: failsHard, retryInterval: retryInterval, report: report,
            .later { await responder.answer($0) })
    }
}

/// Answers the metrics server's requests.
private final class MetricsResponder: Sendable {
    private let health: HealthState
    private let sources: MetricsSources
    private let scrape: SharedWork<String>
    private let checks = Mutex<[HealthCheck: HealthCheckResult]>([:])

    init(_ health: HealthState, _ sources: MetricsSources) {
        self.health = health
        self.sources = sources
        scrape = SharedWork {
            var text = MetricsText()
            await sources.snapshot().write(to: &text)
            return text.render()
        }
    }

    func answer(_ question: HTTPQuestion) async -> HTTPAnswer {
        switch question.path {
        case "/metrics": HTTPAnswer(contentType: MetricsText.contentType, await scrape.result())
        case "/metrics/slis": HTTPAnswer(contentType: MetricsText.contentType, checkMetrics())
        case "/proxyMode": HTTPAnswer("needletail")
        case "/configz": HTTPAnswer(contentType: "application/json", await sources.configuration())
        case "/healthz": check("healthz", problem: nil)
        case "/livez": check("livez", problem: lateness)
        case "/readyz": check("readyz", problem: sources.unreadiness() ?? lateness)
        default: .notFound
        }
    }

    private var lateness: String? {
        let late = health.lateFamilies.map(\.label)
        return late.isEmpty ? nil : "changes wait to be programmed: \(late.joined(separator: ", "))"
    }

    private func check(_ type: String, problem: String?) -> HTTPAnswer {
        checks.withLock { $0[HealthCheck(type: type), default: HealthCheckResult()].note(isGood: problem == nil) }
        return problem.map { HTTPAnswer(status: 503, "\(type) check failed: \($0)\n") } ?? HTTPAnswer("ok")
    }

    private func checkMetrics() -> String {
        var text = MetricsText()
        for (check, result) in checks.withLock({ $0 }) {
            text.add(Metrics.healthCheck, [.init([check.name, check.type], .number(result.isGood ? 1 : 0))])
            for (status, count) in [("success", result.successes), ("error", result.errors)] where count > 0 {
                text.add(Metrics.healthChecks, [.init([check.name, status, check.type], .count(count))])
            }
        }
        return text.render()
    }
}

/// A check that somebody has asked for, as `/metrics/slis` names it.
private struct HealthCheck: Hashable {
    let name = "ping"
    let type: String
}

private struct HealthCheckResult {
    private(set) var isGood = false
    private(set) var successes: UInt64 = 0
    private(set) var errors: UInt64 = 0

    mutating func note(isGood: Bool) {
        self.isGood = isGood
        if isGood { successes += 1 } else { errors += 1 }
    }
}

/// Work whose result all share who ask for it while it is being done.
actor SharedWork<Result: Sendable> {
    private let work: @Sendable () async -> Result
    private var current: Task<Result, Never>?

    init(_ work: @escaping @Sendable () async -> Result) {
        self.work = work
    }

    func result() async -> Result {
        if let current { return await current.value }
        let task = Task { [work] in await work() }
        current = task
        let result = await task.value
        current = nil
        return result
    }
}
