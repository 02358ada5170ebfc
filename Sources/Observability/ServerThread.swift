internal import NIOCore
internal import NIOPosix

/// The thread that servers run on; one is enough for all of them. Whatever takes time is done elsewhere.
public final class ServerThread: Sendable {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop: any EventLoop

    /// Starts it.
    public init() {
        loop = group.next()
    }

    /// Ends it, with all connections.
    public func shutdown() async {
        // It fails only where it has been called before.
        try? await group.shutdownGracefully()
    }
}
