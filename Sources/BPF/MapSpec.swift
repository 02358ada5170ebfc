internal import CLibbpf

/// The kind of a map. Kinds this module has no name for work too, by number.
public struct MapType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The kernel's `enum bpf_map_type`.
    public let rawValue: UInt32

    /// The type with the kernel's number for it.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    init(_ type: bpf_map_type) {
        self.init(rawValue: UInt32(type.rawValue))
    }

    /// A hash table of bounded size.
    public static let hash = MapType(BPF_MAP_TYPE_HASH)
    /// An array of fixed size; keys are indices (`UInt32`), entries always exist.
    public static let array = MapType(BPF_MAP_TYPE_ARRAY)
    /// Programs for tail calls, by index.
    public static let programArray = MapType(BPF_MAP_TYPE_PROG_ARRAY)
    /// A hash table with one value per possible CPU.
    public static let perCPUHash = MapType(BPF_MAP_TYPE_PERCPU_HASH)
    /// An array with one value per possible CPU.
    public static let perCPUArray = MapType(BPF_MAP_TYPE_PERCPU_ARRAY)
    /// A hash table that evicts old entries when full.
    public static let lruHash = MapType(BPF_MAP_TYPE_LRU_HASH)
    /// An LRU hash table with one value per possible CPU.
    public static let lruPerCPUHash = MapType(BPF_MAP_TYPE_LRU_PERCPU_HASH)
    /// Longest prefix match.
    public static let lpmTrie = MapType(BPF_MAP_TYPE_LPM_TRIE)
    /// An array of maps.
    public static let arrayOfMaps = MapType(BPF_MAP_TYPE_ARRAY_OF_MAPS)
    /// A hash table of maps.
    public static let hashOfMaps = MapType(BPF_MAP_TYPE_HASH_OF_MAPS)
    /// Network devices, by index, for XDP redirection.
    public static let deviceMap = MapType(BPF_MAP_TYPE_DEVMAP)
    /// Network devices, by any number, for XDP redirection.
    public static let deviceHash = MapType(BPF_MAP_TYPE_DEVMAP_HASH)
    /// A stream of records to user space.
    public static let ringBuffer = MapType(BPF_MAP_TYPE_RINGBUF)

    /// Whether the kernel copies one value per possible CPU for each key.
    public var isPerCPU: Bool {
        let perCPUStorage = MapType(BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE)
        return [.perCPUHash, .perCPUArray, .lruPerCPUHash, perCPUStorage].contains(self)
    }

    /// libbpf's name for the type, for example `percpu_array`.
    public var description: String {
        libbpf_bpf_map_type_str(bpf_map_type(rawValue: rawValue)).map { String(cString: $0) } ?? "type \(rawValue)"
    }
}

/// Creation flags of a map (`map_flags`), those used here by name.
public struct MapFlags: OptionSet, Hashable, Sendable, CustomStringConvertible {
    /// The kernel's `BPF_F_*` bits.
    public let rawValue: UInt32

    /// The flags with the kernel's bits.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Memory of hash entries is allocated when they are inserted. Required for LPM tries.
    public static let noPreallocation = MapFlags(rawValue: UInt32(BPF_F_NO_PREALLOC))
    /// Programs may only read it.
    public static let readOnlyForPrograms = MapFlags(rawValue: UInt32(BPF_F_RDONLY_PROG))
    /// An array that can be mapped into user memory.
    public static let mappable = MapFlags(rawValue: UInt32(BPF_F_MMAPABLE))

    /// The bits in hexadecimal, as `bpftool` prints them.
    public var description: String {
        "0x" + String(rawValue, radix: 16)
    }
}

/// What an object defines of a map, before it is created.
public struct MapSpec: Hashable, Sendable {
    /// The name in the object, of any length (the kernel keeps 15 bytes of it).
    public let name: String
    /// The kind of map.
    public let type: MapType
    /// Size of a key in bytes.
    public let keySize: Int
    /// Size of a value in bytes; for per-CPU maps of one CPU's value.
    public let valueSize: Int
    /// Most entries it can hold; bytes of data for a ring buffer.
    public let maxEntries: UInt32
    /// Creation flags.
    public let flags: MapFlags

    init(_ map: OpaquePointer) {
        name = String(cString: bpf_map__name(map))
        type = MapType(bpf_map__type(map))
        keySize = Int(bpf_map__key_size(map))
        valueSize = Int(bpf_map__value_size(map))
        maxEntries = bpf_map__max_entries(map)
        flags = MapFlags(rawValue: bpf_map__map_flags(map))
    }

    /// Every way in which an existing map differs from this definition, in words; empty if it can be used for it.
    public func differences(from existing: MapInfo) -> [String] {
        var found: [String] = []
        func compare<Value: Equatable>(_ name: String, _ existing: Value, _ wanted: Value) {
            if existing != wanted { found.append("\(name): \(existing) pinned, \(wanted) wanted") }
        }
        compare("type", existing.type, type)
        compare("key_size", existing.keySize, keySize)
        compare("value_size", existing.valueSize, valueSize)
        compare("max_entries", existing.maxEntries, maxEntries)
        // dev_map_alloc() adds this flag, since programs get a pointer to the map's own copy of the device.
        let added: MapFlags = [.deviceMap, .deviceHash].contains(type) ? .readOnlyForPrograms : []
        compare("map_flags", existing.flags.subtracting(added.subtracting(flags)), flags)
        return found
    }
}
