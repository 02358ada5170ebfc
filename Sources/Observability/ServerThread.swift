internal import Glibc
internal import NIOCore
internal import NIOPosix

/// The thread that servers run on; one is enough for all of them. Whatever takes time is done elsewhere.
public final class ServerThread: Sendable {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop: any EventLoop

    /// Starts it. As Go's runtime does for kube-proxy, it lets the process have as many descriptors as it ever may: each
    /// `healthCheckNodePort` needs two, and the usual limit of 1024 is there for programs that use `select`.
    public init() {
        loop = group.next()
        var limit = rlimit()
        if getrlimit(Int32(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max
            // Should it fail, what does not fit is reported when it is to be opened.
            _ = setrlimit(Int32(RLIMIT_NOFILE.rawValue), &limit)
        }
    }

    /// Ends it, with all connections.
    public func shutdown() async {
        // It fails only where it has been called before.
        try? await group.shutdownGracefully()
    }
}
