internal import CLinux
internal import Glibc
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

/// What an ICMP or ICMPv6 message said about a datagram that a socket had sent.
public struct ICMPError: Sendable, Hashable {
    /// The type: 3 is "unreachable" in ICMP, 1 in ICMPv6.
    public let type: UInt8
    /// The code.
    public let code: UInt8
    /// The MTU (bytes of IP), of a message that tells one; else 0.
    public let mtu: UInt32
    /// Who sent it.
    public let sender: IPAddress

    /// An error.
    public init(type: UInt8, code: UInt8, mtu: UInt32 = 0, sender: IPAddress) {
        self.type = type
        self.code = code
        self.mtu = mtu
        self.sender = sender
    }

    /// "Too long for the path": fragmentation needed, packet too big.
    public static func tooBig(mtu: UInt32, sender: IPAddress) -> ICMPError {
        sender.family == .v4
            ? ICMPError(type: 3, code: 4, mtu: mtu, sender: sender)
            : ICMPError(type: 2, code: 0, mtu: mtu, sender: sender)
    }

    /// "Nobody has this port".
    public static func portUnreachable(sender: IPAddress) -> ICMPError {
        sender.family == .v4
            ? ICMPError(type: 3, code: 3, sender: sender) : ICMPError(type: 1, code: 4, sender: sender)
    }

    /// "The hop limit ran out on the way".
    public static func timeExceeded(sender: IPAddress) -> ICMPError {
        sender.family == .v4
            ? ICMPError(type: 11, code: 0, sender: sender) : ICMPError(type: 3, code: 0, sender: sender)
    }
}

/// A UDP socket of a test client, connected or not. Every call ends within the time limit.
public final class UDPClient: Sendable {
    private let socket: LabSocket
    private let family: IPFamily

    /// Makes an unconnected socket on a host. A port of 0 lets the kernel choose.
    public init(_ host: Host, _ family: IPFamily, sourcePort: UInt16 = 0, timeout: Duration = .seconds(3)) throws {
        self.family = family
        socket = try LabSocket(host, family, .udp, timeout: timeout)
        try socket.bind(.zero(family), sourcePort)
    }

    /// Makes an unconnected IPv6 socket that is not bound, and may send to IPv4-mapped addresses.
    public init(dualStack host: Host, timeout: Duration = .seconds(3)) throws {
        family = .v6
        socket = try LabSocket(host, .v6, .udp, timeout: timeout)
    }

    /// Makes an unconnected socket that listens on an address of the host, the unspecified one for all.
    public init(_ host: Host, listeningOn address: IPAddress, port: UInt16, timeout: Duration = .seconds(3)) throws {
        family = address.family
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

    /// Sends with this TTL or hop limit.
    public func setHopLimit(_ hops: Int32) throws {
        switch family {
        case .v4: try socket.set(Int32(IPPROTO_IP), IP_TTL, hops)
        case .v6: try socket.set(Int32(IPPROTO_IPV6), IPV6_UNICAST_HOPS, hops)
        }
    }

    /// Sends every datagram whole, whatever path MTU is known: too long ones come back as errors.
    public func sendWhole() throws {
        switch family {
        case .v4: try socket.set(Int32(IPPROTO_IP), IP_MTU_DISCOVER, Int32(IP_PMTUDISC_PROBE))
        case .v6: try socket.set(Int32(IPPROTO_IPV6), IPV6_MTU_DISCOVER, Int32(IPV6_PMTUDISC_PROBE))
        }
    }

    /// The next ICMP error about something sent after ``collectErrors()``.
    public func nextError(timeout: Duration = .seconds(3)) throws -> ICMPError {
        guard let error = try socket.receiveError(atMost: timeout) else {
            throw LabError("receive error", "\(local)", .timedOut)
        }
        let bytes = withUnsafeBytes(of: error.sender) { Array($0.prefix(family == .v4 ? 4 : 16)) }
        return ICMPError(
            type: error.type, code: error.code, mtu: error.information, sender: IPAddress(bytes: bytes) ?? .zero(family)
        )
    }

    /// Keeps ICMP errors for ``nextError(timeout:)``. Until one is taken there, sending or receiving fails with it.
    public func collectErrors() throws {
        switch family {
        case .v4: try socket.set(Int32(IPPROTO_IP), IP_RECVERR, Int32(1))
        case .v6: try socket.set(Int32(IPPROTO_IPV6), IPV6_RECVERR, Int32(1))
        }
    }
}
