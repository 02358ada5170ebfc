import Testing

@testable import Benchmark

@Suite struct RankTestTests {
    /// The probabilities are fractions of all ways to deal out the ranks: 2 of 252 for 5 against 5, wholly apart.
    @Test(
        "Exact probabilities of small samples",
        arguments: [
            ([1, 2, 3], [4, 5, 6], 2.0 / 20), ([4, 5, 6], [1, 2, 3], 2.0 / 20),
            ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], 2.0 / 252), ([1, 4], [2, 3], 1), ([1, 3], [2, 4], 4.0 / 6),
            ([1, 2], [3, 4, 5], 2.0 / 10), ([7], [7], 1), ([1, 1, 1], [1, 1, 1], 1), ([1, 1, 1], [2, 2, 2], 2.0 / 20),
            // Mean ranks 1.5 1.5 3 4: of 6 pairs, only {1.5, 1.5} and {3, 4} are as far from 5.
            ([1, 1], [2, 3], 2.0 / 6),
            ([], [1, 2], 1), ([1], [], 1),
        ] as [([Double], [Double], Double)])
    func exact(_ a: [Double], _ b: [Double], _ expected: Double) {
        #expect(abs(RankTest.probability(a, b) - expected) < 1e-9)
    }

    /// The normal approximation and the exact count must meet where one takes over from the other.
    @Test(arguments: 1...12) func approximationMeetsTheExactCount(_ seed: UInt64) {
        var generator = Seeded(seed)
        let a = (0..<20).map { _ in Double(Int.random(in: 0..<200, using: &generator)) }
        let b = (0..<20).map { _ in Double(Int.random(in: 20..<220, using: &generator)) }
        let exact = RankTest.probability(a, b)
        // One sample more on each side, in the middle of all, changes little.
        let middle = (a + b).sorted()[20]
        let approximate = RankTest.probability(a + [middle], b + [middle])
        #expect(abs(exact - approximate) < 0.05, "seed \(seed): \(exact) \(approximate)")
    }

    @Test("Samples of one distribution are called different about as seldom as promised")
    func falseAlarms() {
        var generator = Seeded(7)
        let trials = 4000
        let alarms = (0..<trials).count { _ in
            let samples = (0..<12).map { _ in Double.random(in: 0...1, using: &generator) }
            return RankTest.probability(Array(samples[..<6]), Array(samples[6...])) < 0.01
        }
        // Exactly 8 of 924 deals are below 0.01; five standard deviations of leeway.
        #expect(abs(Double(alarms) - Double(trials) * 8 / 924) < 30, "\(alarms)")
    }
}
