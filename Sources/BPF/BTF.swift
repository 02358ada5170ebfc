internal import CLibbpf

/// The layout of a C struct in an object's type information (BTF).
public struct StructLayout: Hashable, Sendable {
    /// One member of the struct.
    public struct Member: Hashable, Sendable {
        /// Its name; empty for an anonymous struct or union.
        public let name: String
        /// Where it begins, in bytes from the start of the struct.
        public let offset: Int
        /// Its size in bytes.
        public let size: Int
    }

    /// The name of the struct, without `struct`.
    public let name: String
    /// Its size in bytes, padding included.
    public let size: Int
    /// Its members, in the order of declaration.
    public let members: [Member]

    /// The offset in bytes of a member, or `nil` if there is none of that name.
    public func offset(of member: String) -> Int? {
        members.first { $0.name == member }?.offset
    }

    init(_ structure: String, object: OpaquePointer, objectName: String) throws(BPFError) {
        guard let btf = bpf_object__btf(object),
            case let id = btf__find_by_name_kind(btf, structure, CLIBBPF_BTF_STRUCT), id > 0,
            let type = btf__type_by_id(btf, UInt32(id))
        else {
            throw BPFError(
                .notFound, operation: "btf__find_by_name_kind", subject: "struct \(structure) of object \(objectName)",
                advice: "compile with -g, and let a map or program use the struct")
        }
        name = structure
        size = Int(type.pointee.size)
        members = (0..<Int(btf_vlen(type))).map { index in
            let member = btf_members(type)[index]
            return Member(
                name: btf__name_by_offset(btf, member.name_off).map { String(cString: $0) } ?? "",
                offset: Int(btf_member_bit_offset(type, UInt32(index)) / 8),
                size: Int(btf__resolve_size(btf, member.type)))
        }
    }
}

/// The initial contents of an object's `.rodata`, writable until the object is loaded.
struct ReadOnlyData {
    private let object: OpaquePointer
    private let name: String

    init(object: OpaquePointer, name: String) {
        self.object = object
        self.name = name
    }

    /// The bytes of a variable. They belong to the object.
    func slot(of variable: String) throws(BPFError) -> UnsafeMutableRawBufferPointer {
        guard let btf = bpf_object__btf(object),
            case let section = btf__find_by_name_kind(btf, ".rodata", CLIBBPF_BTF_DATASEC), section > 0,
            let type = btf__type_by_id(btf, UInt32(section)),
            let map = bpf_object__find_map_by_name(object, ".rodata")
        else {
            throw ObjectContents.notFound("constant", variable, name, have: [])
        }
        var size = 0
        guard let bytes = bpf_map__initial_value(map, &size) else {
            throw ObjectContents.notFound("constant", variable, name, have: [])
        }
        // libbpf 1.1 returns a const pointer to memory that is meant to be written.
        let data = UnsafeMutableRawBufferPointer(start: UnsafeMutableRawPointer(mutating: bytes), count: size)

        let variables = UnsafeBufferPointer(start: btf_var_secinfos(type), count: Int(btf_vlen(type)))
        func title(_ info: btf_var_secinfo) -> String {
            guard let type = btf__type_by_id(btf, info.type), let name = btf__name_by_offset(btf, type.pointee.name_off)
            else { return "" }
            return String(cString: name)
        }
        guard let info = variables.first(where: { title($0) == variable }) else {
            throw ObjectContents.notFound("constant", variable, name, have: variables.map(title))
        }
        let range = Int(info.offset)..<(Int(info.offset) + Int(info.size))
        guard range.upperBound <= size else {
            throw BPFError(
                .layoutMismatch, operation: "find constant", subject: "variable \(variable) of object \(name)",
                detail: "it ends at byte \(range.upperBound) of a section of \(size)")
        }
        return UnsafeMutableRawBufferPointer(rebasing: data[range])
    }
}
