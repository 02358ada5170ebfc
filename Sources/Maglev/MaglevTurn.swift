/// One backend's state while a table is filled.
struct MaglevTurn {
    /// The slot its permutation is at, below M.
    private var next: UInt32
    /// The distance to the next slot of the permutation, from 1 to M - 1.
    private let skip: UInt32
    private let id: UInt32
    /// Its weight, above 0.
    let weight: UInt32
    /// Turns had; counted with unequal weights only.
    var count: UInt32 = 0

    init(next: UInt32, skip: UInt32, id: UInt32, weight: UInt32) {
        self.next = next
        self.skip = skip
        self.id = id
        self.weight = weight
    }

    /// Takes the next free slot of the permutation. There must be one.
    ///
    /// Unchecked accesses are in bounds: `next` and `skip` are below M = `table.count`, so that one subtraction brings
    /// their sum below M again, and `taken` has a bit for each slot. The probe ends because M is prime: the permutation
    /// reaches every slot, thus the free one.
    @inline(__always)
    mutating func take(_ taken: inout MutableSpan<UInt64>, _ table: inout MutableSpan<UInt32>) {
        let m = UInt32(truncatingIfNeeded: table.count)
        var slot = next
        while taken[unchecked: Int(slot >> 6)] & (1 << UInt64(slot & 63)) != 0 { slot = after(slot, m) }
        taken[unchecked: Int(slot >> 6)] |= 1 << UInt64(slot & 63)
        table[unchecked: Int(slot)] = id
        next = after(slot, m)
    }

    /// The next slot of the permutation: the sum, or that less M. Of the two the one below M is the lesser, for less M the
    /// sum wraps around unless it is M or more. No branch, which could not be predicted: it would take most of the time.
    @inline(__always)
    private func after(_ slot: UInt32, _ m: UInt32) -> UInt32 { min(slot &+ skip, slot &- (m &- skip)) }
}
