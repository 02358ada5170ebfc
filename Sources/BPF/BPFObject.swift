internal import CLibbpf
internal import Glibc

/// libbpf's object, closed at the end of its owner's life.
struct ObjectHandle: ~Copyable {
    let pointer: OpaquePointer

    deinit {
        bpf_object__close(pointer)
    }
}

/// A BPF object file that has been parsed but not loaded: its constants and map sizes can still be changed.
///
/// ``load()`` consumes it, so a constant that is set too late does not compile.
public struct BPFObject: ~Copyable {
    let handle: ObjectHandle
    let name: String

    /// Parses an ELF object. The bytes are needed only during the call.
    ///
    /// - Parameters:
    ///   - image: the whole file.
    ///   - name: names the object in errors; libbpf puts its first 8 bytes before the names of data sections' maps.
    /// - Throws: ``BPFError`` when the bytes are no BPF object that libbpf understands.
    public init(image: UnsafeRawBufferPointer, name: String) throws(BPFError) {
        self.handle = try Self.open(name, "bpf_object__open_mem") {
            bpf_object__open_mem(image.baseAddress, image.count, $0)
        }
        self.name = name
    }

    /// Parses an ELF object in an array.
    public init(image: [UInt8], name: String) throws(BPFError) {
        self.handle = try Self.open(name, "bpf_object__open_mem") { options in
            image.withUnsafeBytes { bpf_object__open_mem($0.baseAddress, $0.count, options) }
        }
        self.name = name
    }

    /// Parses an ELF object file.
    public init(file path: String, name: String) throws(BPFError) {
        self.handle = try Self.open(name, "bpf_object__open_file") { bpf_object__open_file(path, $0) }
        self.name = name
    }

    private static func open(
        _ name: String, _ operation: StaticString, _ call: (UnsafePointer<bpf_object_open_opts>) -> OpaquePointer?
    ) throws(BPFError) -> ObjectHandle {
        var number: Int32 = 0
        let (pointer, log) = capturingLog { () -> OpaquePointer? in
            name.withCString { name in
                var options = bpf_object_open_opts()
                options.sz = MemoryLayout<bpf_object_open_opts>.size
                options.object_name = name
                let pointer = call(&options)
                number = errno
                return pointer
            }
        }
        guard let pointer else { throw BPFError(errno: number, operation: operation, object: name, log: log) }
        return ObjectHandle(pointer: pointer)
    }

    /// Sets a `const volatile` global of the programs (section `.rodata`) before they are verified, so that the
    /// verifier can drop code which the constant makes unreachable.
    ///
    /// - Throws: ``BPFError/Code/notFound`` for an unknown variable, ``BPFError/Code/layoutMismatch`` if `T` has not
    ///   the size of the variable.
    public mutating func setConstant<T: BitwiseCopyable>(_ variable: String, to value: T) throws(BPFError) {
        let slot = try ReadOnlyData(object: handle.pointer, name: name).slot(of: variable)
        guard slot.count == MemoryLayout<T>.size else {
            throw BPFError(
                .layoutMismatch, operation: "set constant", subject: "variable \(variable) of object \(name)",
                detail: "\(slot.count) bytes in the object, \(MemoryLayout<T>.size) in \(T.self)")
        }
        withUnsafeBytes(of: value) { slot.copyMemory(from: $0) }
    }

    /// Changes the size of a map before it is created.
    public mutating func setMaxEntries(_ count: UInt32, ofMap map: String) throws(BPFError) {
        try check(
            bpf_map__set_max_entries(try find(map: map), count), "bpf_map__set_max_entries",
            "map \(map) of object \(name)")
    }

    /// Makes the object use the map pinned at `path` in place of a new one.
    ///
    /// The pinned map must agree with the definition in type, sizes, number of entries and flags, as changed by
    /// ``setMaxEntries(_:ofMap:)`` before.
    /// - Throws: ``BPFError/Code/incompatibleMap`` with every difference, ``BPFError/Code/notFound`` if there is no pin.
    public mutating func reuseMap(_ map: String, pinnedAt path: String) throws(BPFError) {
        let pointer = try find(map: map)
        let existing = try OwnedDescriptor.pinned(at: path, expecting: .map)
        let differences = MapSpec(pointer).differences(from: try MapInfo(existing, subject: path))
        guard differences.isEmpty else {
            throw BPFError(
                .incompatibleMap, operation: "reuse", subject: "map \(map) pinned at \(path)",
                detail: differences.joined(separator: ", "),
                advice: "configure the pinned size, or remove the pin and lose what the map holds")
        }
        try check(bpf_map__reuse_fd(pointer, existing.raw), "bpf_map__reuse_fd", "map \(map) pinned at \(path)")
    }

    /// Names of the maps, in the order of the object file, data sections included.
    public var mapNames: [String] {
        ObjectContents(handle.pointer).maps.map { String(cString: bpf_map__name($0)) }
    }

    /// Names of the programs, in the order of the object file.
    public var programNames: [String] {
        ObjectContents(handle.pointer).programs.map { String(cString: bpf_program__name($0)) }
    }

    /// The definition of a map, with changes made so far.
    public func mapSpec(_ map: String) throws(BPFError) -> MapSpec {
        MapSpec(try find(map: map))
    }

    /// Decides whether ``load()`` loads this program. Programs in sections that begin with `?` are off at first.
    public mutating func setAutoload(_ on: Bool, program: String) throws(BPFError) {
        let pointer = try ObjectContents(handle.pointer).program(program, of: name)
        try check(bpf_program__set_autoload(pointer, on), "bpf_program__set_autoload", "program \(program)")
    }

    /// The layout of a C struct as the programs were compiled with it, from the object's BTF.
    ///
    /// - Throws: ``BPFError/Code/notFound`` if no map or program of the object refers to a struct of that name.
    public func layout(ofStruct structure: String) throws(BPFError) -> StructLayout {
        try StructLayout(structure, object: handle.pointer, objectName: name)
    }

    /// Creates the maps and loads the programs.
    ///
    /// - Throws: ``BPFError/Code/verifierRejected`` with the verifier's text, or the failing map's error.
    public consuming func load() throws(BPFError) -> LoadedObject {
        let pointer = handle.pointer
        let (result, log) = capturingLog { bpf_object__load(pointer) }
        guard result == 0 else {
            throw BPFError(errno: -result, operation: "bpf_object__load", object: name, log: log)
        }
        return LoadedObject(handle: handle, name: name)
    }

    private func find(map: String) throws(BPFError) -> OpaquePointer {
        try ObjectContents(handle.pointer).map(map, of: name)
    }
}

/// Finds things in libbpf's object by name. The pointers live as long as the object.
struct ObjectContents {
    private let object: OpaquePointer

    init(_ object: OpaquePointer) {
        self.object = object
    }

    var maps: [OpaquePointer] {
        Array(
            sequence(state: OpaquePointer?.none) { [object] map in
                map = bpf_object__next_map(object, map)
                return map
            })
    }

    var programs: [OpaquePointer] {
        Array(
            sequence(state: OpaquePointer?.none) { [object] program in
                program = bpf_object__next_program(object, program)
                return program
            })
    }

    func map(_ name: String, of objectName: String) throws(BPFError) -> OpaquePointer {
        guard let map = bpf_object__find_map_by_name(object, name) else {
            throw Self.notFound("map", name, objectName, have: maps.map { String(cString: bpf_map__name($0)) })
        }
        return map
    }

    func program(_ name: String, of objectName: String) throws(BPFError) -> OpaquePointer {
        guard let program = bpf_object__find_program_by_name(object, name) else {
            let names = programs.map { String(cString: bpf_program__name($0)) }
            throw Self.notFound("program", name, objectName, have: names)
        }
        return program
    }

    static func notFound(_ noun: String, _ name: String, _ objectName: String, have names: [String]) -> BPFError {
        BPFError(
            .notFound, operation: "find \(noun)", subject: "\(noun) \(name) of object \(objectName)",
            detail: names.isEmpty ? "the object has none" : "it has \(names.joined(separator: ", "))")
    }
}
