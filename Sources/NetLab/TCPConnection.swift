internal import Glibc
public import NetTypes
internal import Synchronization

/// A TCP connection of a test client, for one user at a time. Every call ends within the time limit. It is closed with its
/// last reference at the latest.
public final class TCPConnection: Sendable {
    private struct State {
        var socket: LabSocket?
        var received = LineBuffer()
    }

    /// The client's end.
    public let local: TransportEndpoint
    private let state: Mutex<State>
    private let object: String

    /// Connects from a host. A source port of 0 lets the kernel choose; a source address is needed only where the host
    /// has several.
    public init(
        _ host: Host, to address: IPAddress, port: UInt16, source: IPAddress? = nil, sourcePort: UInt16 = 0,
        timeout: Duration = .seconds(3)
    ) throws {
        let socket = try LabSocket(host, address.family, .tcp, timeout: timeout)
        if source != nil || sourcePort != 0 { try socket.bind(source ?? .zero(address.family), sourcePort) }
        try socket.connect(address, port)
        local = socket.local
        object = "\(address.withPort(port)) from \(host.name)"
        state = Mutex(State(socket: socket))
    }

    /// The other end as `getpeername` tells it.
    public var remote: TransportEndpoint {
        get throws { try withSocket { socket, _ in try socket.remote } }
    }

    /// How many bytes of payload a segment may have at present, as the path and the other end have it.
    public var maximumSegmentSize: Int {
        get throws { try withSocket { socket, _ in Int(try socket.get(Int32(IPPROTO_TCP), TCP_MAXSEG)) } }
    }

    /// Changes the time limit of each later call.
    public func setTimeout(_ limit: Duration) throws {
        try withSocket { socket, _ in try socket.setTimeout(limit) }
    }

    /// Sends the text as it is.
    public func send(_ text: String) throws {
        try withSocket { socket, _ in try socket.send(Array(text.utf8)) }
    }

    /// The next line, without its end.
    public func receiveLine() throws -> String {
        let object = object
        return try withSocket { socket, received in
            guard let line = try received.line({ try socket.receive().bytes }) else {
                throw LabError("receive", object, .closed)
            }
            return line
        }
    }

    /// Sends a line and returns the line that answers it.
    public func request(_ line: String) throws -> String {
        try send(line + "\n")
        return try receiveLine()
    }

    /// Asks for a path over HTTP/1.1 and leaves the connection open for more.
    public func get(_ path: String = "/", hostName: String = "test") throws -> HTTPResponse {
        try send("GET \(path) HTTP/1.1\r\nHost: \(hostName)\r\n\r\n")
        let object = object
        return try withSocket { socket, received in
            try HTTPResponse(&received, object) { try socket.receive().bytes }
        }
    }

    /// Waits for the other side to close in good order; throws ``LabError`` when it resets, or when the time is up.
    public func waitForEnd() throws {
        try withSocket { socket, _ in
            while try !socket.receive().bytes.isEmpty {}
        }
    }

    /// Closes in good order (FIN).
    public func close() {
        state.withLock { $0.socket = nil }
    }

    /// Closes with a reset (RST).
    public func reset() throws {
        try withSocket { socket, _ in try socket.resetOnClose() }
        close()
    }

    private func withSocket<R>(_ body: (LabSocket, inout LineBuffer) throws -> sending R) throws -> sending R {
        try state.withLock { state throws -> sending R in
            guard let socket = state.socket else { throw LabError("use", object, .other("closed already")) }
            return try body(socket, &state.received)
        }
    }
}
