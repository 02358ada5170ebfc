internal import Glibc

/// An inotify watch on a directory.
struct DirectoryWatch: ~Copyable {
    /// Something that happened in the directory.
    struct Change {
        let mask: UInt32
        let name: String

        func has(_ flags: UInt32...) -> Bool { flags.contains { mask & $0 != 0 } }
    }

    private let inotify: OwnedDescriptor
    private let path: String
    private let identity: FileStamp

    init(path: String) throws(SystemError) {
        let inotify = try OwnedDescriptor(inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC)))
        let identity = try FileStamp(path: path)
        let content = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB
        let mask = UInt32(content) | UInt32(IN_DELETE_SELF) | UInt32(IN_MOVE_SELF) | UInt32(IN_ONLYDIR)
        guard inotify_add_watch(inotify.raw, path, mask) >= 0 else { throw SystemError(errno) }
        // The path may have come to mean another directory in between.
        guard Self.leads(path, to: identity) else { throw SystemError(EAGAIN) }
        self.inotify = inotify
        self.path = path
        self.identity = identity
    }

    var descriptor: Int32 { inotify.raw }

    /// Whether the path still leads to the directory that is watched.
    var isCurrent: Bool { Self.leads(path, to: identity) }

    private static func leads(_ path: String, to identity: FileStamp) -> Bool {
        guard let now = try? FileStamp(path: path) else { return false }
        return (now.device, now.inode) == (identity.device, identity.inode)
    }

    /// All that happened since the last call, without waiting.
    func drain() -> [Change] {
        var changes: [Change] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(inotify.raw, &buffer, buffer.count)
            guard count > 0 else { return changes }
            buffer.withUnsafeBytes { bytes in
                Self.decode(UnsafeRawBufferPointer(rebasing: bytes.prefix(count)), into: &changes)
            }
        }
    }

    private static func decode(_ bytes: UnsafeRawBufferPointer, into changes: inout [Change]) {
        let header = MemoryLayout<inotify_event>.size
        var offset = 0
        while offset + header <= bytes.count {
            let event = bytes.loadUnaligned(fromByteOffset: offset, as: inotify_event.self)
            let end = min(offset + header + Int(event.len), bytes.count)
            let name = String(decoding: bytes[(offset + header)..<end].prefix { $0 != 0 }, as: UTF8.self)
            changes.append(Change(mask: event.mask, name: name))
            offset = end
        }
    }
}
