import Maglev
import TestSupport
import Testing

@Suite struct ExtentAllocatorTests {
    @Test func firstFitAndExhaustion() throws {
        var allocator = try ExtentAllocator(capacity: 10)
        #expect(allocator.allocate(lines: 4) == 0)
        #expect(allocator.allocate(lines: 4) == 4)
        #expect(allocator.allocate(lines: 3) == nil)
        #expect(allocator.allocate(lines: 2) == 8)
        #expect(allocator.used == 10 && allocator.largestFree == 0 && allocator.freeExtents.isEmpty)
        #expect(allocator.allocate(lines: 1) == nil)
        try allocator.free(base: 0, lines: 4)
        try allocator.free(base: 8, lines: 2)
        #expect(allocator.used == 4 && allocator.largestFree == 4)
        #expect(allocator.allocate(lines: 2) == 0)
        try allocator.free(base: 4, lines: 4)
        #expect(allocator.freeExtents == [Extent(base: 2, lines: 8)])
    }

    @Test(arguments: [0, -1, .min, .max])
    func nothingToAllocate(_ lines: Int) throws {
        var allocator = try ExtentAllocator(capacity: 10)
        #expect(allocator.allocate(lines: lines) == nil && allocator.used == 0)
    }

    @Test(arguments: [(0, 0), (1, 1), (16, 1), (17, 2), (251, 16), (65_537, 4097), (Int.max, 1 << 59)])
    func linesForSlots(_ slots: Int, _ lines: Int) {
        #expect(ExtentAllocator.lines(forSlots: slots) == lines)
    }

    @Test func occupiedExtentsAreTakenInAnyOrder() throws {
        let occupied = [Extent(base: 8, lines: 2), Extent(base: 0, lines: 3), Extent(base: 3, lines: 1)]
        var allocator = try ExtentAllocator(capacity: 12, occupied: occupied)
        #expect(allocator.used == 6)
        #expect(allocator.freeExtents == [Extent(base: 4, lines: 4), Extent(base: 10, lines: 2)])
        #expect(allocator.allocate(lines: 4) == 4)
    }

    @Test(arguments: [(-1, 2), (9, 2), (10, 1), (0, 11), (0, 0), (3, -1), (.max, .max), (.min, .min), (1, .max)])
    func outOfRange(_ base: Int, _ lines: Int) throws {
        let extent = Extent(base: base, lines: lines)
        let expected = ExtentError.outOfRange(extent, capacity: 10)
        #expect(throws: expected) { try ExtentAllocator(capacity: 10, occupied: [extent]) }
        var allocator = try ExtentAllocator(capacity: 10, occupied: [Extent(base: 0, lines: 10)])
        #expect(throws: expected) { try allocator.free(base: base, lines: lines) }
        #expect(allocator.used == 10)
    }

    @Test func overlapsAreRefused() throws {
        let first = Extent(base: 0, lines: 4)
        for second in [first, Extent(base: 3, lines: 2), Extent(base: 1, lines: 1)] {
            #expect(throws: ExtentError.overlap(second)) {
                try ExtentAllocator(capacity: 10, occupied: [first, second])
            }
        }
        var allocator = try ExtentAllocator(capacity: 10, occupied: [Extent(base: 4, lines: 3)])
        for (base, lines) in [(0, 1), (3, 2), (6, 2), (7, 1), (3, 5), (0, 10), (4, 4)] {
            #expect(throws: ExtentError.overlap(Extent(base: base, lines: lines))) {
                try allocator.free(base: base, lines: lines)
            }
        }
        #expect(allocator.used == 3)
    }

    /// Random work, compared after every step with an array of one flag for each line.
    @Test(arguments: Array(1...20) as [UInt64])
    func agreesWithAFlagForEachLine(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let capacity = Int.random(in: 1...200, using: &random)
        var allocator = try ExtentAllocator(capacity: capacity)
        var taken = [Bool](repeating: false, count: capacity)
        var held: [Extent] = []
        for _ in 0..<300 {
            if held.isEmpty || Bool.random(using: &random) {
                let lines = Int.random(in: 1...max(1, capacity / 8), using: &random)
                let expected = (0..<capacity).first { base in
                    base + lines <= capacity && !taken[base..<base + lines].contains(true)
                }
                #expect(allocator.allocate(lines: lines) == expected)
                guard let base = expected else { continue }
                for line in base..<base + lines { taken[line] = true }
                held.append(Extent(base: base, lines: lines))
            } else {
                let extent = held.remove(at: Int.random(in: held.indices, using: &random))
                try allocator.free(base: extent.base, lines: extent.lines)
                for line in extent.base..<extent.base + extent.lines { taken[line] = false }
            }
            let runs = taken.split(separator: true).map { Extent(base: $0.startIndex, lines: $0.count) }
            #expect(allocator.freeExtents == runs)
            #expect(allocator.used == taken.count { $0 } && allocator.largestFree == runs.map(\.lines).max() ?? 0)
            let reread = try ExtentAllocator(capacity: capacity, occupied: held.shuffled(using: &random))
            #expect(reread.freeExtents == allocator.freeExtents && reread.used == allocator.used)
        }
        for extent in held { try allocator.free(base: extent.base, lines: extent.lines) }
        #expect(allocator.used == 0 && allocator.largestFree == capacity)
    }
}
