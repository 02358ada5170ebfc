internal import CLibbpf
internal import Glibc
internal import SystemPackage

/// Reads all entries of a map as raw bytes: by batches where the map type has them, else key by key.
struct MapReader {
    let descriptor: Int32
    let name: String
    let info: MapInfo
    /// Bytes the kernel copies for one key: the value's size, or for per-CPU maps all CPUs' together.
    let valueBytes: Int

    /// Takes the keys and the values of some entries, both without gaps. Returns whether to go on.
    typealias Body = (_ keys: UnsafeMutableRawBufferPointer, _ values: UnsafeMutableRawBufferPointer) -> Bool

    /// The form for callers whose body throws: ends at the first error and passes it on.
    func forEachBatch(
        size: Int, throwing body: (UnsafeMutableRawBufferPointer, UnsafeMutableRawBufferPointer) throws -> Void
    ) throws {
        var failure: (any Error)?
        try forEachBatch(size: size) { keys, values in
            do {
                try body(keys, values)
            } catch {
                failure = error
            }
            return failure == nil
        }
        if let failure { throw failure }
    }

    func forEachBatch(size: Int, _ body: Body) throws(BPFError) {
        guard size > 0 else {
            throw BPFError(
                .invalidArgument, operation: "bpf_map_lookup_batch", subject: "map \(name)",
                detail: "batches of \(size) entries")
        }
        var room = Room(count: min(size, max(Int(info.maxEntries), 1)), keySize: info.keySize, valueBytes: valueBytes)
        defer { room.free() }
        // For hash tables the cursor is a bucket number, for all other types the last key.
        let cursor = UnsafeMutableRawBufferPointer.allocate(byteCount: max(info.keySize, 8), alignment: 8)
        defer { cursor.deallocate() }

        var started = false
        var idle = 0
        while true {
            var count = UInt32(room.count)
            var options = emptyBatchOptions()
            let result = bpf_map_lookup_batch(
                descriptor, started ? cursor.baseAddress : nil, cursor.baseAddress, room.keys.baseAddress,
                room.values.baseAddress, &count, &options)
            switch -result {
            case 0, ENOENT, EINTR:
                // Older kernels end a batch with EINTR when an entry vanished under the reader.
                idle = count == 0 ? idle + 1 : 0
                guard idle < 1000 else { break }
                if count > 0 {
                    started = true
                    guard body(room.keys(Int(count)), room.values(Int(count))) else { return }
                }
                if result == -ENOENT { return }
                continue
            case ENOSPC:
                // A bucket holds more entries than fit.
                room.double()
                continue
            case Errno.kernelNotSupported.rawValue where !started, EINVAL where !started:
                return try forEachKey(room, body)
            default: break
            }
            try check(result, "bpf_map_lookup_batch", "map \(name)")
            return
        }
    }

    /// Walks the keys. The next key is fetched before an entry is handed over, so that the body may delete entries;
    /// the number of steps is bounded, for the walk begins anew when another process deletes the key it stands on.
    private func forEachKey(_ room: Room, _ body: Body) throws(BPFError) {
        var key = [UInt8](repeating: 0, count: max(info.keySize, 1))
        var filled = 0
        var steps = 0
        var result = bpf_map_get_next_key(descriptor, nil, &key)
        while result == 0, steps < Int(info.maxEntries) {
            steps += 1
            let value = room.values.baseAddress?.advanced(by: filled * valueBytes)
            let found = bpf_map_lookup_elem(descriptor, key, value)
            if found == 0 {
                room.setKey(filled, to: key)
                filled += 1
            } else if found != -ENOENT {
                try check(found, "bpf_map_lookup_elem", "map \(name)")
            }
            let current = key
            result = bpf_map_get_next_key(descriptor, current, &key)
            if filled == room.count {
                guard body(room.keys(filled), room.values(filled)) else { return }
                filled = 0
            }
        }
        if result != -ENOENT { try check(result, "bpf_map_get_next_key", "map \(name)") }
        if filled > 0 { _ = body(room.keys(filled), room.values(filled)) }
    }

    /// The two arrays of a batch.
    private struct Room {
        private(set) var count: Int
        private(set) var keys: UnsafeMutableRawBufferPointer
        private(set) var values: UnsafeMutableRawBufferPointer
        private let keySize: Int
        private let valueBytes: Int

        init(count: Int, keySize: Int, valueBytes: Int) {
            self.count = count
            self.keySize = keySize
            self.valueBytes = valueBytes
            keys = .allocate(byteCount: count * keySize, alignment: 16)
            values = .allocate(byteCount: count * valueBytes, alignment: 16)
        }

        mutating func double() {
            free()
            self = Room(count: count * 2, keySize: keySize, valueBytes: valueBytes)
        }

        func free() {
            keys.deallocate()
            values.deallocate()
        }

        func setKey(_ index: Int, to key: [UInt8]) {
            for offset in 0..<keySize {
                keys[index * keySize + offset] = key[offset]
            }
        }

        func keys(_ count: Int) -> UnsafeMutableRawBufferPointer {
            UnsafeMutableRawBufferPointer(rebasing: keys[..<(count * keySize)])
        }

        func values(_ count: Int) -> UnsafeMutableRawBufferPointer {
            UnsafeMutableRawBufferPointer(rebasing: values[..<(count * valueBytes)])
        }
    }
}
