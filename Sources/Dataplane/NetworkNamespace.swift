internal import BPF
internal import Glibc
internal import SystemPackage

/// The network namespace of the calling thread.
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
}
