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
/// next free slot of its own permutation. A backend takes no more turns once it has its share by weight, so shares are
/// exact to a slot, and equal weights build the table of the paper. The work is about M ln M probes in all.
///
/// One builder serves one task at a time; it holds about 60 KiB after a table of 65537 slots and 1000 backends.
public struct MaglevBuilder: ~Copyable, Sendable {
    private struct Member {
        let permutation: MaglevPermutation
        let index: Int
    }

    private var members: [Member] = []
    private var turns: [MaglevTurn] = []
    private var taken: [UInt64] = []
    private var quota = SlotQuota()

    /// A builder without scratch memory; the first build allocates it.
    public init() {}

    /// Bytes of scratch memory held for reuse.
    public var scratchBytes: Int {
        members.capacity * MemoryLayout<Member>.stride + turns.capacity * MemoryLayout<MaglevTurn>.stride
            + taken.capacity * MemoryLayout<UInt64>.stride + quota.scratchBytes
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
                    quota: backends[member.index].weight))
        }
        quota.assign(&turns, slots: m)
        fill(&table)
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

    /// Lets the backends take turns until every quota, and with them the table, is used up.
    private mutating func fill(_ table: inout MutableSpan<UInt32>) {
        taken.removeAll(keepingCapacity: true)
        taken.append(contentsOf: repeatElement(0, count: (table.count + 63) / 64))
        turns.removeAll { $0.quota == 0 }
        // Whole rounds until the first backend has its share, so that the inner loop has no quota to look at.
        while let rounds = turns.lazy.map(\.quota).min() {
            Self.run(rounds, &turns, &taken, &table)
            for index in turns.indices { turns[index].quota -= rounds }
            turns.removeAll { $0.quota == 0 }
        }
    }

    /// `rounds` rounds in which each backend takes one slot.
    ///
    /// Unchecked accesses are in bounds: `next` and `skip` are below M = `table.count`, so a sum is brought below M by
    /// one subtraction, and `taken` has a bit for each slot. The probe ends: the quotas sum up to M, so a slot is free
    /// at each turn, and M is prime, so the permutation reaches it.
    private static func run(
        _ rounds: UInt32, _ turnArray: inout [MaglevTurn], _ takenArray: inout [UInt64],
        _ table: inout MutableSpan<UInt32>
    ) {
        var turns = turnArray.mutableSpan
        var taken = takenArray.mutableSpan
        let m = UInt32(table.count)
        for _ in 0..<rounds {
            for index in 0..<turns.count {
                let turn = turns[unchecked: index]
                var slot = turn.next
                var word = Int(slot >> 6)
                var bit = UInt64(1) << UInt64(slot & 63)
                var bits = taken[unchecked: word]
                while bits & bit != 0 {
                    slot &+= turn.skip
                    if slot >= m { slot &-= m }
                    word = Int(slot >> 6)
                    bit = UInt64(1) << UInt64(slot & 63)
                    bits = taken[unchecked: word]
                }
                taken[unchecked: word] = bits | bit
                table[unchecked: Int(slot)] = turn.id
                slot &+= turn.skip
                if slot >= m { slot &-= m }
                turns[unchecked: index].next = slot
            }
        }
    }
}
