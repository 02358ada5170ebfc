import Benchmark
import Testing

@Suite struct StatisticsTests {
    @Test(
        arguments: [
            ([5], 5, 5, 5), ([3, 1, 2], 1, 2, 3), ([4, 1, 3, 2], 1, 2.5, 4), ([2, 2, 90], 2, 2, 90),
        ] as [([Double], Double, Double, Double)])
    func leastMedianGreatest(_ samples: [Double], _ min: Double, _ median: Double, _ max: Double) throws {
        let statistics = try #require(Statistics(samples))
        #expect(statistics.min == min)
        #expect(statistics.median == median)
        #expect(statistics.max == max)
        #expect(statistics.count == samples.count)
        #expect(statistics.spread == (max - min) / median)
    }

    @Test func nothingHasNoStatistics() {
        #expect(Statistics([Double]()) == nil)
    }

    @Test func aMedianOfZeroHasNoSpread() {
        #expect(Statistics([-1.0, 0, 1])?.spread == nil)
    }
}
