internal import CLinux
internal import Glibc
public import NetTypes
internal import Netlink

/// A server that says who it is, and whom it sees as its client.
///
/// * TCP: each line is answered by `NAME CLIENT LINE`, where `CLIENT` is `192.0.2.2:4711` or `[2001:db8::2]:4711`.
/// * HTTP/1.1 on the same TCP port: each GET is answered by a body `NAME CLIENT`, and the connection is kept.
/// * UDP: each datagram is answered by `NAME CLIENT PAYLOAD`.
///
/// Runs on threads of its own until it is stopped or its last reference goes.
public final class EchoServer: Sendable {
    /// What the server answers with.
    public let name: String
    /// The port of all its sockets.
    public let port: UInt16
    private let work: EchoWork

    /// Starts a server on every address of a host. The name is the host's unless given.
    public init(
        _ host: Host, port: UInt16, name: String? = nil, families: [IPFamily] = IPFamily.allCases,
        transports: [TransportProtocol] = [.tcp, .udp]
    ) throws {
        let name = name ?? host.name
        self.name = name
        self.port = port
        let work = try EchoWork(name: name)
        self.work = work
        for family in families {
            for transport in transports {
                // What poll announced may be gone: a client that gave up, a datagram with a wrong checksum.
                let socket = try LabSocket(host, family, transport, timeout: .milliseconds(100))
                try socket.bind(.zero(family), port)
                if transport == .tcp {
                    try socket.listen()
                    try work.start { work.acceptConnections(socket) }
                } else {
                    try work.start { work.answerDatagrams(socket) }
                }
            }
        }
    }

    deinit {
        work.askToStop()
    }

    /// How many connections were accepted.
    public var connectionCount: Int { work.counts.withLock { $0.connections } }
    /// How many lines, HTTP requests and datagrams were answered.
    public var requestCount: Int { work.counts.withLock { $0.requests } }
    /// How many connections are open now.
    public var openConnectionCount: Int { work.counts.withLock { $0.open } }

    /// Closes all sockets, those of open connections included. The port is free when this returns.
    public func stop() throws {
        work.askToStop()
        guard work.counts.wait(atMost: .seconds(10), until: { $0.threads == 0 ? true : nil }) != nil else {
            throw LabError("stop", "server \(name)", .timedOut)
        }
    }
}

/// What the threads of a server share. They do not hold the server itself, so that its last reference can end them.
private final class EchoWork: Sendable {
    struct Counts {
        var connections = 0
        var open = 0
        var requests = 0
        var threads = 0
    }

    let counts = Monitor(Counts())
    private let name: String
    /// An eventfd, readable from the moment the server is to stop.
    private let stop: LinuxDescriptor

    init(name: String) throws {
        let raw = eventfd(0, Int32(EFD_CLOEXEC))
        guard raw >= 0 else { throw LabError.last("start", "server \(name)") }
        self.name = name
        stop = LinuxDescriptor(owning: raw)
    }

    func askToStop() {
        eventfd_write(stop.raw, 1)
    }

    func start(_ body: @escaping @Sendable () -> Void) throws {
        counts.withLock { $0.threads += 1 }
        do {
            _ = try LabThread { [counts] in
                body()
                counts.withLock { $0.threads -= 1 }
            }
        } catch {
            counts.withLock { $0.threads -= 1 }
            throw error
        }
    }

    func acceptConnections(_ listener: LabSocket) {
        while listener.waitToRead(orUntil: stop) {
            // A client that gave up in the meantime, or too many open files: the client sees it, the server goes on.
            guard let connection = try? listener.accept() else { continue }
            counts.withLock {
                $0.connections += 1
                $0.open += 1
            }
            do {
                try start {
                    // A connection that breaks is over; the client is the one who tells.
                    try? self.answer(connection)
                    self.counts.withLock { $0.open -= 1 }
                }
            } catch {
                counts.withLock { $0.open -= 1 }
            }
        }
    }

    func answerDatagrams(_ socket: LabSocket) {
        while socket.waitToRead(orUntil: stop) {
            // An ICMP error for an earlier answer arrives here, too.
            guard let (bytes, sender) = try? socket.receive() else { continue }
            let reply = Array("\(name) \(sender.address.withPort(sender.port)) ".utf8) + bytes
            counts.withLock { $0.requests += 1 }
            try? socket.send(reply, to: (sender.address, sender.port))
        }
    }

    private func answer(_ connection: LabSocket) throws {
        let peer = try connection.remote
        let identity = "\(name) \(peer.address.withPort(peer.port))"
        var received = LineBuffer()
        let receive = { [self] in connection.waitToRead(orUntil: stop) ? try connection.receive().bytes : [] }
        while let line = try received.line(receive) {
            counts.withLock { $0.requests += 1 }
            guard line.hasPrefix("GET "), line.contains(" HTTP/1.") else {
                try connection.send(Array("\(identity) \(line)\n".utf8))
                continue
            }
            var isLast = false
            while let header = try received.line(receive), !header.isEmpty {
                isLast = isLast || header.lowercased() == "connection: close"
            }
            let body = identity + "\n"
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: \(body.utf8.count)\r\n"
                + "Connection: \(isLast ? "close" : "keep-alive")\r\n\r\n"
            try connection.send(Array((head + body).utf8))
            if isLast { return }
        }
    }
}
