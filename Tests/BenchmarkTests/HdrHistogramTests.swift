import TestSupport
import Testing

@testable import Benchmark

@Suite struct HdrHistogramTests {
    private static let percentiles: [Double] = [0, 0.1, 1, 10, 25, 50, 75, 90, 99, 99.9, 99.99, 100]

    /// Numbers of all magnitudes alike.
    private static func numbers(_ count: Int, highest: UInt64, _ random: inout SeededGenerator) -> [UInt64] {
        let bits = UInt64.bitWidth - highest.leadingZeroBitCount
        return (0..<count).map { _ in min(highest, random.next() >> UInt64(64 - random.below(bits) - 1)) }
    }

    private static func nearestRank(_ percentile: Double, _ sorted: [UInt64]) -> UInt64 {
        sorted[max(1, Int((percentile / 100 * Double(sorted.count)).rounded(.up))) - 1]
    }

    @Test(arguments: 1...5) func percentilesAreThoseOfTheNumbersWithinTheDigits(_ digits: Int) throws {
        var random = SeededGenerator(seed: UInt64(digits))
        for highest: UInt64 in [2, 1000, 2047, 2048, 1 << 20, 100_000_000_000, 1 << 40 - 1] {
            for count in [1, 2, 3, 100, 5000] {
                let numbers = Self.numbers(count, highest: highest, &random)
                var histogram = HdrHistogram(highest: highest, significantDigits: digits)
                for number in numbers { histogram.record(number) }
                let sorted = numbers.sorted()
                #expect(histogram.count == count)
                #expect(histogram.minimum == sorted.first && histogram.maximum == sorted.last)
                #expect(histogram.saturated == 0)
                for percentile in Self.percentiles {
                    let exact = Double(Self.nearestRank(percentile, sorted))
                    let told = Double(try #require(histogram.value(atPercentile: percentile)))
                    let error = (0..<digits).reduce(exact) { error, _ in error / 10 }
                    #expect(
                        told >= exact && told - exact <= error,
                        "\(percentile) % of \(count) up to \(highest) with \(digits) digits: \(told), not \(exact)")
                }
            }
        }
    }

    @Test func neighboursAtTheEdgesOfBucketsAreToldApart() {
        for exponent in 1...36 {
            let edge = UInt64(1) << UInt64(exponent)
            for value in [edge - 1, edge, edge + 1] {
                var histogram = HdrHistogram(highest: 1 << 37)
                histogram.record(0)
                histogram.record(value)
                histogram.record(1 << 37)
                let middle = histogram.value(atPercentile: 50) ?? 0
                #expect(middle >= value && Double(middle - value) <= Double(value) / 1000, "\(value)")
            }
        }
    }

    @Test func mergingIsRecordingTogether() {
        var random = SeededGenerator(seed: 7)
        var (all, merged) = (HdrHistogram(highest: 1 << 30), HdrHistogram(highest: 1 << 30))
        for size in [0, 1, 10, 1000] {
            var part = HdrHistogram(highest: 1 << 30)
            // Some of them too great.
            for number in Self.numbers(size, highest: 1 << 31, &random) {
                part.record(number)
                all.record(number)
            }
            merged.merge(part)
        }
        #expect(merged == all)
        #expect(all.saturated > 0)
    }

    @Test func whatIsTooGreatCountsAsTheHighest() {
        var histogram = HdrHistogram(highest: 1000)
        for value: UInt64 in [1, 1000, 1001, .max] { histogram.record(value) }
        #expect(histogram.count == 4 && histogram.saturated == 2)
        #expect(histogram.maximum == 1000)
        #expect(histogram.value(atPercentile: 75) == 1000)
    }

    @Test func nothingRecordedTellsNothing() {
        let empty = HdrHistogram(highest: 1000)
        #expect(empty.value(atPercentile: 50) == nil)
        #expect(empty.summary == nil)
        #expect(empty.minimum == 0 && empty.maximum == 0)
    }

    @Test func theSummaryIsACurveInMicroseconds() throws {
        var histogram = HdrHistogram(highest: 1 << 40)
        for number in 1...100_000 { histogram.record(UInt64(number) * 1000) }
        let summary = try #require(histogram.summary)
        #expect(summary.count == 100_000)
        #expect(summary[0] == 1 && summary[100] == 100_000)
        for (percentile, latency) in [(50.0, 50_000.0), (90, 90_000), (99, 99_000), (99.9, 99_900), (99.999, 99_999)] {
            let told = try #require(summary[percentile])
            #expect(told >= latency && told <= latency * 1.001)
        }
        #expect(summary.points.count > 30)
        for (point, next) in zip(summary.points, summary.points.dropFirst()) {
            #expect(point.percentile < next.percentile && point.latency <= next.latency)
        }
        var few = HdrHistogram(highest: 1 << 40)
        for number in 1...1000 { few.record(UInt64(number)) }
        let told = try #require(few.summary).points.map(\.percentile)
        #expect(told.contains(99.9) && !told.contains(99.99) && told.last == 100)
    }
}
