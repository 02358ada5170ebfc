internal import CLibbpf
internal import Glibc
internal import SystemPackage

extension BPFMap {
    /// Writes `values[i]` to `keys[i]` for all `i`, in order, by `BPF_MAP_UPDATE_BATCH`; entry by entry for map types
    /// that have no batch update. Not atomic: a reader may see any prefix of the entries.
    ///
    /// - Throws: the first failure, with the number of entries written before it in ``BPFError/entriesDone``.
    public func update(keys: Span<Key>, values: Span<Value>) throws(BPFError) {
        guard keys.count == values.count else {
            throw BPFError(
                .invalidArgument, operation: "bpf_map_update_batch", subject: "map \(name)",
                detail: "\(keys.count) keys, \(values.count) values")
        }
        guard !keys.isEmpty else { return }
        var done = UInt32(keys.count)
        let result = keys.withUnsafeBufferPointer { keys in
            values.withUnsafeBufferPointer { values in
                var options = emptyBatchOptions()
                return bpf_map_update_batch(fileDescriptor, keys.baseAddress, values.baseAddress, &done, &options)
            }
        }
        if result == 0 { return }
        if Self.lacksBatch(result) { return try updateSingly(keys: keys, values: values) }
        throw batchError(result, "bpf_map_update_batch", done: done)
    }

    private func updateSingly(keys: Span<Key>, values: Span<Value>) throws(BPFError) {
        for index in keys.indices {
            do {
                try update(keys[index], values[index])
            } catch {
                var error = error
                error.entriesDone = index
                throw error
            }
        }
    }

    /// Removes the keys, in order; keys the map does not have are passed over.
    ///
    /// - Returns: how many entries there were to remove.
    /// - Throws: the first failure, with the number of keys dealt with before it in ``BPFError/entriesDone``.
    @discardableResult
    public func delete(keys: Span<Key>) throws(BPFError) -> Int {
        var next = 0
        var deleted = 0
        while next < keys.count {
            var done = UInt32(keys.count - next)
            let result = keys.withUnsafeBufferPointer { keys in
                var options = emptyBatchOptions()
                return bpf_map_delete_batch(fileDescriptor, keys.baseAddress?.advanced(by: next), &done, &options)
            }
            if result == 0 { return deleted + Int(done) }
            if Self.lacksBatch(result) { return try deleted + deleteSingly(keys: keys, from: next) }
            // The kernel stops at a missing key, after `done` deletions.
            guard result == -ENOENT else { throw batchError(result, "bpf_map_delete_batch", done: done, after: next) }
            deleted += Int(done)
            next += Int(done) + 1
        }
        return deleted
    }

    private func deleteSingly(keys: Span<Key>, from start: Int) throws(BPFError) -> Int {
        var deleted = 0
        for index in start..<keys.count {
            do {
                if try delete(keys[index]) { deleted += 1 }
            } catch {
                var error = error
                error.entriesDone = index
                throw error
            }
        }
        return deleted
    }

    /// `ENOTSUPP` is the kernel's answer for a map type without batches, `EINVAL` that of a kernel without them.
    private static func lacksBatch(_ result: Int32) -> Bool {
        result == -Errno.kernelNotSupported.rawValue || result == -EINVAL
    }

    private func batchError(_ result: Int32, _ operation: String, done: UInt32, after: Int = 0) -> BPFError {
        var error = BPFError(errno: Errno(rawValue: -result), operation: operation, subject: "map \(name)")
        // The kernel does not store the count where it failed to read a key.
        error.entriesDone = after + (result == -EFAULT ? 0 : Int(done))
        return error
    }
}

func emptyBatchOptions() -> bpf_map_batch_opts {
    var options = bpf_map_batch_opts()
    options.sz = MemoryLayout<bpf_map_batch_opts>.size
    return options
}
