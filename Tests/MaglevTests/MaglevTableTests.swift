import Maglev
import NetTypes
import TestSupport
import Testing

@testable import struct Maglev.MaglevPermutation

/// The pseudo code of the paper (section 3.4, "Populate Maglev hashing lookup table"), word for word: whole permutation
/// lists and a table of -1. The order of the backends, the two hashes and the line about weights are ours: a backend has
/// had its part of the turns when the heaviest, with one in each round, has had `round` of them.
private func paperTable(_ m: Int, _ backends: [MaglevBackend]) -> [UInt32] {
    let hashes = backends.map { MaglevPermutation($0.identity) }
    let order = backends.indices.sorted { hashes[$0].place < hashes[$1].place }
    let weights = order.map { Int(backends[$0].weight) }
    let heaviest = weights.max() ?? 1
    let permutation = order.map { i in
        let offset = Int(hashes[i].place % UInt64(m))
        let skip = Int(hashes[i].step % UInt64(m - 1)) + 1
        return (0..<m).map { j in (offset + j * skip) % m }
    }
    var next = order.map { _ in 0 }
    var turns = order.map { _ in 0 }
    var entry = [Int](repeating: -1, count: m)
    var n = 0
    for round in 0... {
        for i in order.indices where turns[i] * heaviest <= round * weights[i] {
            var c = permutation[i][next[i]]
            while entry[c] >= 0 {
                next[i] += 1
                c = permutation[i][next[i]]
            }
            entry[c] = i
            next[i] += 1
            turns[i] += 1
            n += 1
            if n == m { return entry.map { UInt32(order[$0]) } }
        }
    }
    return []
}

@Suite struct MaglevTableTests {
    @Test(arguments: [
        (2, 1), (3, 2), (5, 7), (251, 1), (251, 2), (251, 251), (509, 5), (1021, 10), (4093, 40), (2039, 1000),
    ])
    func equalsThePaper(_ size: Int, _ count: Int) throws {
        for family in IPFamily.allCases {
            let members = backends(count, family: family)
            #expect(try table(size, members) == paperTable(size, members))
        }
    }

    @Test(arguments: [31, 32, 33] as [UInt64], [(7, 12), (251, 6), (1021, 30)])
    func equalsThePaperWithWeights(seed: UInt64, _ shape: (size: Int, count: Int)) throws {
        var random = SeededGenerator(seed: seed)
        let members = backends(shape.count).map {
            MaglevBackend(identity: $0.identity, weight: UInt32.random(in: 1...20, using: &random))
        }
        #expect(try table(shape.size, members) == paperTable(shape.size, members))
    }

    @Test("Equal backends own floor or ceil of M/N slots, hence at most 1.01 of the average from M = 100 N on")
    func evenness() throws {
        for (size, n) in [
            (251, 2), (509, 5), (1021, 10), (16_381, 163), (65_537, 655), (65_537, 1000), (131_071, 1000),
        ] {
            let slots = try table(size, backends(n))
            let owned = counts(slots, n)
            #expect(owned.allSatisfy { $0 == size / n || $0 == size / n + 1 })
            let ids = Dictionary(uniqueKeysWithValues: (0..<n).map { (UInt32($0), UInt32(1)) })
            let report = MaglevReport(table: slots.span, weights: ids)
            #expect(report.foreign == 0 && report.shares.map(\.slots) == owned)
            let bound = Double((size + n - 1) / n) * Double(n) / Double(size)
            #expect(abs(report.evenness - bound) < 1e-9)
            if size >= 100 * n { #expect(report.evenness <= 1.01) }
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
    func orderAndIdsDoNotMatter(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let members = backends(50).map {
            MaglevBackend(identity: $0.identity, weight: UInt32.random(in: 0...3, using: &random))
        }
        let expected = try table(4093, members).map { members[Int($0)] }
        let shuffled = members.shuffled(using: &random)
        #expect(try table(4093, shuffled).map { shuffled[Int($0)] } == expected)
        let ids = members.indices.map { UInt32($0 * 7 + 1000) }.shuffled(using: &random)
        let byID = Dictionary(uniqueKeysWithValues: zip(ids, members))
        #expect(try table(4093, members, ids: ids).map { byID[$0] } == expected)
    }

    @Test func earlierTablesDoNotMatter() throws {
        var builder = MaglevBuilder()
        var members = backends(20)
        let expected = try table(2039, members)
        for (size, count) in [(16_381, 120), (251, 1), (3, 3), (509, 2)] {
            _ = try table(size, backends(count, family: .v6), builder: &builder)
            #expect(try table(2039, members, builder: &builder) == expected)
        }
        let removed = members.removeLast()
        _ = try table(2039, members, builder: &builder)
        members.append(removed)
        #expect(try table(2039, members, builder: &builder) == expected)
    }

    @Test func everyPartOfTheIdentityCounts() throws {
        let address = IPAddress(v4: 0xC612_0001)
        let identities = [
            TransportEndpoint(address, 80, .tcp), TransportEndpoint(address, 80, .udp),
            TransportEndpoint(address, 81, .tcp), TransportEndpoint(IPAddress(v4: 0xC612_0002), 80, .tcp),
            TransportEndpoint(IPAddress(v6: 0xC612_0001), 80, .tcp),
        ]
        let other = MaglevBackend(identity: TransportEndpoint(IPAddress(v4: 0xC000_0201), 80, .tcp))
        let tables = try identities.map { try table(251, [MaglevBackend(identity: $0), other]) }
        #expect(Set(tables).count == identities.count)
    }

    @Test func scratchStaysBelowOneMebibyte() throws {
        var builder = MaglevBuilder()
        let members = backends(1000).enumerated().map { MaglevBackend(identity: $1.identity, weight: UInt32($0 + 1)) }
        _ = try table(65_537, members, builder: &builder)
        #expect(builder.scratchBytes > 0 && builder.scratchBytes <= 1 << 20)
    }

    @Test(arguments: [0, 1, 4, 250, 65_536, 65_539 * 3])
    func sizeMustBePrime(_ size: Int) {
        #expect(throws: MaglevError.unusableSize(size)) { try table(size, backends(2)) }
    }

    @Test func badInputLeavesTheTableAlone() {
        let two = backends(2)
        let cases: [(MaglevError, [MaglevBackend], [UInt32])] = [
            (.idCount(backends: 2, ids: 1), two, [1]), (.idCount(backends: 2, ids: 3), two, [1, 2, 3]),
            (.noBackends, [], []), (.noBackends, [MaglevBackend(identity: two[0].identity, weight: 0)], [1]),
            (.duplicateBackend(two[1].identity), two + [two[1]], [1, 2, 3]),
        ]
        for (error, members, ids) in cases {
            var slots = [UInt32](repeating: 42, count: 251)
            var builder = MaglevBuilder()
            var span = slots.mutableSpan
            var thrown: MaglevError?
            do {
                try builder.build(into: &span, backends: members.span, ids: ids.span)
            } catch {
                thrown = error
            }
            #expect(thrown == error)
            #expect(slots.allSatisfy { $0 == 42 })
        }
    }
}
