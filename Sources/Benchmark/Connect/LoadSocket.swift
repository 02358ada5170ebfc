internal import CLinux
internal import Glibc
internal import NetLab
internal import NetTypes
internal import Netlink

/// System calls on TCP sockets that never block.
enum LoadSocket {
    /// A broken connection is an error here, and no SIGPIPE.
    private static let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)

    /// A new socket in the calling thread's namespace; negative, with `errno`, if there is none.
    static func make(_ family: IPFamily) -> Int32 {
        let type = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        return socket(family.socketFamily, Int32(type), 0)
    }

    /// Bytes sent; negative, with `errno`, if none.
    static func send(_ socket: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
        Glibc.send(socket, bytes, count, flags)
    }

    /// Bytes received, 0 at the end of the stream; negative, with `errno`, if none.
    static func receive(_ socket: Int32, _ buffer: UnsafeMutableRawPointer, _ capacity: Int) -> Int {
        recv(socket, buffer, capacity, flags)
    }

    /// Whether a call that failed with `errno` may be made again later.
    static var isForLater: Bool { errno == EAGAIN || errno == EINTR }

    /// A socket that listens on all addresses of a family.
    static func listening(_ family: IPFamily, _ port: UInt16, owner: String) throws -> LinuxDescriptor {
        let raw = make(family)
        guard raw >= 0 else { throw LabError.last("make socket", "server of \(owner)") }
        let descriptor = LinuxDescriptor(owning: raw)
        let any = family == .v4 ? IPAddress(v4: 0) : IPAddress(v6: 0)
        var one: Int32 = 1
        let size = socklen_t(MemoryLayout<Int32>.size)
        var result = setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &one, size)
        if result == 0, family == .v6 { result = setsockopt(raw, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &one, size) }
        if result == 0 { result = SocketAddress(any, port).withPointer { bind(raw, $0, $1) } }
        if result == 0 { result = listen(raw, 4096) }
        guard result == 0 else { throw LabError.last("listen", "\(any.withPort(port)) of \(owner)") }
        return descriptor
    }
}

/// The clock of the load.
enum LoadClock {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
