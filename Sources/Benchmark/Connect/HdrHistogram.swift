/// A histogram of latencies that keeps a number of significant digits over the whole range, in memory that does not grow.
///
/// The design is Gil Tene's (HdrHistogram, hdrhistogram.org): buckets whose width doubles, each cut into equal parts that
/// are fine enough for the digits. Recording finds the place by the position of the highest bit, and allocates nothing.
///
/// It says nothing of what was not recorded. A closed loop, which sends its next request only after an answer, sends less
/// while the other side stalls, and so records fewer of the bad times than clients that come at their own pace would
/// suffer ("coordinated omission"). Its percentiles are those of the requests that were made.
struct HdrHistogram: Sendable, Hashable {
    /// What is told apart: values differ by no more than one in 10 to the power of this.
    let significantDigits: Int
    /// Values above are recorded as this one.
    let highest: UInt64
    /// How many were recorded.
    private(set) var count = 0
    /// How many of them were above ``highest``.
    private(set) var saturated = 0
    /// The least that was recorded; 0 if there is none.
    var minimum: UInt64 { count == 0 ? 0 : least }
    /// The greatest that was recorded; 0 if there is none.
    private(set) var maximum: UInt64 = 0

    private var least = UInt64.max
    private var counts: [UInt64]
    /// The first bucket has 2 to the power of this many parts, each of width 1; all others have half as many, as the
    /// lower half of their range belongs to those before.
    private let partBits: Int

    /// An empty one for values from 0 to `highest`.
    ///
    /// - Parameters:
    ///   - highest: at least 2.
    ///   - significantDigits: 1 to 5.
    init(highest: UInt64, significantDigits: Int = 3) {
        precondition(highest >= 2 && (1...5).contains(significantDigits), "a histogram of no use")
        self.significantDigits = significantDigits
        self.highest = highest
        // The upper half of a bucket's parts has values from half the number of parts on: twice 10 to the power of the
        // digits makes one part a 10-to-the-digits-th of them or less.
        let needed = (0..<significantDigits).reduce(UInt64(2)) { product, _ in product * 10 }
        partBits = UInt64.bitWidth - (needed - 1).leadingZeroBitCount
        counts = []
        counts = Array(repeating: 0, count: place(of: highest) + 1)
    }

    /// Adds one value.
    mutating func record(_ value: UInt64) {
        if value > highest { saturated += 1 }
        let value = min(value, highest)
        counts[place(of: value)] += 1
        count += 1
        least = min(least, value)
        maximum = max(maximum, value)
    }

    /// Adds all values of another one of the same range and digits.
    mutating func merge(_ other: HdrHistogram) {
        precondition(
            other.highest == highest && other.significantDigits == significantDigits, "histograms of different shape")
        for place in counts.indices { counts[place] += other.counts[place] }
        count += other.count
        saturated += other.saturated
        least = min(least, other.least)
        maximum = max(maximum, other.maximum)
    }

    /// The value that so many per cent (0 to 100) do not exceed, by nearest rank and within the digits; `nil` if there are
    /// none.
    func value(atPercentile percentile: Double) -> UInt64? {
        guard count > 0 else { return nil }
        // The ends are known exactly.
        guard percentile > 0 else { return minimum }
        guard percentile < 100 else { return maximum }
        let rank = UInt64(max(1, (percentile / 100 * Double(count)).rounded(.up)))
        var passed: UInt64 = 0
        for (place, number) in counts.enumerated() {
            passed += number
            if passed >= rank { return min(max(highestValue(at: place), minimum), maximum) }
        }
        return maximum
    }

    private func place(of value: UInt64) -> Int {
        let bucket = max(0, UInt64.bitWidth - value.leadingZeroBitCount - partBits)
        // From 1 on, the part is in the upper half, so that each bucket goes on where the one before ends.
        return bucket << (partBits - 1) + Int(value >> UInt64(bucket))
    }

    /// The greatest of the values that share a place.
    private func highestValue(at place: Int) -> UInt64 {
        let half = 1 << (partBits - 1)
        let bucket = max(0, place / half - 1)
        return UInt64(place - bucket * half + 1) << UInt64(bucket) &- 1
    }
}

extension HdrHistogram {
    /// What a report says of it, where values are nanoseconds; `nil` if there are none.
    var summary: LatencySummary? {
        let points = Self.percentiles.compactMap { percentile in
            // Beyond what so many values can tell, all points are the greatest.
            let isTold = percentile <= 99.9 || percentile == 100 || Double(count) * (100 - percentile) >= 100
            return isTold
                ? value(atPercentile: percentile).map {
                    LatencySummary.Point(percentile: percentile, latency: Double($0) / 1000)
                } : nil
        }
        return points.isEmpty ? nil : LatencySummary(count: count, points: points)
    }

    /// Denser towards the end, where latencies change: each half of what is left has five.
    private static let percentiles: [Double] = [
        0, 10, 20, 30, 40, 50, 55, 60, 65, 70, 75, 77.5, 80, 82.5, 85, 87.5, 90, 92.5, 95, 96, 97, 97.5, 98, 98.5, 99,
        99.25, 99.5, 99.75, 99.9, 99.925, 99.95, 99.975, 99.99, 99.995, 99.999, 100,
    ]
}
