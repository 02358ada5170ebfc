/// One backend's state while a table is filled.
struct MaglevTurn {
    /// The slot its permutation is at.
    var next: UInt32
    /// The distance to the next slot of the permutation.
    let skip: UInt32
    /// What is written into its slots.
    let id: UInt32
    /// Slots it may still take.
    var quota: UInt32
}

/// Divides the slots of a table among backends by weight.
///
/// Largest remainders (Hamilton's method): every quota is the exact share rounded down or up. Remainders that are equal
/// in 32 bits go to the earlier turn; with equal weights the first M mod N turns get the extra slot, which is what the
/// paper's algorithm does. While there is a slot for each, a backend whose exact share is below one gets one, and the
/// others divide what is left: a positive weight is never out of reach.
struct SlotQuota: Sendable {
    private var remainders: [UInt64] = []

    /// Bytes held for reuse.
    var scratchBytes: Int { remainders.capacity * MemoryLayout<UInt64>.stride }

    /// Sets the quota of each turn. On entry `quota` holds the weight, which is above 0.
    mutating func assign(_ turns: inout [MaglevTurn], slots: UInt32) {
        if turns.allSatisfy({ $0.quota == turns[0].quota }) {
            let (each, extra) = slots.quotientAndRemainder(dividingBy: UInt32(turns.count))
            for index in turns.indices { turns[index].quota = each + (index < extra ? 1 : 0) }
        } else {
            assignByWeight(&turns, slots: slots)
        }
    }

    private mutating func assignByWeight(_ turns: inout [MaglevTurn], slots: UInt32) {
        var pool = UInt64(slots)
        var weights = turns.reduce(UInt64(0)) { $0 + UInt64($1.quota) }
        remainders.removeAll(keepingCapacity: true)
        remainders.append(contentsOf: repeatElement(0, count: turns.count))
        if turns.count <= slots { settleLight(&turns, pool: &pool, weights: &weights) }

        var left = pool
        for index in turns.indices where remainders[index] != Self.settled {
            let (share, rest) = (UInt64(turns[index].quota) * pool).quotientAndRemainder(dividingBy: weights)
            // The remainder as a 32-bit fraction, inverted: ascending order puts the largest first, then the turn.
            let fraction = weights.dividingFullWidth((rest >> 32, rest << 32)).quotient
            remainders[index] = (0xFFFF_FFFF - fraction) << 32 | UInt64(index)
            turns[index].quota = UInt32(share)
            left -= share
        }
        remainders.sort()
        for key in remainders.prefix(Int(left)) { turns[Int(key & 0xFFFF_FFFF)].quota += 1 }
    }

    /// Marks a turn whose quota is final; sorts after every remainder.
    private static let settled = UInt64.max

    /// Gives one slot to each backend that is due less than one. Each one settled lowers what a unit of weight is worth
    /// to the others, hence the repetition.
    private mutating func settleLight(_ turns: inout [MaglevTurn], pool: inout UInt64, weights: inout UInt64) {
        var settledOne = true
        while settledOne {
            settledOne = false
            for index in turns.indices where remainders[index] != Self.settled {
                let weight = UInt64(turns[index].quota)
                guard weight * pool < weights else { continue }
                remainders[index] = Self.settled
                turns[index].quota = 1
                pool -= 1
                weights -= weight
                settledOne = true
            }
        }
    }
}
