/// What is said of many measurements of the same thing, by nearest rank: each figure is one that was measured.
public struct Latencies: Sendable, Hashable {
    /// Half took no longer.
    public let p50: Double
    /// 9 of 10 took no longer.
    public let p90: Double
    /// 99 of 100 took no longer.
    public let p99: Double
    /// The longest.
    public let max: Double
    /// How many there were.
    public let count: Int

    /// `nil` if there are none.
    public init?(_ samples: some Sequence<Double>) {
        let sorted = samples.sorted()
        guard let last = sorted.last else { return nil }
        let rank = { (percent: Int) in sorted[(sorted.count * percent + 99) / 100 - 1] }
        p50 = rank(50)
        p90 = rank(90)
        p99 = rank(99)
        max = last
        count = sorted.count
    }
}
