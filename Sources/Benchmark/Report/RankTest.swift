internal import Glibc

/// The rank-sum test of Mann and Whitney ("On a test of whether one of two random variables is stochastically larger than
/// the other", Annals of Mathematical Statistics 18, 1947).
///
/// It asks no more of samples than that they can be ordered: durations on a busy machine are far from any bell curve.
enum RankTest {
    /// How likely samples of one and the same distribution are at least as far apart in rank, on either side.
    ///
    /// Up to 40 samples in all the probability is exact, ties included: all ways to deal the (mean) ranks out are counted.
    /// Beyond, it is the normal approximation, corrected for ties and continuity. 1 when either has no samples.
    static func probability(_ a: [Double], _ b: [Double]) -> Double {
        guard !a.isEmpty, !b.isEmpty else { return 1 }
        let (ranks, ties) = doubledRanks(a + b)
        let sum = ranks[..<a.count].reduce(0, +)
        return ranks.count <= 40
            ? exact(ranks, count: a.count, sum: sum) : approximate(ranks.count, count: a.count, sum: sum, ties: ties)
    }

    /// Twice the rank of each value, so that mean ranks are whole, and the sizes of groups of equal values.
    private static func doubledRanks(_ values: [Double]) -> (ranks: [Int], ties: [Int]) {
        let order = values.indices.sorted { values[$0] < values[$1] }
        var ranks = [Int](repeating: 0, count: values.count)
        var ties: [Int] = []
        var start = 0
        while start < order.count {
            var end = start + 1
            while end < order.count, values[order[end]] == values[order[start]] { end += 1 }
            // The mean of ranks start + 1 to end, twice.
            for position in start..<end { ranks[order[position]] = start + 1 + end }
            ties.append(end - start)
            start = end
        }
        return (ranks, ties)
    }

    private static func exact(_ ranks: [Int], count: Int, sum: Int) -> Double {
        let total = ranks.reduce(0, +)
        // ways[k][s]: in how many ways k of the ranks so far sum to s.
        var ways = [[Double]](repeating: [Double](repeating: 0, count: total + 1), count: count + 1)
        ways[0][0] = 1
        for rank in ranks {
            for taken in stride(from: count, to: 0, by: -1) {
                for partial in stride(from: total, through: rank, by: -1) {
                    ways[taken][partial] += ways[taken - 1][partial - rank]
                }
            }
        }
        // Distance from the expected sum, times the number of ranks to stay whole.
        let distance = { (value: Int) in abs(value * ranks.count - total * count) }
        let all = ways[count].reduce(0, +)
        let far = ways[count].indices.reduce(0) {
            distance($1) >= distance(sum) ? $0 + ways[count][$1] : $0
        }
        return far / all
    }

    private static func approximate(_ all: Int, count: Int, sum: Int, ties: [Int]) -> Double {
        let (n, m, total) = (Double(count), Double(all - count), Double(all))
        let tied = ties.reduce(0.0) { $0 + Double($1) * (Double($1) * Double($1) - 1) }
        let variance = n * m / 12 * (total + 1 - tied / (total * (total - 1)))
        guard variance > 0 else { return 1 }
        let distance = abs(Double(sum) / 2 - n * (total + 1) / 2) - 0.5
        return erfc(max(0, distance) / (2 * variance).squareRoot())
    }
}
