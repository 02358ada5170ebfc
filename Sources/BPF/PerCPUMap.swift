internal import CLibbpf
internal import Glibc

/// A map that has, for each key, one value per possible CPU. Lookups return them by CPU number.
public final class PerCPUMap<Key: BitwiseCopyable, Value: BitwiseCopyable>: Sendable {
    private let descriptor: OwnedDescriptor
    private let staticInfo: MapInfo
    private let processors: Int
    /// The name it was opened by: the object's name for it, or the path of its pin.
    public let name: String

    init(descriptor: consuming OwnedDescriptor, name: String) throws(BPFError) {
        let info = try MapInfo(descriptor, subject: name)
        try info.check(key: Key.self, value: Value.self, name: name)
        guard info.type.isPerCPU else {
            throw BPFError(
                .layoutMismatch, operation: "open map", subject: "map \(name)",
                detail: "type \(info.type) has one value for a key", advice: "open it as BPFMap")
        }
        self.processors = try KernelFeatures.possibleCPUs()
        self.descriptor = descriptor
        self.staticInfo = info
        self.name = name
    }

    /// Opens a pinned map.
    ///
    /// - Throws: ``BPFError/Code/notFound``, ``BPFError/Code/wrongKind``, or ``BPFError/Code/layoutMismatch``.
    public static func open(pinnedAt path: String) throws(BPFError) -> PerCPUMap {
        try PerCPUMap(descriptor: try .pinned(at: path, expecting: .map), name: path)
    }

    /// Creates a map that no object defines. The kernel keeps the first 15 bytes of the name.
    public static func create(
        type: MapType, name: String, maxEntries: UInt32, flags: MapFlags = []
    ) throws(BPFError) -> PerCPUMap {
        try PerCPUMap(
            descriptor: try MapInfo.create(
                type: type, name: name, keySize: MemoryLayout<Key>.size, valueSize: MemoryLayout<Value>.size,
                maxEntries: maxEntries, flags: flags),
            name: name)
    }

    /// What the kernel says of the map; the memory is read anew each time.
    public var info: MapInfo {
        staticInfo.withCurrentMemory(descriptor)
    }

    /// The descriptor's number. Valid while this handle lives; do not close it.
    public var fileDescriptor: Int32 {
        descriptor.raw
    }

    /// Bytes of one CPU's value in the kernel's copies: its size rounded up to 8.
    private var stride: Int {
        (staticInfo.valueSize + 7) & ~7
    }

    /// The values of a key, one per possible CPU, or `nil` if the map has no such key.
    public func lookup(_ key: Key) throws(BPFError) -> [Value]? {
        var result: Int32 = 0
        let values = withUnsafePointer(to: key) { key in
            withUnsafeTemporaryAllocation(byteCount: stride * processors, alignment: 8) { buffer -> [Value]? in
                result = bpf_map_lookup_elem(descriptor.raw, key, buffer.baseAddress)
                return result == 0 ? decode(buffer) : nil
            }
        }
        if result == -ENOENT { return nil }
        try check(result, "bpf_map_lookup_elem", "map \(name)")
        return values
    }

    /// Writes the values of a key, one for each possible CPU.
    ///
    /// - Throws: ``BPFError/Code/invalidArgument`` if there are not as many values as possible CPUs; else as for
    ///   ``BPFMap/update(_:_:mode:)``.
    public func update(_ key: Key, _ values: [Value], mode: UpdateMode = .any) throws(BPFError) {
        guard values.count == processors else {
            throw BPFError(
                .invalidArgument, operation: "bpf_map_update_elem", subject: "map \(name)",
                detail: "\(values.count) values for \(processors) possible CPUs")
        }
        let result = withUnsafePointer(to: key) { key in
            withUnsafeTemporaryAllocation(byteCount: stride * processors, alignment: 8) { buffer in
                buffer.initializeMemory(as: UInt8.self, repeating: 0)
                for (cpu, value) in values.enumerated() {
                    buffer.storeBytes(of: value, toByteOffset: cpu * stride, as: Value.self)
                }
                return bpf_map_update_elem(descriptor.raw, key, buffer.baseAddress, mode.rawValue)
            }
        }
        try check(result, "bpf_map_update_elem", "map \(name)")
    }

    /// Removes a key. Returns `false` if there was none.
    @discardableResult
    public func delete(_ key: Key) throws(BPFError) -> Bool {
        let result = withUnsafePointer(to: key) { bpf_map_delete_elem(descriptor.raw, $0) }
        if result == -ENOENT { return false }
        try check(result, "bpf_map_delete_elem", "map \(name)")
        return true
    }

    /// Calls `body` with each key and its values by CPU. What is said at ``BPFMap/forEachBatch(size:body:)`` holds.
    public func forEach(_ body: (Key, [Value]) throws -> Void) throws {
        let bytes = stride * processors
        let reader = MapReader(descriptor: descriptor.raw, name: name, info: staticInfo, valueBytes: bytes)
        try reader.forEachBatch(
            size: 1024,
            throwing: { keys, values in
                for (index, key) in keys.bindMemory(to: Key.self).enumerated() {
                    try body(
                        key, decode(UnsafeMutableRawBufferPointer(rebasing: values[(index * bytes)...].prefix(bytes))))
                }
            })
    }

    /// Pins the map at a path in a bpffs, so that it outlives the process.
    public func pin(at path: String) throws(BPFError) {
        try descriptor.pin(at: path)
    }

    private func decode(_ buffer: UnsafeMutableRawBufferPointer) -> [Value] {
        (0..<processors).map { buffer.loadUnaligned(fromByteOffset: $0 * stride, as: Value.self) }
    }
}
