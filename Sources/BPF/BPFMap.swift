internal import CLibbpf
internal import Glibc

/// Whether an update may create an entry, replace one, or both.
public enum UpdateMode: UInt64, Sendable {
    /// Creates or replaces.
    case any = 0
    /// Creates; an existing key is the error `EEXIST`.
    case noExist = 1
    /// Replaces; a missing key is the error `ENOENT`.
    case exist = 2
}

/// A map with one value per key, whose keys and values are records of fixed layout.
///
/// The handle owns a descriptor: the map lives at least as long as the handle. All methods are system calls on the
/// calling thread and may be used from several threads at once; the kernel orders them.
public final class BPFMap<Key: BitwiseCopyable, Value: BitwiseCopyable>: Sendable {
    let descriptor: OwnedDescriptor
    let staticInfo: MapInfo
    /// The name it was opened by: the object's name for it, or the path of its pin.
    public let name: String

    init(descriptor: consuming OwnedDescriptor, name: String) throws(BPFError) {
        let info = try MapInfo(descriptor, subject: name)
        try info.check(key: Key.self, value: Value.self, name: name)
        guard !info.type.isPerCPU else {
            throw BPFError(
                .layoutMismatch, operation: "open map", subject: "map \(name)",
                detail: "type \(info.type) has a value for each possible CPU", advice: "open it as PerCPUMap")
        }
        self.descriptor = descriptor
        self.staticInfo = info
        self.name = name
    }

    /// Opens a pinned map.
    ///
    /// - Throws: ``BPFError/Code/notFound``, ``BPFError/Code/wrongKind``, or ``BPFError/Code/layoutMismatch``.
    public static func open(pinnedAt path: String) throws(BPFError) -> BPFMap {
        try BPFMap(descriptor: try .pinned(at: path, expecting: .map), name: path)
    }

    /// Creates a map that no object defines. The kernel keeps the first 15 bytes of the name.
    ///
    /// - Throws: `EINVAL` for a combination the kernel does not allow, `ENOMEM`, `EPERM`.
    public static func create(
        type: MapType, name: String, maxEntries: UInt32, flags: MapFlags = []
    ) throws(BPFError) -> BPFMap {
        try BPFMap(
            descriptor: try MapInfo.create(
                type: type, name: name, keySize: MemoryLayout<Key>.size, valueSize: MemoryLayout<Value>.size,
                maxEntries: maxEntries, flags: flags),
            name: name)
    }

    /// What the kernel says of the map; the memory is read anew each time.
    public var info: MapInfo {
        staticInfo.withCurrentMemory(descriptor)
    }

    /// The descriptor's number, for storing the map in a map of maps. Valid while this handle lives; do not close it.
    public var fileDescriptor: Int32 {
        descriptor.raw
    }

    private var subject: String {
        "map \(name)"
    }

    /// A copy of the value of a key, or `nil` if the map has no such key.
    public func lookup(_ key: Key) throws(BPFError) -> Value? {
        try read(key, "bpf_map_lookup_elem") { bpf_map_lookup_elem(descriptor.raw, $0, $1) }
    }

    /// Removes a key and returns the value it had, as one step; `nil` if the map had no such key.
    ///
    /// - Throws: ``BPFError/Code/unsupported`` for types without it (arrays; hash tables before Linux 5.14).
    public func lookupAndDelete(_ key: Key) throws(BPFError) -> Value? {
        try read(key, "bpf_map_lookup_and_delete_elem") { bpf_map_lookup_and_delete_elem(descriptor.raw, $0, $1) }
    }

    private func read(
        _ key: Key, _ operation: StaticString, _ call: (UnsafeRawPointer, UnsafeMutableRawPointer?) -> Int32
    ) throws(BPFError) -> Value? {
        var result: Int32 = 0
        let value = withUnsafePointer(to: key) { key in
            withUnsafeTemporaryAllocation(of: Value.self, capacity: 1) { value -> Value? in
                result = call(key, value.baseAddress)
                return result == 0 ? value[0] : nil
            }
        }
        if result == -ENOENT { return nil }
        try check(result, operation, subject)
        return value
    }

    /// Writes one entry. A reader of a hash table sees the old value or the new; of an array possibly a mixture.
    ///
    /// - Throws: `E2BIG` if the map is full or the index is out of range; `EEXIST`/`ENOENT` as `mode` says.
    public func update(_ key: Key, _ value: Value, mode: UpdateMode = .any) throws(BPFError) {
        let result = withUnsafePointer(to: key) { key in
            withUnsafePointer(to: value) { bpf_map_update_elem(descriptor.raw, key, $0, mode.rawValue) }
        }
        try check(result, "bpf_map_update_elem", subject)
    }

    /// Removes one entry. Returns `false` if there was none.
    @discardableResult
    public func delete(_ key: Key) throws(BPFError) -> Bool {
        let result = withUnsafePointer(to: key) { bpf_map_delete_elem(descriptor.raw, $0) }
        if result == -ENOENT { return false }
        try check(result, "bpf_map_delete_elem", subject)
        return true
    }

    /// Pins the map at a path in a bpffs, so that it outlives the process.
    public func pin(at path: String) throws(BPFError) {
        try descriptor.pin(at: path)
    }
}
