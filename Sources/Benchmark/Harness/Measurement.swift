/// One line of a report: a quantity, of whom it was taken and under which conditions, and what came out.
///
/// All suites answer in these, so that tables, documents, charts and comparisons need to know no suite.
public struct Measurement: Sendable, Hashable {
    /// What tells a measurement from all others of a run; the same in every run that measures the same.
    public struct Key: Sendable, Hashable {
        /// The suite it belongs to.
        public let suite: SuiteName
        /// What is measured, such as `established` or `connect`.
        public let quantity: String
        /// Who is measured, such as `external_xdp`, `nftables` or `floor lru-hit`.
        public let subject: String
        /// Under which conditions, in the order of columns.
        public let conditions: [Condition]

        /// A key.
        public init(_ suite: SuiteName, _ quantity: String, of subject: String, _ conditions: [Condition] = []) {
            self.suite = suite
            self.quantity = quantity
            self.subject = subject
            self.conditions = conditions
        }

        /// The value of a condition, if the measurement has it.
        public subscript(condition: String) -> String? { conditions.first { $0.name == condition }?.value }
    }

    /// Something that was set for a measurement, such as `flows` `64k`.
    public struct Condition: Sendable, Hashable {
        /// In lower case: a column's title and a key of the document.
        public let name: String
        /// As it was given.
        public let value: String

        /// A condition.
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// What the figures are in.
    public enum Unit: String, Sendable, Hashable, CaseIterable, Decodable {
        case nanosecondsPerPacket = "ns/packet"
        case packetsPerSecond = "packets/s"
        case connectionsPerSecond = "connections/s"
        case requestsPerSecond = "requests/s"
        case changesPerSecond = "changes/s"
        case bitsPerSecond = "bit/s"
        case microseconds = "µs"
        case milliseconds = "ms"
        case bytes
        case percent = "%"
        case count

        /// Whether it is a duration or a rate, which no two runs have alike.
        public var isTimed: Bool {
            switch self {
            case .bytes, .percent, .count: false
            default: true
            }
        }

        /// Whether more of it is better.
        public var isBetterHigher: Bool {
            switch self {
            case .packetsPerSecond, .connectionsPerSecond, .requestsPerSecond, .changesPerSecond, .bitsPerSecond: true
            case .nanosecondsPerPacket, .microseconds, .milliseconds, .bytes, .percent, .count: false
            }
        }
    }

    /// How a measurement ended.
    public enum Outcome: Sendable, Hashable {
        /// With samples that stand for what they are named after.
        case measured
        /// It could not be taken here, and why.
        case skipped(String)
        /// Its samples do not stand for what they are named after, and why.
        case failed(String)
    }

    /// What tells it from the others.
    public let key: Key
    /// What samples and latencies are in.
    public let unit: Unit
    /// One for each repeat, in the order they were taken in; those of one repeat belong together over all measurements.
    public var samples: [Double]
    /// Of single operations, in microseconds, over all repeats; of suites that time each operation.
    public var latencies: LatencySummary?
    /// The measurement whose samples this one's are divided by for a ratio: what is compared with in the same run.
    public var reference: Key?
    /// Whether it could be taken.
    public var outcome: Outcome
    /// What a reader must know to understand the figure, in a sentence.
    public var note: String?

    /// A measurement.
    public init(
        _ key: Key, in unit: Unit, samples: [Double] = [], latencies: LatencySummary? = nil, reference: Key? = nil,
        outcome: Outcome = .measured, note: String? = nil
    ) {
        self.key = key
        self.unit = unit
        self.samples = samples
        self.latencies = latencies
        self.reference = reference
        self.outcome = outcome
        self.note = note
    }
}

/// What is said of the latencies of many operations.
public struct LatencySummary: Sendable, Hashable {
    /// A percentile and its latency.
    public struct Point: Sendable, Hashable {
        /// From 0 to 100.
        public let percentile: Double
        /// Microseconds.
        public let latency: Double

        /// A point.
        public init(percentile: Double, latency: Double) {
            self.percentile = percentile
            self.latency = latency
        }
    }

    /// How many operations.
    public let count: Int
    /// Ascending, from 0 to 100; among them 50, 90, 99 and 99.9, and enough others to draw a curve by.
    public let points: [Point]

    /// A summary.
    public init(count: Int, points: [Point]) {
        self.count = count
        self.points = points
    }

    /// The latency at a percentile that is among the points.
    public subscript(percentile: Double) -> Double? { points.first { $0.percentile == percentile }?.latency }
}
