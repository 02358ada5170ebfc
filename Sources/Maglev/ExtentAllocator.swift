/// A run of lines in the array of Maglev slots.
public struct Extent: Sendable, Hashable, CustomStringConvertible {
    /// The first line.
    public let base: Int
    /// The number of lines.
    public let lines: Int

    /// A run of `lines` lines from line `base` on.
    public init(base: Int, lines: Int) {
        self.base = base
        self.lines = lines
    }

    /// `LINES lines from BASE`.
    public var description: String { "\(lines) lines from \(base)" }
}

/// A contradiction between an allocator and its user: the extents in the maps and the allocator disagree.
public enum ExtentError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The extent is empty or does not lie within the capacity.
    case outOfRange(Extent, capacity: Int)
    /// Some of the extent is already occupied (when taken) or already free (when freed).
    case overlap(Extent)

    /// What is wrong and what to do about it.
    public var description: String {
        switch self {
        case .outOfRange(let extent, let capacity):
            "the extent of \(extent) is not within the \(capacity) lines of the slot array: rebuild the table from its backends"
        case .overlap(let extent):
            "the extent of \(extent) is already taken or already free in part: rebuild the tables from their backends"
        }
    }
}

/// Hands out extents of the slot array, first fit, in lines of 16 slots.
///
/// Sixteen 4-byte slots are a cache line, so no two tables share one, and base and length of an extent fit 28 bits each
/// for any array with 32-bit slot numbers. Free extents are kept sorted and merged. All work is linear in their number.
public struct ExtentAllocator: Sendable {
    /// Slots in a line.
    public static let slotsPerLine = 16

    /// Lines in all.
    public let capacity: Int
    /// Lines handed out.
    public private(set) var used = 0
    /// What is free, by base; no two extents touch.
    public private(set) var freeExtents: [Extent] = []

    /// Lines that hold `slots` slots.
    public static func lines(forSlots slots: Int) -> Int {
        slots / slotsPerLine + (slots % slotsPerLine > 0 ? 1 : 0)
    }

    /// An allocator over `capacity` lines of which some are taken, as read back from the maps.
    ///
    /// - Parameters:
    ///   - capacity: Lines in all; a negative number is 0.
    ///   - occupied: Extents in use, in any order.
    /// - Throws: ``ExtentError`` when they overlap or do not lie within the capacity.
    public init(capacity: Int, occupied: some Sequence<Extent> = EmptyCollection()) throws(ExtentError) {
        self.capacity = max(0, capacity)
        var end = 0
        for extent in occupied.sorted(by: { $0.base < $1.base }) {
            try checkRange(extent)
            guard extent.base >= end else { throw .overlap(extent) }
            if extent.base > end { freeExtents.append(Extent(base: end, lines: extent.base - end)) }
            end = extent.base + extent.lines
            used += extent.lines
        }
        if end < self.capacity { freeExtents.append(Extent(base: end, lines: self.capacity - end)) }
    }

    /// The size of the largest extent that can be had, in lines.
    public var largestFree: Int { freeExtents.lazy.map(\.lines).max() ?? 0 }

    /// Takes the lowest free extent of `lines` lines and returns its first line; `nil` when no free extent is as large
    /// or `lines` is not above 0.
    public mutating func allocate(lines: Int) -> Int? {
        guard lines > 0, let index = freeExtents.firstIndex(where: { $0.lines >= lines }) else { return nil }
        let extent = freeExtents[index]
        if extent.lines == lines {
            freeExtents.remove(at: index)
        } else {
            freeExtents[index] = Extent(base: extent.base + lines, lines: extent.lines - lines)
        }
        used += lines
        return extent.base
    }

    /// Returns `lines` lines from line `base` on: an extent as allocated, or a part of one.
    ///
    /// - Throws: ``ExtentError`` when some of it is free already or outside; nothing has changed then.
    public mutating func free(base: Int, lines: Int) throws(ExtentError) {
        let extent = Extent(base: base, lines: lines)
        try checkRange(extent)
        let index = firstFree(from: base)
        let before = index > 0 ? freeExtents[index - 1] : nil
        let after = index < freeExtents.count ? freeExtents[index] : nil
        if let before, before.base + before.lines > base { throw .overlap(extent) }
        if let after, base + lines > after.base { throw .overlap(extent) }

        var merged = extent
        var replaced = index..<index
        if let before, before.base + before.lines == base {
            merged = Extent(base: before.base, lines: before.lines + merged.lines)
            replaced = index - 1..<index
        }
        if let after, after.base == base + lines {
            merged = Extent(base: merged.base, lines: merged.lines + after.lines)
            replaced = replaced.lowerBound..<index + 1
        }
        freeExtents.replaceSubrange(replaced, with: CollectionOfOne(merged))
        used -= lines
    }

    /// The index of the first free extent at or after line `base`, by binary search.
    private func firstFree(from base: Int) -> Int {
        var (low, high) = (0, freeExtents.count)
        while low < high {
            let middle = (low + high) / 2
            if freeExtents[middle].base < base { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private func checkRange(_ extent: Extent) throws(ExtentError) {
        guard extent.base >= 0, extent.lines > 0, extent.lines <= capacity, extent.base <= capacity - extent.lines
        else { throw .outOfRange(extent, capacity: capacity) }
    }
}
