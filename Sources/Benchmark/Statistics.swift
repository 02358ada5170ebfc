/// What is said of a few measurements of the same thing.
///
/// The least is what the code costs when nothing disturbs it; the median is what a ratio of two cases is made of; the
/// spread says how far either can be trusted.
public struct Statistics: Sendable, Hashable {
    /// The least.
    public let min: Double
    /// The middle one, or the mean of the two in the middle.
    public let median: Double
    /// The greatest.
    public let max: Double
    /// How many there were.
    public let count: Int

    /// `nil` if there are none.
    public init?(_ samples: some Sequence<Double>) {
        let sorted = samples.sorted()
        guard let first = sorted.first, let last = sorted.last else { return nil }
        let middle = sorted.count / 2
        min = first
        max = last
        median = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
        count = sorted.count
    }

    private init(min: Double, median: Double, max: Double, count: Int) {
        self.min = min
        self.median = median
        self.max = max
        self.count = count
    }

    /// Of no samples.
    static let zero = Statistics(min: 0, median: 0, max: 0, count: 0)

    /// Distance of the greatest from the least, as a part of the median; `nil` if the median is not above 0.
    public var spread: Double? { median > 0 ? (max - min) / median : nil }
}
