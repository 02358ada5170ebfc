public import NetTypes

/// Why a Maglev table cannot be built.
public enum MaglevError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The table's size is not a prime below 2^31.
    case unusableSize(Int)
    /// There is not one id for each backend.
    case idCount(backends: Int, ids: Int)
    /// Two members with a weight above 0 have this identity.
    case duplicateBackend(TransportEndpoint)
    /// No member has a weight above 0.
    case noBackends

    /// What is wrong and what to do about it.
    public var description: String {
        switch self {
        case .unusableSize(let size):
            "a Maglev table cannot have \(size) slots: choose a prime below 2^31, such as 65537"
        case .idCount(let backends, let ids):
            "\(ids) ids for \(backends) Maglev backends: pass one id for each backend"
        case .duplicateBackend(let identity):
            "Maglev backend \(identity) is listed twice: list it once, with the sum of the weights"
        case .noBackends:
            "no Maglev backend has a weight above 0: an empty set has no table"
        }
    }
}

/// Builds Maglev lookup tables (Eisenbud et al., NSDI 2016, section 3.4) and keeps its scratch memory between builds.
///
/// A table is a function of its size and of the set of (identity, weight) alone: not of the order of the input, of ids
/// or of earlier tables. Backends take turns in the order of a hash of their identity; in its turn a backend takes the
/// next free slot of its own permutation, about M ln M probes in all.
///
/// Of N backends of equal weight each owns floor(M/N) or ceil(M/N) slots. With weights, the heaviest backend has a turn
/// in every round and a backend of weight w in w of W rounds, evenly spread, where W is the largest weight; all have one
/// in the first. Of a backend due s slots, more than s × (1 - N/M) - 1 and less than s + 2 are its own, and at least
/// one is, if M is not less than N. Spreading the turns, not ending them when a share is reached, keeps the order in
/// which slots are taken, and so most slots, as they are when a backend or a weight changes.
///
/// One builder serves one task at a time; it holds about 60 KiB after a table of 65537 slots and 1000 backends.
public struct MaglevBuilder: ~Copyable, Sendable {
    private struct Member {
        let permutation: MaglevPermutation
        let index: Int
    }

    private var members: [Member] = []
    private var turns: [MaglevTurn] = []
    private var agenda: [UInt64] = []
    private var taken: [UInt64] = []

    /// A builder without scratch memory; the first build allocates it.
    public init() {}

    /// Bytes of scratch memory held for reuse.
    public var scratchBytes: Int {
        members.capacity * MemoryLayout<Member>.stride + turns.capacity * MemoryLayout<MaglevTurn>.stride
            + (agenda.capacity + taken.capacity) * MemoryLayout<UInt64>.stride
    }

    /// Writes a table over all of `table`, whose length is the size M.
    ///
    /// - Parameters:
    ///   - table: Receives in each slot the id of its backend. Written only when nothing is thrown. M is prime, usually
    ///     from ``MaglevSize``; when it is less than the number of backends, some of them get no slot.
    ///   - backends: The members in any order. Members of weight 0 are left out.
    ///   - ids: What to write for each member, in the order of `backends`. Any value will do.
    /// - Throws: ``MaglevError`` for input no table can be built from.
    public mutating func build(
        into table: inout MutableSpan<UInt32>, backends: Span<MaglevBackend>, ids: Span<UInt32>
    ) throws(MaglevError) {
        guard table.count < MaglevSize.largestSize, MaglevSize.isPrime(table.count) else {
            throw .unusableSize(table.count)
        }
        guard backends.count == ids.count else { throw .idCount(backends: backends.count, ids: ids.count) }
        try rank(backends)
        let m = UInt32(table.count)
        turns.removeAll(keepingCapacity: true)
        turns.reserveCapacity(members.count)
        for member in members {
            let permutation = member.permutation
            turns.append(
                MaglevTurn(
                    next: permutation.offset(m), skip: permutation.skip(m), id: ids[member.index],
                    weight: backends[member.index].weight))
        }
        taken.removeAll(keepingCapacity: true)
        taken.append(contentsOf: repeatElement(0, count: (table.count + 63) / 64))
        let heaviest = turns.reduce(0) { max($0, $1.weight) }
        if turns.allSatisfy({ $0.weight == heaviest }) {
            Self.takeEqualTurns(&turns, &taken, &table)
        } else {
            agenda.removeAll(keepingCapacity: true)
            agenda.append(contentsOf: turns.indices.lazy.map { UInt64($0) })
            Self.takeWeightedTurns(&turns, &agenda, heaviest: heaviest, &taken, &table)
        }
    }

    /// Puts the usable backends into the order of their turns.
    private mutating func rank(_ backends: Span<MaglevBackend>) throws(MaglevError) {
        members.removeAll(keepingCapacity: true)
        members.reserveCapacity(backends.count)
        for index in backends.indices where backends[index].weight > 0 {
            members.append(Member(permutation: MaglevPermutation(backends[index].identity), index: index))
        }
        guard !members.isEmpty else { throw .noBackends }
        members.sort {
            ($0.permutation.place, $0.permutation.step) < ($1.permutation.place, $1.permutation.step)
        }
        // Identities that agree in both 64-bit hashes are taken for the same one.
        for index in members.indices.dropFirst() {
            let (a, b) = (members[index - 1].permutation, members[index].permutation)
            if a.place == b.place, a.step == b.step {
                throw .duplicateBackend(backends[members[index].index].identity)
            }
        }
    }

    /// Fills the table in rounds in which each backend takes one slot.
    private static func takeEqualTurns(
        _ turns: inout [MaglevTurn], _ taken: inout [UInt64], _ table: inout MutableSpan<UInt32>
    ) {
        var turns = turns.mutableSpan
        var taken = taken.mutableSpan
        var left = table.count
        while left > 0 {
            let round = min(left, turns.count)
            for index in 0..<round { turns[unchecked: index].take(&taken, &table) }
            left -= round
        }
    }

    /// Fills the table in rounds in which a backend takes part according to its weight.
    ///
    /// The agenda is a heap of each backend's next turn, round << 32 | index, so that rounds a light backend sits out
    /// cost nothing, whatever the weights. Turn k of weight w is in round ceil(k × heaviest / w). On entry it holds
    /// each backend in round 0, by index.
    private static func takeWeightedTurns(
        _ turns: inout [MaglevTurn], _ agenda: inout [UInt64], heaviest: UInt32, _ taken: inout [UInt64],
        _ table: inout MutableSpan<UInt32>
    ) {
        var turns = turns.mutableSpan
        var agenda = agenda.mutableSpan
        var taken = taken.mutableSpan
        for _ in 0..<table.count {
            let index = Int(agenda[0] & 0xFFFF_FFFF)
            turns[index].take(&taken, &table)
            turns[index].count += 1
            let weight = UInt64(turns[index].weight)
            let round = (UInt64(turns[index].count) * UInt64(heaviest) + weight - 1) / weight
            // The table is full before round M, below 2^31: later turns may all share one round.
            replaceFirst(&agenda, with: min(round, UInt64(UInt32.max)) << 32 | UInt64(index))
        }
    }

    /// Replaces the least element of a binary heap.
    private static func replaceFirst(_ heap: inout MutableSpan<UInt64>, with element: UInt64) {
        var hole = 0
        while true {
            var child = 2 * hole + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
            guard heap[child] < element else { break }
            heap[hole] = heap[child]
            hole = child
        }
        heap[hole] = element
    }
}
