public import NetTypes
public import ServiceModel
internal import Synchronization

/// What a health answer tells beyond kube-proxy's fields. None of it decides whether the answer is 200.
public struct HealthDetails: Sendable, Hashable {
    /// A watch of the API server.
    public struct Watch: Sendable, Hashable {
        /// What is watched, such as `services`.
        public var kind: String
        /// Since the server was last heard of; `nil` if it never was.
        public var age: Duration?
        /// Whether that is recent enough for a change not to be missed.
        public var isHealthy: Bool

        /// Puts them together.
        public init(kind: String, age: Duration?, isHealthy: Bool) {
            self.kind = kind
            self.age = age
            self.isHealthy = isHealthy
        }
    }

    /// The last comparison of the maps with what they should hold.
    public struct Audit: Sendable, Hashable {
        /// When it was done.
        public var lastRun: WallTime
        /// Entries that differed.
        public var differences: Int
        /// Of these, how many were put right.
        public var repaired: Int

        /// Puts them together.
        public init(lastRun: WallTime, differences: Int, repaired: Int) {
            self.lastRun = lastRun
            self.differences = differences
            self.repaired = repaired
        }
    }

    /// The watches, in order; none without a cluster.
    public var watches: [Watch]
    /// The last audit, if there has been one.
    public var audit: Audit?

    /// Puts them together.
    public init(watches: [Watch] = [], audit: Audit? = nil) {
        self.watches = watches
        self.audit = audit
    }
}

/// Whether the datapath is in step, and whether the node should be given traffic, by kube-proxy's rules
/// (`pkg/proxy/healthcheck/proxy_health.go`).
///
/// A family is healthy unless an update has been waiting for ``timeout``; a failed sync leaves it waiting. A family counts
/// from its first ``updated(_:)``, which is to be called once at the start: healthy until proven otherwise.
public final class HealthState: Sendable {
    /// The clocks.
    public struct Clocks: Sendable {
        /// For rules: never set, so that a jump of the wall clock makes nothing unhealthy.
        public var monotonic: @Sendable () -> ContinuousClock.Instant
        /// For people.
        public var wall: @Sendable () -> WallTime

        /// The system's, or those of a test.
        public init(
            monotonic: @escaping @Sendable () -> ContinuousClock.Instant = { .now },
            wall: @escaping @Sendable () -> WallTime = { .now }
        ) {
            self.monotonic = monotonic
            self.wall = wall
        }
    }

    /// What has been answered, by status code.
    public struct Answers: Sendable, Hashable {
        /// On `/healthz`.
        public var healthz: [Int: UInt64] = [:]
        /// On `/livez`.
        public var livez: [Int: UInt64] = [:]
    }

    /// How an answer is asked for.
    enum Question {
        /// Should this node be given traffic?
        case healthz
        /// Does the datapath follow?
        case livez
    }

    /// The taint by which the cluster autoscaler says that it is about to delete a node.
    public static let toBeDeletedTaint = "ToBeDeletedByClusterAutoscaler"

    /// How long an update may wait.
    public let timeout: Duration
    private let clocks: Clocks
    private let state: Mutex<State>

    fileprivate struct State {
        var queued: [IPFamily: ContinuousClock.Instant] = [:]
        var updated: [IPFamily: WallTime] = [:]
        var isNodeEligible: Bool
        var details: @Sendable () -> HealthDetails = { HealthDetails() }
        var answers = Answers()
    }

    /// Nothing known.
    ///
    /// - Parameters:
    ///   - syncPeriod: kube-proxy's `syncPeriod`; an update may wait twice as long.
    ///   - needsNode: Whether the node is eligible only once its Node object has been seen; `false` where there may be none, as
    ///     with manifests.
    public init(syncPeriod: Duration = .seconds(30), needsNode: Bool = true, clocks: Clocks = Clocks()) {
        timeout = syncPeriod * 2
        self.clocks = clocks
        state = Mutex(State(isNodeEligible: !needsNode))
    }

    // MARK: What happens

    /// Something has changed that must be programmed. An update that waits already goes on waiting since then.
    public func queuedUpdate(_ families: [IPFamily] = IPFamily.allCases) {
        let now = clocks.monotonic()
        state.withLock { state in
            for family in families where state.queued[family] == nil { state.queued[family] = now }
        }
    }

    /// Everything that has changed is programmed. Also to be called once at the start.
    public func updated(_ families: [IPFamily] = IPFamily.allCases) {
        let now = clocks.wall()
        state.withLock { state in
            for family in families {
                state.queued[family] = nil
                state.updated[family] = now
            }
        }
    }

    /// This node's Node object is there or has changed. When it goes away nothing is to be done: what it said last
    /// stays in force.
    public func update(_ node: Node) {
        let isEligible = !node.isBeingDeleted && !node.taints.contains(Self.toBeDeletedTaint)
        state.withLock { $0.isNodeEligible = isEligible }
    }

    /// Where further fields come from. Called on the servers' thread at each answer, so it must not wait.
    public func describe(_ details: @escaping @Sendable () -> HealthDetails) {
        state.withLock { $0.details = details }
    }

    // MARK: What there is to see

    /// Whether no update has been waiting for too long, in any family. Says nothing of the node.
    public var isHealthy: Bool {
        let now = clocks.monotonic()
        return state.withLock { $0.late(now, timeout).isEmpty }
    }

    /// Whether the node should be given traffic.
    public var isNodeEligible: Bool { state.withLock { $0.isNodeEligible } }

    /// Families that have an update waiting for too long.
    public var lateFamilies: [IPFamily] {
        let now = clocks.monotonic()
        return state.withLock { $0.late(now, timeout) }
    }

    /// What has been answered so far.
    public var answers: Answers { state.withLock { $0.answers } }

    /// The answer, which is counted.
    func answer(_ question: Question) -> HTTPAnswer {
        let (now, wall) = (clocks.monotonic(), clocks.wall())
        let (body, status, details) = state.withLock { state in
            let late = state.late(now, timeout)
            let isGood = late.isEmpty && (question == .livez || state.isNodeEligible)
            let status = isGood ? 200 : 503
            switch question {
            case .healthz: state.answers.healthz[status, default: 0] += 1
            case .livez: state.answers.livez[status, default: 0] += 1
            }
            return (state.json(question, late: late, isGood: isGood, wall), status, state.details)
        }
        return HTTPAnswer(status: status, contentType: "application/json", body + Self.json(details()) + "}")
    }

    private static func json(_ details: HealthDetails) -> String {
        var text = ""
        if !details.watches.isEmpty {
            let watches = details.watches.map { watch in
                let age = watch.age.map { seconds($0) } ?? "null"
                return "\(jsonString(watch.kind)):{\"ageSeconds\":\(age),\"healthy\":\(watch.isHealthy)}"
            }
            text += ",\"watch\":{\(watches.joined(separator: ","))}"
        }
        if let audit = details.audit {
            text += ",\"audit\":{\"lastRun\":\"\(audit.lastRun.rfc3339)\",\"differences\":\(audit.differences),"
            text += "\"repaired\":\(audit.repaired)}"
        }
        return text
    }

    /// To the millisecond.
    private static func seconds(_ duration: Duration) -> String {
        MetricsText.goText(max(0, (duration / .milliseconds(1)).rounded()) / 1000)
    }
}

extension HealthState.State {
    fileprivate func late(_ now: ContinuousClock.Instant, _ timeout: Duration) -> [IPFamily] {
        updated.keys.filter { family in queued[family].map { $0.duration(to: now) >= timeout } ?? false }.sorted()
    }

    /// kube-proxy's fields, in its order, with neither the closing brace nor what follows them.
    fileprivate func json(_ question: HealthState.Question, late: [IPFamily], isGood: Bool, _ now: WallTime) -> String {
        // For those who expect the time of the last sync that had nothing to do, as old releases told.
        let last = isGood ? now : updated.values.max { ($0.seconds, $0.nanoseconds) < ($1.seconds, $1.nanoseconds) }
        // What Go has for a time that never was.
        var text = "{\"lastUpdated\":\"\(last?.rfc3339 ?? "0001-01-01T00:00:00Z")\",\"currentTime\":\"\(now.rfc3339)\","
        if question == .healthz { text += "\"nodeEligible\":\(isNodeEligible)," }
        let families = updated.sorted { $0.key < $1.key }.map { family, time in
            "\"\(family.label)\":{\"lastUpdated\":\"\(time.rfc3339)\",\"healthy\":\(!late.contains(family))}"
        }
        return text + "\"healthy\":\(late.isEmpty),\"status\":{\(families.joined(separator: ","))}"
    }
}

extension IPFamily {
    /// As Kubernetes names it.
    var label: String { self == .v4 ? "IPv4" : "IPv6" }
}
