import Maglev
import Testing

@Suite struct MaglevSizeTests {
    @Test func classesArePrimeAndRoughlyDouble() {
        for size in MaglevSize.classes {
            #expect(!(2...).prefix { $0 * $0 <= size }.contains { size % $0 == 0 }, "\(size) is not prime")
        }
        for (smaller, larger) in zip(MaglevSize.classes, MaglevSize.classes.dropFirst()) {
            #expect((1.95...2.05).contains(Double(larger) / Double(smaller)), "\(smaller) to \(larger)")
        }
        #expect(MaglevSize.classes.last.map { $0 >= 1 << 24 } == true)
    }

    @Test(arguments: [
        (0, 0), (-1, 0), (1, 251), (2, 251), (3, 509), (5, 509), (6, 1021), (10, 1021), (11, 2039), (100, 16_381),
        (655, 65_537), (656, 131_071), (1000, 131_071), (100_000, 16_777_213), (335_543, 33_554_393),
        (335_544, 33_554_393), (Int.max, 33_554_393),
    ])
    func sizeForBackends(_ n: Int, _ size: Int) {
        #expect(MaglevSize.tableSize(forBackends: n) == size)
    }

    @Test func sizesNeverShrinkAndHoldAHundredSlotsEach() {
        var last = 0
        for n in Array(0...3000) + Array(stride(from: 3001, through: 335_543, by: 997)) {
            let size = MaglevSize.tableSize(forBackends: n)
            #expect(size >= 100 * n && size >= last)
            last = size
        }
    }

    @Test(
        "Only the ratio of weights matters, and the lightest backend is due 100 slots up to a factor of 16",
        arguments: [
            ([], 0), ([0, 0], 0), ([7], 1), ([1, 1, 1], 3), ([500, 500, 500, 0], 3), ([100, 100, 50], 5),
            ([100, 99], 3), ([1, 15], 16), ([1, .max], 32), ([.max, .max], 2),
        ] as [([UInt32], Int)])
    func effectiveBackends(_ weights: [UInt32], _ expected: Int) {
        #expect(MaglevSize.effectiveBackends(weights: weights) == expected)
        #expect(MaglevSize.tableSize(forWeights: weights) == MaglevSize.tableSize(forBackends: expected))
    }
}
