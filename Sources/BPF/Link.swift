internal import CLibbpf
internal import Glibc

/// The attachment of a program to a hook.
///
/// The handle owns a descriptor. When the last descriptor goes, an unpinned link detaches its program; a pinned one
/// stays attached, also after the process.
public final class Link: Sendable {
    /// What a link attaches to.
    public enum Kind: Hashable, Sendable {
        /// The XDP hook of a device.
        case xdp
        /// The TCX hook of a device.
        case tcx
        /// A cgroup.
        case cgroup
        /// Something else, by the kernel's `enum bpf_link_type`.
        case other(UInt32)

        fileprivate init(_ type: UInt32) {
            switch type {
            case BPF_LINK_TYPE_XDP.rawValue: self = .xdp
            case UInt32(CLIBBPF_LINK_TYPE_TCX): self = .tcx
            case BPF_LINK_TYPE_CGROUP.rawValue: self = .cgroup
            default: self = .other(type)
            }
        }
    }

    private let descriptor: OwnedDescriptor
    private let subject: String
    /// What it attaches to.
    public let kind: Kind
    /// The kernel's id of the link.
    public let id: UInt32

    init(descriptor: consuming OwnedDescriptor, subject: String) throws(BPFError) {
        let info = try LinkInfo(descriptor, subject: subject)
        self.kind = Kind(info.type)
        self.id = info.id
        self.subject = subject
        self.descriptor = descriptor
    }

    /// Opens a pinned link.
    ///
    /// - Throws: ``BPFError/Code/notFound`` or ``BPFError/Code/wrongKind``.
    public static func open(pinnedAt path: String) throws(BPFError) -> Link {
        try Link(descriptor: try .pinned(at: path, expecting: .link), subject: "link pinned at \(path)")
    }

    /// The id of the program it runs now; 0 if the kernel does not say.
    public var programID: UInt32 {
        (try? LinkInfo(descriptor, subject: subject))?.programID ?? 0
    }

    /// The index of the device it is attached to; 0 for other kinds of link, and when the device is gone, in which
    /// case the link is dead.
    public var interface: Int32 {
        switch kind {
        case .xdp, .tcx: (try? LinkInfo(descriptor, subject: subject))?.interface ?? 0
        case .cgroup, .other: 0
        }
    }

    /// The kernel's id of the cgroup it is attached to, which is the inode number of the cgroup's directory; 0 for other
    /// kinds of link, and when the cgroup is gone or the program was detached from it, in which case the link is dead.
    public var cgroupID: UInt64 {
        guard kind == .cgroup else { return 0 }
        return (try? LinkInfo(descriptor, subject: subject))?.cgroupID ?? 0
    }

    /// Puts another program in the place of the attached one. Each packet meets the one or the other.
    ///
    /// - Throws: `ENOLINK` if the device is gone; `EINVAL` if the program is of another type.
    public func replace(with program: Program) throws(BPFError) {
        try check(bpf_link_update(descriptor.raw, program.descriptor.raw, nil), "bpf_link_update", subject)
    }

    /// Pins the link at a path in a bpffs, so that the attachment outlives the process.
    public func pin(at path: String) throws(BPFError) {
        try descriptor.pin(at: path)
    }

    /// Removes a pin of the link. The attachment ends with the last handle.
    public func unpin(at path: String) throws(BPFError) {
        try BPFFileSystem.unpin(path)
    }

    /// Detaches the program now, whatever pins and descriptors the link has.
    ///
    /// - Throws: ``BPFError/Code/unsupported`` for kinds of link that cannot be detached (tracing).
    public func detach() throws(BPFError) {
        try check(bpf_link_detach(descriptor.raw), "bpf_link_detach", subject)
    }
}

/// The part of `struct bpf_link_info` used here, read by offset: the union's arms for newer links are missing from
/// older headers, and all arms for devices begin with the index.
private struct LinkInfo {
    let type: UInt32
    let id: UInt32
    let programID: UInt32
    let interface: Int32
    let cgroupID: UInt64

    init(_ descriptor: borrowing OwnedDescriptor, subject: @autoclosure () -> String) throws(BPFError) {
        var words = InlineArray<32, UInt32>(repeating: 0)
        var length = UInt32(MemoryLayout<InlineArray<32, UInt32>>.size)
        let result = withUnsafeMutablePointer(to: &words) { bpf_obj_get_info_by_fd(descriptor.raw, $0, &length) }
        try check(result, "bpf_obj_get_info_by_fd", subject())
        type = words[0]
        id = words[1]
        programID = words[2]
        // The union is aligned to 8 bytes, so it begins at byte 16.
        interface = Int32(bitPattern: words[4])
        cgroupID = UInt64(words[5]) << 32 | UInt64(words[4])
    }
}
