extension BPFMap {
    /// Calls `body` with all entries, up to about `size` at a time. The spans are valid during the call only.
    ///
    /// Entries that are added, removed or replaced meanwhile may be seen or not, and, in a hash table whose entries
    /// move, seen twice. Entries that stay are seen at least once. Stops when `body` throws, and throws that error.
    public func forEachBatch(
        size: Int = 4096, body: (Span<Key>, Span<Value>) throws -> Void
    ) throws {
        let reader = MapReader(
            descriptor: descriptor.raw, name: name, info: staticInfo, valueBytes: MemoryLayout<Value>.stride)
        try reader.forEachBatch(size: size) { keys, values in
            let keys = UnsafeBufferPointer(keys.bindMemory(to: Key.self))
            let values = UnsafeBufferPointer(values.bindMemory(to: Value.self))
            try body(keys.span, values.span)
        }
    }

    /// Calls `body` with each entry. What is said at ``forEachBatch(size:body:)`` holds here too.
    public func forEach(_ body: (Key, Value) throws -> Void) throws {
        try forEachBatch { keys, values in
            for index in keys.indices {
                try body(keys[index], values[index])
            }
        }
    }

    /// The number of entries, by reading all of them (an array has always as many as it is large).
    public func count() throws(BPFError) -> Int {
        var count = 0
        do {
            try forEachBatch { keys, _ in count += keys.count }
        } catch let error as BPFError {
            throw error
        } catch {
            // The body above does not throw, so what arrives here came from the reader, which throws BPFError only.
            throw BPFError(.invalidArgument, operation: "count", subject: "map \(name)", detail: "\(error)")
        }
        return count
    }
}
