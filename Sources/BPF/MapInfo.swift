internal import CLibbpf

/// What the kernel says of an existing map.
public struct MapInfo: Hashable, Sendable {
    /// The kernel's id, unique until the map is freed.
    public let id: UInt32
    /// The kind of map.
    public let type: MapType
    /// The kernel's name, at most 15 bytes.
    public let name: String
    /// Size of a key in bytes.
    public let keySize: Int
    /// Size of a value in bytes; for per-CPU maps of one CPU's value.
    public let valueSize: Int
    /// Most entries it can hold; bytes of data for a ring buffer.
    public let maxEntries: UInt32
    /// Creation flags.
    public let flags: MapFlags
    /// Kernel memory charged to the map, in bytes (`memlock` of `/proc/self/fdinfo`); `nil` where it cannot be read.
    /// Since Linux 6.4 it is what the map uses now, before that an estimate made at its creation.
    public internal(set) var memlock: UInt64?

    /// Describes a pinned map of any type.
    ///
    /// - Throws: ``BPFError/Code/notFound`` or ``BPFError/Code/wrongKind``.
    public init(pinnedAt path: String) throws(BPFError) {
        let descriptor = try OwnedDescriptor.pinned(at: path, expecting: .map)
        self = try MapInfo(descriptor, subject: path).withCurrentMemory(descriptor)
    }

    init(_ descriptor: borrowing OwnedDescriptor, subject: @autoclosure () -> String) throws(BPFError) {
        let info = try descriptor.objectInfo(bpf_map_info(), subject: subject())
        id = info.id
        type = MapType(rawValue: info.type)
        name = String(fixed: info.name)
        keySize = Int(info.key_size)
        valueSize = Int(info.value_size)
        maxEntries = info.max_entries
        flags = MapFlags(rawValue: info.map_flags)
        memlock = nil
    }
}

extension MapInfo {
    /// Refuses types whose size is not the kernel's, before the kernel writes past the end of one.
    func check<Key, Value>(key: Key.Type, value: Value.Type, name: String) throws(BPFError) {
        let sizes = (MemoryLayout<Key>.size, MemoryLayout<Value>.size)
        guard sizes == (keySize, valueSize) else {
            throw BPFError(
                .layoutMismatch, operation: "open map", subject: "map \(name)",
                detail: """
                    key/value of \(keySize)/\(valueSize) bytes in the kernel, \
                    \(sizes.0)/\(sizes.1) in \(Key.self)/\(Value.self)
                    """)
        }
        // Batches are arrays without gaps; a Swift struct may end before its stride, a C struct never does.
        guard sizes == (MemoryLayout<Key>.stride, MemoryLayout<Value>.stride) else {
            throw BPFError(
                .layoutMismatch, operation: "open map", subject: "map \(name)",
                detail: "\(Key.self) or \(Value.self) has tail padding that is not part of its size",
                advice: "declare the record in C, or name the padding")
        }
    }

    static func create(
        type: MapType, name: String, keySize: Int, valueSize: Int, maxEntries: UInt32, flags: MapFlags
    ) throws(BPFError) -> OwnedDescriptor {
        var options = bpf_map_create_opts()
        options.sz = MemoryLayout<bpf_map_create_opts>.size
        options.map_flags = flags.rawValue
        let result = bpf_map_create(
            bpf_map_type(rawValue: type.rawValue), String(name.prefix(15)), UInt32(keySize), UInt32(valueSize),
            maxEntries, &options)
        return OwnedDescriptor(adopting: try BPF.check(result, "bpf_map_create", "map \(name)"))
    }

    func withCurrentMemory(_ descriptor: borrowing OwnedDescriptor) -> MapInfo {
        var copy = self
        copy.memlock = FileText.read("/proc/self/fdinfo/\(descriptor.raw)")
            .flatMap { FileText.number(after: "memlock:", in: $0) }
        return copy
    }
}
