/// Hands out the lowest free ids from 1 upwards. 0 is never an id, so that zeroed memory names nothing.
struct IDAllocator {
    private var used: Set<UInt32>
    private var next: UInt32 = 1
    /// One more than the largest id.
    let limit: UInt32

    init(used: Set<UInt32>, limit: Int) {
        self.used = used
        self.limit = UInt32(clamping: limit)
    }

    /// The lowest free id, or `nil` when all are taken.
    mutating func allocate() -> UInt32? {
        while next < limit, used.contains(next) { next += 1 }
        guard next < limit else { return nil }
        defer { next += 1 }
        used.insert(next)
        return next
    }
}
