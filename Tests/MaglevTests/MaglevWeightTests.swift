import Maglev
import NetTypes
import TestSupport
import Testing

@Suite struct MaglevWeightTests {
    private func weighted(_ weights: [UInt32]) -> [MaglevBackend] {
        zip(backends(weights.count), weights).map { MaglevBackend(identity: $0.identity, weight: $1) }
    }

    @Test(arguments: [2, 100, .max] as [UInt32])
    func equalWeightsBuildTheUnweightedTable(_ weight: UInt32) throws {
        for (size, n) in [(251, 2), (1021, 10), (16_381, 100)] {
            #expect(try table(size, weighted([UInt32](repeating: weight, count: n))) == table(size, backends(n)))
        }
    }

    @Test(
        "A backend due s slots owns more than s(1 - N/M) - 1 and less than s + 2",
        arguments: [
            [1, 2], [1, 2, 3, 4, 5], [100, 100, 50, 25], [3, 0, 5], [1, 1, 1, 1000 - 3], [.max, .max - 1, .max / 2],
            [17, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4],
        ] as [[UInt32]])
    func proportional(_ weights: [UInt32]) throws {
        for size in [4093, 16_381, 65_537] {
            let slots = try table(size, weighted(weights))
            let byID = Dictionary(uniqueKeysWithValues: weights.enumerated().map { (UInt32($0.offset), $0.element) })
            for share in MaglevReport(table: slots.span, weights: byID).shares {
                let lower = share.expected * (1 - Double(weights.count) / Double(size)) - 1
                #expect(Double(share.slots) > lower && Double(share.slots) < share.expected + 2, "\(share)")
            }
        }
    }

    @Test(arguments: [11, 12, 13, 14] as [UInt64])
    func randomWeightsAreProportional(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let weights = (0..<60).map { _ in UInt32.random(in: 1...100, using: &random) }
        let slots = try table(8191, weighted(weights))
        let byID = Dictionary(uniqueKeysWithValues: weights.enumerated().map { (UInt32($0.offset), $0.element) })
        for share in MaglevReport(table: slots.span, weights: byID).shares {
            #expect(Double(share.slots) > share.expected * (1 - 60.0 / 8191) - 1)
            #expect(Double(share.slots) < share.expected + 2)
        }
    }

    @Test func theSizeForWeightsGivesTheLightestAboutAHundredSlots() throws {
        for weights in [[1, 2, 3], [10, 90], [7, 7, 7, 50], [1, 15, 15]] as [[UInt32]] {
            let size = MaglevSize.tableSize(forWeights: weights)
            #expect(counts(try table(size, weighted(weights)), weights.count).allSatisfy { $0 >= 98 })
        }
    }

    @Test("A weight above 0 is never out of reach while there is a slot for each, a weight of 0 always")
    func extremes() throws {
        let few = counts(try table(251, weighted([.max, 1, 1, 0, 1])), 5)
        #expect(few == [248, 1, 1, 0, 1])
        let many = counts(try table(251, weighted([UInt32](repeating: 1, count: 250) + [.max])), 251)
        #expect(many.allSatisfy { $0 == 1 })
        let tooMany = counts(try table(5, weighted([1, 1, 1, 1, 1, 1, 100])), 7)
        #expect(tooMany.reduce(0, +) == 5 && tooMany.allSatisfy { $0 <= 1 })
    }
}
