internal import CLibbpf

/// The kind of a program, by the kernel's number.
public struct ProgramType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The kernel's `enum bpf_prog_type`.
    public let rawValue: UInt32

    /// The type with the kernel's number for it.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// tc classifier and action (`SEC("tc")`).
    public static let schedulerClassifier = ProgramType(rawValue: BPF_PROG_TYPE_SCHED_CLS.rawValue)
    /// XDP.
    public static let xdp = ProgramType(rawValue: BPF_PROG_TYPE_XDP.rawValue)
    /// Socket address hooks of cgroups (`SEC("cgroup/connect4")` and others).
    public static let cgroupSocketAddress = ProgramType(rawValue: BPF_PROG_TYPE_CGROUP_SOCK_ADDR.rawValue)

    /// libbpf's name for the type, for example `sched_cls`.
    public var description: String {
        libbpf_bpf_prog_type_str(bpf_prog_type(rawValue: rawValue)).map { String(cString: $0) } ?? "type \(rawValue)"
    }
}

/// A loaded program. The handle owns a descriptor: the program lives at least as long as the handle.
public final class Program: Sendable {
    let descriptor: OwnedDescriptor
    /// The name in its object, or, for programs opened by pin or id, the kernel's first 15 bytes of it.
    public let name: String
    /// The kernel's id; never 0, and not used again before the program is freed.
    public let id: UInt32
    /// The kind of program.
    public let type: ProgramType
    /// A digest of the instructions as they were loaded, whatever maps they use; as `bpftool prog` shows it.
    public let tag: String

    init(descriptor: consuming OwnedDescriptor, name: String?) throws(BPFError) {
        let info = try descriptor.objectInfo(bpf_prog_info(), subject: name ?? "program")
        self.id = info.id
        self.type = ProgramType(rawValue: info.type)
        self.tag = withUnsafeBytes(of: info.tag) { bytes in
            bytes.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
        }
        self.name = name ?? String(fixed: info.name)
        self.descriptor = descriptor
    }

    /// Opens a pinned program.
    ///
    /// - Throws: ``BPFError/Code/notFound`` or ``BPFError/Code/wrongKind``.
    public static func open(pinnedAt path: String) throws(BPFError) -> Program {
        try Program(descriptor: try .pinned(at: path, expecting: .program), name: nil)
    }

    /// Opens any program of the system by its id. Needs CAP_SYS_ADMIN.
    public static func open(id: UInt32) throws(BPFError) -> Program {
        let descriptor = OwnedDescriptor(
            adopting: try check(bpf_prog_get_fd_by_id(id), "bpf_prog_get_fd_by_id", "program id \(id)"))
        return try Program(descriptor: descriptor, name: nil)
    }

    /// The descriptor's number, for storing it in a map of programs. Valid while this handle lives; do not close it.
    public var fileDescriptor: Int32 {
        descriptor.raw
    }

    /// Pins the program at a path in a bpffs, so that it outlives the process.
    public func pin(at path: String) throws(BPFError) {
        try descriptor.pin(at: path)
    }
}
