public import NetTypes

/// A datagram that arrived.
public struct Datagram: Sendable, Hashable {
    /// The payload.
    public let bytes: [UInt8]
    /// Who sent it, as the receiver sees it.
    public let sender: TransportEndpoint

    /// The payload as text.
    public var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// A UDP socket of a test client, connected or not. Every call ends within the time limit.
public final class UDPClient: Sendable {
    private let socket: LabSocket

    /// Makes an unconnected socket on a host. A port of 0 lets the kernel choose.
    public init(_ host: Host, _ family: IPFamily, sourcePort: UInt16 = 0, timeout: Duration = .seconds(3)) throws {
        socket = try LabSocket(host, family, .udp, timeout: timeout)
        try socket.bind(.zero(family), sourcePort)
    }

    /// Makes an unconnected IPv6 socket that is not bound, and may send to IPv4-mapped addresses.
    public init(dualStack host: Host, timeout: Duration = .seconds(3)) throws {
        socket = try LabSocket(host, .v6, .udp, timeout: timeout)
    }

    /// Makes an unconnected socket that listens on an address of the host, the unspecified one for all.
    public init(_ host: Host, listeningOn address: IPAddress, port: UInt16, timeout: Duration = .seconds(3)) throws {
        socket = try LabSocket(host, address.family, .udp, timeout: timeout)
        try socket.bind(address, port)
    }

    /// The client's end.
    public var local: TransportEndpoint { socket.local }
    /// The other end as `getpeername` tells it; throws when not connected.
    public var remote: TransportEndpoint { get throws { try socket.remote } }

    /// Fixes the destination, and receives from there only.
    public func connect(to address: IPAddress, port: UInt16) throws {
        try socket.connect(address, port)
    }

    /// Changes the time limit of each later call.
    public func setTimeout(_ limit: Duration) throws { try socket.setTimeout(limit) }

    /// Sends to the connected destination.
    public func send(_ text: String) throws { try socket.send(Array(text.utf8)) }

    /// Sends to a destination.
    public func send(_ text: String, to address: IPAddress, port: UInt16) throws {
        try send(Array(text.utf8), to: address, port: port)
    }

    /// Sends to a destination.
    public func send(_ bytes: [UInt8], to address: IPAddress, port: UInt16) throws {
        try socket.send(bytes, to: (address, port))
    }

    /// The next datagram.
    public func receive() throws -> Datagram {
        let (bytes, sender) = try socket.receive()
        return Datagram(bytes: bytes, sender: sender)
    }

    /// Sends to a destination and returns the next datagram that comes.
    public func request(_ text: String, to address: IPAddress, port: UInt16) throws -> Datagram {
        try send(text, to: address, port: port)
        return try receive()
    }

    /// Sends to the connected destination and returns the next datagram that comes.
    public func request(_ text: String) throws -> Datagram {
        try send(text)
        return try receive()
    }
}
