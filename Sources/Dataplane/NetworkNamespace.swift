internal import BPF
internal import Glibc
internal import SystemPackage

/// Network namespaces, that of the calling thread before all.
enum NetworkNamespace {
    /// `SO_NETNS_COOKIE` (Linux 5.14), which the C library's headers do not have yet.
    private static let netnsCookie: Int32 = 71

    /// What `bpf_get_netns_cookie()` says of sockets of this namespace.
    static func cookie() throws -> UInt64 {
        let descriptor = OwnedDescriptor(
            adopting: socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
        var cookie: UInt64 = 0
        var size = socklen_t(MemoryLayout<UInt64>.size)
        guard getsockopt(descriptor.raw, SOL_SOCKET, netnsCookie, &cookie, &size) == 0 else {
            let failure = Errno(rawValue: errno)
            throw DatapathError.unsupportedKernel("cannot tell this network namespace from others: \(failure)")
        }
        return cookie
    }

    /// Paths by which network namespaces can be opened, by inode number: that of the calling thread, and those of all
    /// processes this one may see. Namespaces without a process are not found.
    static func paths(of wanted: Set<UInt64>) -> [UInt64: String] {
        var found: [UInt64: String] = [:]
        func look(_ path: String) {
            var status = stat()
            guard stat(path, &status) == 0 else { return }
            let inode = UInt64(status.st_ino)
            if wanted.contains(inode), found[inode] == nil { found[inode] = path }
        }
        look("/proc/thread-self/ns/net")
        guard found.count < wanted.count, let processes = opendir("/proc") else { return found }
        defer { closedir(processes) }
        while found.count < wanted.count, let entry = readdir(processes) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if UInt32(name) != nil { look("/proc/\(name)/ns/net") }
        }
        return found
    }
}
