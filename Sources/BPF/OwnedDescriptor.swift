internal import CLibbpf
internal import Glibc

/// A file descriptor that is closed at the end of its owner's life, and nowhere else.
public struct OwnedDescriptor: ~Copyable, Sendable {
    /// The number, for system calls. It is valid only while this value lives.
    public let raw: Int32

    /// Takes over an open descriptor; the caller must not close it.
    public init(adopting raw: Int32) {
        self.raw = raw
    }

    deinit {
        _ = close(raw)
    }

    /// A second descriptor for the same kernel object, close-on-exec.
    ///
    /// - Throws: ``BPFError`` when the process has no descriptor left (`EMFILE`).
    public func duplicate() throws(BPFError) -> OwnedDescriptor {
        try Self.duplicating(raw)
    }

    /// A second, owned descriptor for one that somebody else owns (libbpf's object, for example).
    static func duplicating(_ borrowed: Int32) throws(BPFError) -> OwnedDescriptor {
        let copy = try checkErrno("fcntl(F_DUPFD_CLOEXEC)", "descriptor \(borrowed)") {
            let result = fcntl(borrowed, F_DUPFD_CLOEXEC, 3)
            return result < 0 ? nil : result
        }
        return OwnedDescriptor(adopting: copy)
    }
}

/// What a BPF descriptor stands for. The kernel answers an info query on any of them with whichever struct fits the
/// object, so the kind has to be known before the answer is read.
enum DescriptorKind: String {
    case map = "bpf-map"
    case program = "bpf-prog"
    case link = "bpf-link"

    var noun: String {
        switch self {
        case .map: "map"
        case .program: "program"
        case .link: "link"
        }
    }
}

extension OwnedDescriptor {
    /// Opens what is pinned at `path`, and checks that it is of the expected kind.
    static func pinned(at path: String, expecting kind: DescriptorKind) throws(BPFError) -> OwnedDescriptor {
        let descriptor = OwnedDescriptor(adopting: try check(bpf_obj_get(path), "bpf_obj_get", path))
        let link = "/proc/self/fd/\(descriptor.raw)"
        let target = try checkErrno("readlink", link) {
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { buffer -> String? in
                guard let start = buffer.baseAddress else { return nil }
                let length = start.withMemoryRebound(to: CChar.self, capacity: buffer.count) {
                    readlink(link, $0, buffer.count)
                }
                return length < 0 ? nil : String(decoding: buffer[..<length], as: UTF8.self)
            }
        }
        // Links are called bpf_link by older kernels, bpf-link by newer ones.
        guard target.replacing("_link", with: "-link") == "anon_inode:\(kind.rawValue)" else {
            throw BPFError(
                .wrongKind, operation: "bpf_obj_get", subject: path,
                detail: "a \(kind.noun) was expected, the pin is \(target)",
                advice: "another version or program pinned it; remove the file if nothing uses it")
        }
        return descriptor
    }

    /// Pins the object behind this descriptor in a bpffs.
    func pin(at path: String) throws(BPFError) {
        try check(bpf_obj_pin(raw, path), "bpf_obj_pin", path)
    }

    /// The kernel's description of the object. `empty` is the C struct for it, all zero bytes.
    func objectInfo<Info>(_ empty: Info, subject: @autoclosure () -> String) throws(BPFError) -> Info {
        var info = empty
        var length = UInt32(MemoryLayout<Info>.size)
        let result = withUnsafeMutablePointer(to: &info) { bpf_obj_get_info_by_fd(raw, $0, &length) }
        try check(result, "bpf_obj_get_info_by_fd", subject())
        return info
    }
}
