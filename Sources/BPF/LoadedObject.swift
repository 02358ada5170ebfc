internal import CLibbpf

/// An object whose maps exist and whose programs are loaded.
///
/// Handles it gives out own descriptors of their own and outlive it: keep the handles, drop the object.
public struct LoadedObject: ~Copyable {
    let handle: ObjectHandle
    /// The name it was opened with.
    public let name: String

    /// Names of the maps, in the order of the object file, data sections included.
    public var mapNames: [String] {
        ObjectContents(handle.pointer).maps.map { String(cString: bpf_map__name($0)) }
    }

    /// A typed handle for a map with one value per key.
    ///
    /// - Throws: ``BPFError/Code/notFound``, or ``BPFError/Code/layoutMismatch`` if the types have not the map's sizes.
    public func map<Key: BitwiseCopyable, Value: BitwiseCopyable>(
        _ map: String, key: Key.Type = Key.self, value: Value.Type = Value.self
    ) throws(BPFError) -> BPFMap<Key, Value> {
        try BPFMap(descriptor: try descriptor(ofMap: map), name: map)
    }

    /// A typed handle for a map with one value per possible CPU and key.
    ///
    /// - Throws: ``BPFError/Code/notFound``, or ``BPFError/Code/layoutMismatch`` if the types have not the map's sizes.
    public func perCPUMap<Key: BitwiseCopyable, Value: BitwiseCopyable>(
        _ map: String, key: Key.Type = Key.self, value: Value.Type = Value.self
    ) throws(BPFError) -> PerCPUMap<Key, Value> {
        try PerCPUMap(descriptor: try descriptor(ofMap: map), name: map)
    }

    /// The records of a ring buffer map. Only one reader may exist for a map at a time.
    public func ringBuffer<Record: BitwiseCopyable & Sendable>(
        _ map: String, record: Record.Type = Record.self
    ) throws(BPFError) -> RingBuffer<Record> {
        try RingBuffer(descriptor: try descriptor(ofMap: map), name: map)
    }

    /// A handle for a map of the sockets' own storage (`BPF_MAP_TYPE_SK_STORAGE`).
    public func socketStorage(_ map: String) throws(BPFError) -> SocketStorage {
        SocketStorage(descriptor: try descriptor(ofMap: map), name: map)
    }

    /// Pins a map without giving it types.
    public func pinMap(_ map: String, at path: String) throws(BPFError) {
        try descriptor(ofMap: map).pin(at: path)
    }

    /// A handle for a program.
    ///
    /// - Throws: ``BPFError/Code/notFound``, also for a program whose autoload was off.
    public func program(_ program: String) throws(BPFError) -> Program {
        let pointer = try ObjectContents(handle.pointer).program(program, of: name)
        let borrowed = bpf_program__fd(pointer)
        guard borrowed >= 0 else {
            throw BPFError(
                .notFound, operation: "bpf_program__fd", subject: "program \(program) of object \(name)",
                detail: "it was not loaded", advice: "switch its autoload on before the load")
        }
        return try Program(descriptor: try .duplicating(borrowed), name: program)
    }

    private func descriptor(ofMap map: String) throws(BPFError) -> OwnedDescriptor {
        let pointer = try ObjectContents(handle.pointer).map(map, of: name)
        return try .duplicating(try check(bpf_map__fd(pointer), "bpf_map__fd", "map \(map) of object \(name)"))
    }
}
