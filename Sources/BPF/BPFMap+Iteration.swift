extension BPFMap {
    /// Calls `body` with all entries, up to about `size` at a time. The spans are valid during the call only.
    ///
    /// Entries that are added, removed or replaced meanwhile may be seen or not, and, in a hash table whose entries
    /// move, seen twice. Entries that stay are seen at least once. Stops when `body` throws, and throws that error.
    public func forEachBatch(
        size: Int = 4096, body: (Span<Key>, Span<Value>) throws -> Void
    ) throws {
        try reader.forEachBatch(
            size: size,
            throwing: { keys, values in
                let keys = UnsafeBufferPointer(keys.bindMemory(to: Key.self))
                let values = UnsafeBufferPointer(values.bindMemory(to: Value.self))
                try body(keys.span, values.span)
            })
    }

    /// Calls `body` with each entry. What is said at ``forEachBatch(size:body:)`` holds here too.
    public func forEach(_ body: (Key, Value) throws -> Void) throws {
        try forEachBatch { keys, values in
            for index in keys.indices {
                try body(keys[index], values[index])
            }
        }
    }

    /// A copy of all entries. What is said at ``forEachBatch(size:body:)`` holds here too.
    public func entries() throws(BPFError) -> [(key: Key, value: Value)] {
        var entries: [(key: Key, value: Value)] = []
        try reader.forEachBatch(size: 4096) { keys, values in
            entries.append(
                contentsOf: zip(keys.bindMemory(to: Key.self), values.bindMemory(to: Value.self)).lazy.map {
                    (key: $0, value: $1)
                })
            return true
        }
        return entries
    }

    /// The number of entries, by reading all of them (an array has always as many as it is large).
    public func count() throws(BPFError) -> Int {
        var bytes = 0
        try reader.forEachBatch(size: 4096) { keys, _ in
            bytes += keys.count
            return true
        }
        return bytes / staticInfo.keySize
    }

    private var reader: MapReader {
        MapReader(descriptor: descriptor.raw, name: name, info: staticInfo, valueBytes: MemoryLayout<Value>.stride)
    }
}
