internal import CLinux
internal import Glibc
internal import NetLab
internal import NetTypes
internal import Netlink
internal import Synchronization

/// Answers the clients of the benchmark, on a thread of its own in a host's namespace, until it is stopped or its last
/// reference goes.
///
/// It allocates nothing while it serves. A client that does not keep to ``LoadMessage``, or does not read its answers,
/// is disconnected.
final class LoadServer: Sendable {
    /// The port, on all addresses of the host.
    let port: UInt16
    private let work: LoadServerWork
    private let thread: LabThread

    /// Starts a server.
    ///
    /// - Parameter processor: which of the processors that may be used the thread stays on, by its index.
    init(_ host: Host, port: UInt16, processor: UInt32 = 1) throws {
        self.port = port
        let work = try LoadServerWork(owner: host.name)
        self.work = work
        thread = try host.namespace.run {
            let v4 = try LoadSocket.listening(.v4, port, owner: host.name)
            let v6 = try LoadSocket.listening(.v6, port, owner: host.name)
            let listeners = LoadListeners(v4: v4, v6: v6)
            return try LabThread {
                nt_pin_thread(processor)
                work.serve(listeners)
            }
        }
    }

    deinit {
        work.askToStop()
    }

    /// Connections that were accepted.
    var accepted: Int { work.accepted.load(ordering: .relaxed) }
    /// Requests that were answered.
    var answered: Int { work.answered.load(ordering: .relaxed) }
    /// Bytes that were received of streams.
    var streamed: Int { work.streamed.load(ordering: .relaxed) }
    /// Connections that are open now.
    var open: Int { work.open.load(ordering: .acquiring) }

    /// Waits until all connections are closed, so that nothing of them is in the way of the next.
    func waitUntilIdle(atMost limit: Duration) throws {
        let deadline = ContinuousClock.now + limit
        while open > 0 {
            guard ContinuousClock.now < deadline else {
                throw LabError("wait until", "all connections to port \(port) are closed", .timedOut)
            }
            usleep(200)
        }
    }

    /// Closes all sockets. Nothing is served any more when this returns.
    func stop() throws {
        work.askToStop()
        guard thread.join(atMost: .seconds(10)) else { throw LabError("stop", "server on port \(port)", .timedOut) }
    }
}

/// Where clients knock.
final class LoadListeners: Sendable {
    let v4, v6: LinuxDescriptor

    init(v4: consuming LinuxDescriptor, v6: consuming LinuxDescriptor) {
        self.v4 = v4
        self.v6 = v6
    }
}

/// What the server shares with its thread, which does not hold the server itself, so that its last reference can end it.
final class LoadServerWork: Sendable {
    let accepted = Atomic(0)
    let answered = Atomic(0)
    let streamed = Atomic(0)
    let open = Atomic(0)
    /// An eventfd, readable from the moment the server is to stop.
    private let stop: LinuxDescriptor

    init(owner: String) throws {
        let raw = eventfd(0, Int32(EFD_CLOEXEC))
        guard raw >= 0 else { throw LabError.last("start", "server of \(owner)") }
        stop = LinuxDescriptor(owning: raw)
    }

    func askToStop() {
        eventfd_write(stop.raw, 1)
    }

    func serve(_ listeners: LoadListeners) {
        // When epoll fails nobody is answered any more, and the clients say so.
        guard let epoll = try? Epoll() else { return }
        var session = LoadServerSession(self, listeners, epoll)
        try? session.run()
    }

    /// Waits for the stop along with others.
    func watchStop(_ epoll: borrowing Epoll, _ number: UInt32) throws(LabError) {
        try epoll.add(stop.raw, number, .readable)
    }
}
