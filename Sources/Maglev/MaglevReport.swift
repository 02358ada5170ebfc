/// How a table divides its slots among backends.
public struct MaglevReport: Sendable, Hashable {
    /// One backend's part.
    public struct Share: Sendable, Hashable {
        /// The id in the table.
        public let id: UInt32
        /// The weight the table is expected to reflect.
        public let weight: UInt32
        /// Slots owned.
        public let slots: Int
        /// The part of all slots that the weight calls for, in slots.
        public let expected: Double
    }

    /// Slots in the table.
    public let size: Int
    /// A share for each expected backend, by id, also for those without a slot.
    public let shares: [Share]
    /// Slots that hold an id that is not expected.
    public let foreign: Int

    /// Counts a table.
    ///
    /// - Parameters:
    ///   - table: The slots.
    ///   - weights: The weight of each id that the table should hold.
    public init(table: Span<UInt32>, weights: [UInt32: UInt32]) {
        var counts: [UInt32: Int] = [:]
        for slot in table.indices { counts[table[slot], default: 0] += 1 }
        let total = weights.values.reduce(0.0) { $0 + Double($1) }
        let size = table.count
        self.size = size
        foreign = counts.reduce(0) { $0 + (weights[$1.key] == nil ? $1.value : 0) }
        shares = weights.sorted { $0.key < $1.key }.map { id, weight in
            let expected = total > 0 ? Double(size) * Double(weight) / total : 0
            return Share(id: id, weight: weight, slots: counts[id] ?? 0, expected: expected)
        }
    }

    /// The largest ratio of slots owned to slots expected: 1 is perfect, 1.01 means that the busiest backend gets one
    /// percent more than its due. With equal weights, the maximum over the average. 0 when there is nothing to compare.
    public var evenness: Double {
        shares.filter { $0.expected > 0 }.map { Double($0.slots) / $0.expected }.max() ?? 0
    }
}

/// What a change of tables does to flows that have no state, as parts (0 to 1) of the hash space.
public struct MaglevDisruption: Sendable, Hashable {
    /// The part whose backend differs.
    public let moved: Double
    /// The part that had to move for the backends to have the sizes they have in the new table: what the shrinking ones
    /// lost.
    public let necessary: Double

    /// The part that moved without need.
    public var excess: Double { moved - necessary }

    /// Compares two tables, of the same size or not. An empty one gives every flow to nobody, which counts as no move.
    ///
    /// Both tables cut the hash space into equal parts, in order; the walk goes over the cuts of both. A part of the
    /// space is measured in units of 1 / (old size × new size), so that counting is exact.
    public init(from old: Span<UInt32>, to new: Span<UInt32>) {
        guard !old.isEmpty, !new.isEmpty else {
            moved = 0
            necessary = 0
            return
        }
        var movedUnits = 0
        var gains: [UInt32: Int] = [:]
        var (i, j, position) = (0, 0, 0)
        while i < old.count, j < new.count {
            let (oldEnd, newEnd) = ((i + 1) * new.count, (j + 1) * old.count)
            let end = min(oldEnd, newEnd)
            if old[i] != new[j] {
                movedUnits += end - position
                gains[old[i], default: 0] -= end - position
                gains[new[j], default: 0] += end - position
            }
            if oldEnd == end { i += 1 }
            if newEnd == end { j += 1 }
            position = end
        }
        let units = Double(old.count) * Double(new.count)
        moved = Double(movedUnits) / units
        necessary = Double(gains.values.reduce(0) { $0 + max(0, -$1) }) / units
    }
}
