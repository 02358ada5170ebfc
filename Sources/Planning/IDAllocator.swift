/// Hands out free ids: those given back first, then the lowest from 1 upwards. 0 is never an id, so that zeroed memory
/// names nothing.
struct IDAllocator {
    private let used: Set<UInt32>
    private var next: UInt32 = 1
    private var returned: [UInt32] = []
    /// One more than the largest id.
    let limit: UInt32

    init(used: Set<UInt32>, limit: Int) {
        self.used = used
        self.limit = UInt32(clamping: limit)
    }

    /// A free id, or `nil` when all are taken.
    mutating func allocate() -> UInt32? {
        if let id = returned.popLast() { return id }
        while next < limit, used.contains(next) { next += 1 }
        guard next < limit else { return nil }
        defer { next += 1 }
        return next
    }

    /// Takes back an id that ``allocate()`` gave.
    mutating func release(_ id: UInt32) { returned.append(id) }
}
