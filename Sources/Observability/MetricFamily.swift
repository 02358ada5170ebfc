/// A metric, as it is declared once for all its series.
public struct MetricFamily: Sendable, Hashable {
    /// What can be done with its values.
    public enum Kind: String, Sendable, Hashable {
        /// Only grows, and begins from zero with the process.
        case counter
        /// Comes and goes.
        case gauge
        /// Observations in buckets.
        case histogram
    }

    /// The name. That of a histogram is without `_bucket`, `_sum` and `_count`.
    public let name: String
    /// What it is.
    public let kind: Kind
    /// The names of its labels, in alphabetical order.
    public let labels: [String]
    /// One line for a person.
    public let help: String

    /// Declares a metric.
    public init(_ name: String, _ kind: Kind, _ labels: [String] = [], _ help: String) {
        self.name = name
        self.kind = kind
        self.labels = labels
        self.help = help
    }
}
