internal import CLinux
internal import NetLab
internal import NetTypes

/// What a client does over and over.
enum LoadKind: String, Sendable, Hashable, CaseIterable {
    /// Connects, sends a request, receives the answer and the server's end of the connection, closes.
    case connect
    /// Sends a request on an open connection and receives the answer.
    case request
    /// Sends as fast as it may on open connections.
    case bulk
}

/// What came of a client's work.
struct LoadResult: Sendable {
    /// Connections or requests that were made in all, those outside of the time that counts included; of bulk, bytes that
    /// were sent.
    var total = 0
    /// The same, within the time that counts; of bulk, bytes that the server received.
    var counted = 0
    /// How long the time that counts was, in nanoseconds.
    var elapsed: UInt64 = 0
    /// How long each that counts took, in nanoseconds; of bulk, none.
    var latencies = HdrHistogram(highest: LoadClient.longest)

    /// How many a second; of bulk, bits.
    func rate(_ kind: LoadKind) -> Double {
        elapsed == 0 ? 0 : Double(counted) * (kind == .bulk ? 8 : 1) / (Double(elapsed) / 1e9)
    }
}

/// A client of ``LoadServer``: a closed loop over a number of connections, on one thread.
///
/// The server closes first where connections are closed, so that TIME_WAIT is on its side and the client does not run out
/// of ports.
struct LoadClient: Sendable {
    /// At the same time.
    static let mostConnections = 1024
    /// The latency beyond which no difference is made, in nanoseconds.
    static let longest: UInt64 = 100_000_000_000

    /// What it does.
    let kind: LoadKind
    /// To whom it connects; the server may be known to it by another address.
    let target: TransportEndpoint
    /// Who is to be reached there.
    let server: LoadServer
    /// From 1 to ``mostConnections``.
    let concurrency: Int
    /// How long it counts, in seconds. Before that it works a tenth of that without counting.
    let duration: Double
    /// How long nothing may happen, in seconds: longer than the kernel takes to send a lost SYN again, twice.
    var patience = 5.0

    /// Works from a host, on a thread made for it that begins in the namespace and cgroup of the host's.
    ///
    /// - Parameter processor: which of the processors that may be used the thread stays on, by its index.
    /// - Throws: `LabError` when a connection fails, when nothing happens for too long, or when the server does not say the
    ///   same as the client of how much was done.
    func run(from host: Host, processor: UInt32 = 0) throws -> LoadResult {
        let before = (answered: server.answered, streamed: server.streamed)
        let outcome = Monitor<Result<LoadResult, LabError>?>(nil)
        try host.namespace.run {
            _ = try LabThread {
                nt_pin_thread(processor)
                let result = Result { () throws(LabError) in
                    var session = try LoadClientSession(self, owner: host.name)
                    return try session.run()
                }
                outcome.withLock { $0 = result }
            }
        }
        guard let result = try outcome.wait(until: { $0 })?.get() else { return LoadResult() }
        try server.waitUntilIdle(atMost: .seconds(patience))
        let served = kind == .bulk ? server.streamed - before.streamed : server.answered - before.answered
        guard served == result.total else {
            throw LabError(
                "compare", "\(kind.rawValue) to \(target)",
                .other("the client counts \(result.total) and the server \(served)"))
        }
        return result
    }
}
