import NeedletailABI
import Planning
import TestSupport
import Testing

/// Behaves as a dictionary, in the order of ids.
@Suite struct IDTableTests {
    @Test(arguments: 0..<20) func isADictionary(_ run: Int) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        var table = IDTable<SetID, Int>()
        var expected: [UInt32: Int] = [:]
        for step in 0..<500 {
            let id = UInt32(random.below(step < 250 ? 40 : 4))
            let record = random.below(3) == 0 ? nil : random.below(100)
            table[SetID(rawValue: id)] = record
            expected[id] = record
            #expect(table.count == expected.count && table.isEmpty == expected.isEmpty, "seed \(seed), step \(step)")
        }
        #expect(table.keys.map(\.rawValue) == expected.keys.sorted(), "seed \(seed)")
        #expect(Array(table.values) == expected.sorted { $0.key < $1.key }.map(\.value), "seed \(seed)")
        #expect((0..<100).allSatisfy { table[SetID(rawValue: $0)] == expected[$0] }, "seed \(seed)")
    }

    @Test func whatHasBeenTakenAwayMakesNoDifference() {
        var one = IDTable<SetID, Int>()
        var other = one
        other[SetID(rawValue: 7)] = 1
        #expect(one != other)
        other[SetID(rawValue: 7)] = nil
        #expect(one == other && other == one)
        one[SetID(rawValue: 2)] = 5
        other[SetID(rawValue: 2)] = 6
        #expect(one != other && other != one)
        other[SetID(rawValue: 2)] = 5
        #expect(one == other && other == one)
    }
}
