internal import CLinux
internal import Glibc
public import Netlink

/// A network namespace without a name: it lives as long as this object, the sockets and processes in it, and goes
/// with the process, however that ends. There is nothing to clean up.
///
/// Only the network is separate. Mounts are shared, so a bpffs is seen by everybody.
public final class NetworkNamespace: Sendable {
    private typealias Job = @Sendable () -> Void

    private struct Queue: Sendable {
        var jobs: [Job] = []
        var isClosed = false
    }

    private struct Home: Sendable {
        let thread: pid_t
        let descriptor: Int32
    }

    /// For messages: who lives here.
    public let name: String
    private let queue = Monitor(Queue())
    private let home: Home
    private let descriptor: LinuxDescriptor

    /// Makes a namespace with its loopback interface up. Needs CAP_SYS_ADMIN.
    public init(name: String) throws {
        self.name = name
        let arrival = Monitor<Result<Home, LabError>?>(nil)
        _ = try LabThread { [queue] in
            let result = Result { () throws(LabError) in try Self.moveIn(name) }
            arrival.withLock { $0 = result }
            guard case .success = result else { return }
            while let job = queue.wait(until: Self.nextJob) ?? nil { job() }
        }
        guard let result = arrival.wait(until: { $0 }) else { throw LabError("make", "namespace \(name)", .timedOut) }
        home = try result.get()
        descriptor = LinuxDescriptor(owning: home.descriptor)
        try setUpLoopback()
    }

    deinit {
        queue.withLock { $0.isClosed = true }
    }

    /// Another process may enter here, while this object lives: `nsenter --net=PATH`.
    public var path: String { "/proc/\(getpid())/fd/\(descriptor.raw)" }

    /// The namespace itself, for netlink requests that name another namespace. Borrowed: valid while this object lives.
    public var rawDescriptor: Int32 { descriptor.raw }

    /// Runs the closure on the namespace's own thread and waits for it. Sockets, threads and processes that it makes
    /// belong to the namespace. Calls are served one after the other; a call from within runs at once.
    public func run<R: Sendable>(_ body: @escaping @Sendable () throws -> R) throws -> R {
        if nt_thread_id() == home.thread { return try body() }
        let outcome = Monitor<Result<R, any Error>?>(nil)
        queue.withLock { queue in
            queue.jobs.append {
                let result = Result { try body() }
                outcome.withLock { $0 = result }
            }
        }
        guard let result = outcome.wait(until: { $0 }) else { throw LabError("run in", name, .timedOut) }
        return try result.get()
    }

    /// Sets a network setting of this namespace: `sysctl("ipv4/ip_forward", "1")` writes
    /// `/proc/sys/net/ipv4/ip_forward`. Such a path leads to the settings of the reading thread's namespace.
    public func sysctl(_ name: String, _ value: String) throws {
        try run {
            let path = "/proc/sys/net/\(name)"
            let file = open(path, O_WRONLY | O_CLOEXEC)
            guard file >= 0 else { throw LabError.last("open", path) }
            let descriptor = LinuxDescriptor(owning: file)
            guard write(descriptor.raw, value, value.utf8.count) >= 0 else {
                throw LabError.last("write \(value) to", path)
            }
        }
    }

    /// Runs the closure with a netlink socket of this namespace.
    public func withNetlink<R: Sendable>(
        _ body: @escaping @Sendable (inout NetlinkSocket) throws -> R
    ) throws -> R {
        try run {
            var socket = try NetlinkSocket()
            return try body(&socket)
        }
    }

    private func setUpLoopback() throws {
        try withNetlink { try $0.setUp(1) }
    }

    /// Leaves the old namespace for good; `/proc/thread-self` is the calling thread.
    private static func moveIn(_ name: String) throws(LabError) -> Home {
        let result = nt_unshare_network()
        guard result == 0 else { throw LabError("make", "network namespace \(name)", .system(-result)) }
        let descriptor = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw LabError.last("open", "network namespace \(name)") }
        return Home(thread: nt_thread_id(), descriptor: descriptor)
    }

    /// The next job, an inner `nil` when there will be none, an outer `nil` to wait.
    private static func nextJob(_ queue: inout Queue) -> Job?? {
        guard queue.jobs.isEmpty else { return .some(queue.jobs.removeFirst()) }
        return queue.isClosed ? .some(nil) : nil
    }
}
