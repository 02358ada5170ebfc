import Maglev
import NetTypes
import Testing

@Suite struct MaglevDisruptionTests {
    /// The change when the members at `indices` leave, ids staying with the members.
    private func removal(
        of indices: [Int], from members: [MaglevBackend], size: Int
    ) throws -> [MaglevDisruption] {
        var builder = MaglevBuilder()
        let before = try table(size, members, builder: &builder)
        return try indices.map { index in
            var fewer = members
            var ids = members.indices.map { UInt32($0) }
            fewer.remove(at: index)
            ids.remove(at: index)
            let after = try table(size, fewer, ids: ids, builder: &builder)
            let change = MaglevDisruption(from: before.span, to: after.span)
            let share = Double(before.count { $0 == UInt32(index) }) / Double(size)
            #expect(abs(change.necessary - share) < 1e-9, "what must move is the share of the one that left")
            return change
        }
    }

    @Test(arguments: [2, 3, 5, 10])
    func fewBackends(_ n: Int) throws {
        for change in try removal(of: Array(0..<n), from: backends(n), size: 65_537) {
            #expect(change.excess <= 0.003, "\(change)")
        }
    }

    /// The bound holds for the mean; the worst of all thousand removals moves 0.68 % beyond need.
    @Test func aThousandBackends() throws {
        let changes = try removal(of: Array(stride(from: 0, to: 1000, by: 90)), from: backends(1000), size: 65_537)
        let mean = changes.map(\.excess).reduce(0, +) / Double(changes.count)
        #expect(mean <= 0.006)
        #expect(changes.allSatisfy { $0.excess <= 0.007 })
    }

    @Test func weightedBackends() throws {
        let members = backends(10).enumerated().map {
            MaglevBackend(identity: $1.identity, weight: UInt32($0 % 3 + 1))
        }
        for change in try removal(of: Array(0..<10), from: members, size: 65_537) {
            #expect(change.excess <= 0.004, "\(change)")
        }
    }

    @Test func aChangedWeightMovesLittleMoreThanTheShare() throws {
        var members = backends(10)
        let before = try table(65_537, members)
        members[3].weight = 2
        let after = try table(65_537, members)
        let change = MaglevDisruption(from: before.span, to: after.span)
        #expect(change.necessary > 0.08 && change.excess <= 0.004, "\(change)")
    }

    @Test func partsOfTheHashSpace() {
        let cases: [([UInt32], [UInt32], Double, Double)] = [
            ([1, 2, 3], [1, 2, 3], 0, 0), ([1, 2], [2, 1], 1, 0), ([1, 1, 2, 2], [1, 1, 1, 2], 0.25, 0.25),
            ([1, 2], [1, 1, 2, 2], 0, 0), ([1, 2], [1, 2, 2], 1.0 / 6, 1.0 / 6), ([1], [2, 3, 4], 1, 1),
            ([], [1], 0, 0), ([1], [], 0, 0),
        ]
        for (old, new, moved, necessary) in cases {
            let change = MaglevDisruption(from: old.span, to: new.span)
            #expect(abs(change.moved - moved) < 1e-12 && abs(change.necessary - necessary) < 1e-12, "\(old) \(new)")
        }
    }

    @Test func reportCountsMissingAndForeign() {
        let slots: [UInt32] = [1, 1, 2, 9]
        let report = MaglevReport(table: slots.span, weights: [1: 1, 2: 1, 3: 2])
        #expect(report.size == 4 && report.foreign == 1 && report.evenness == 2)
        #expect(report.shares.map(\.id) == [1, 2, 3] && report.shares.map(\.slots) == [2, 1, 0])
        #expect(report.shares.map(\.expected) == [1, 1, 2])
        #expect(MaglevReport(table: [UInt32]().span, weights: [:]).evenness == 0)
    }
}
