public import KubernetesWire
public import ServiceModel

/// What a ``ClusterSource`` is about, at one moment.
public struct SourceStatus: Sendable {
    /// What is done for a kind of object now.
    public enum Phase: Sendable, Hashable {
        /// A request has been made; no answer yet.
        case connecting
        /// Objects are being read that are not complete yet.
        case listing
        /// Everything is known, and changes are told as they come.
        case watching
        /// Something failed, for this reason; it is tried again then.
        case waiting(until: ContinuousClock.Instant, reason: String)
    }

    /// Why a list or watch failed: a label of a metric.
    public enum Failure: String, Sendable, Hashable, CaseIterable {
        /// No connection, or one that broke.
        case connection
        /// The TLS handshake, or a certificate of either side.
        case tls
        /// No answer in time.
        case timeout
        /// A watch that sent nothing for ``ClusterTiming/silence``.
        case silence
        /// A watch that ended at once and told nothing.
        case shortWatch = "short_watch"
        /// 410: the version is too old. What follows is a list, so it is no failure in the sense of a lasting one.
        case expired
        /// 429.
        case throttled
        /// 401.
        case unauthorized
        /// 403.
        case forbidden
        /// 404: the cluster does not have this kind.
        case absent
        /// 5xx.
        case server
        /// Another status.
        case status
        /// Bytes that are no answer: another format, truncated, or not decodable.
        case malformed
        /// The token, key or plugin that this node shows itself with.
        case credentials
    }

    /// List and watch of one kind.
    public struct Kind: Sendable {
        /// What is done now.
        public var phase = Phase.connecting
        /// Objects known.
        public var objects = 0
        /// The version up to which they are.
        public var resourceVersion = ResourceVersion("")
        /// When the first list was complete; `nil` before. What is known then is never taken back because of failures.
        public var synced: ContinuousClock.Instant?
        /// When the last byte came from the server.
        public var heard: ContinuousClock.Instant?
        /// When the last event came that told of an object.
        public var event: ContinuousClock.Instant?
        /// Lists begun, streamed ones too.
        public var lists = 0
        /// Watches begun, streamed lists too.
        public var watches = 0
        /// Objects told of as new or changed, in lists and watches.
        public var upserts = 0
        /// Objects told of as deleted, and objects that a list had no more.
        public var deletions = 0
        /// Bookmarks.
        public var bookmarks = 0
        /// Events that told what was known, or something older: dropped.
        public var stale = 0
        /// Failures by reason.
        public var failures: [Failure: Int] = [:]

        /// Nothing done yet.
        public init() {}
    }

    /// By kind of object.
    public var kinds: [ObjectKind: Kind]
    /// When `synced` was told.
    public var synced: ContinuousClock.Instant?
    /// All requests, of events too.
    public var requests: RequestStatistics

    /// Puts the three together.
    public init(
        kinds: [ObjectKind: Kind] = [:], synced: ContinuousClock.Instant? = nil,
        requests: RequestStatistics = RequestStatistics()
    ) {
        self.kinds = kinds
        self.synced = synced
        self.requests = requests
    }
}

/// Requests to the API server, as client-go counts them.
public struct RequestStatistics: Sendable, Hashable {
    /// Upper bounds of the buckets of `rest_client_request_duration_seconds`, in seconds, without the last one, which is
    /// infinite (client-go, `component-base/metrics/prometheus/restclient`).
    public static let buckets: [Double] = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60]

    /// Labels of `rest_client_requests_total`.
    public struct Request: Sendable, Hashable {
        /// The HTTP status code, or `<error>` where there was no answer.
        public let code: String
        /// `GET`, `POST`, `PATCH`.
        public let method: String
        /// Host and port.
        public let host: String
    }

    /// Labels of `rest_client_request_duration_seconds`.
    public struct Target: Sendable, Hashable {
        /// `GET`, `POST`, `PATCH`.
        public let verb: String
        /// Host and port.
        public let host: String
    }

    /// From requests to the heads of their answers.
    public struct Durations: Sendable, Hashable {
        /// How many fell into each bucket (not cumulative); the last is for all above the last bound.
        public var counts = [Int](repeating: 0, count: RequestStatistics.buckets.count + 1)
        /// Their sum, in seconds.
        public var sum = 0.0
    }

    /// How many requests.
    public private(set) var counts: [Request: Int] = [:]
    /// How long they took.
    public private(set) var durations: [Target: Durations] = [:]

    /// None.
    public init() {}

    mutating func add(code: String, method: String, host: String, seconds: Double) {
        counts[Request(code: code, method: method, host: host), default: 0] += 1
        let bucket = Self.buckets.firstIndex { seconds <= $0 } ?? Self.buckets.count
        durations[Target(verb: method, host: host), default: Durations()].counts[bucket] += 1
        durations[Target(verb: method, host: host), default: Durations()].sum += seconds
    }
}
