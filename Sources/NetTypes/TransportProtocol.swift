/// A transport protocol as numbered by IANA.
public enum TransportProtocol: UInt8, Sendable, Hashable, Comparable, CaseIterable, CustomStringConvertible {
    /// TCP, 6.
    case tcp = 6
    /// UDP, 17.
    case udp = 17
    /// SCTP, 132. Part of the Service API; not balanced.
    case sctp = 132

    /// Reads `TCP`, `UDP` or `SCTP`, in any case.
    public init?(_ name: some StringProtocol) {
        switch name.lowercased() {
        case "tcp": self = .tcp
        case "udp": self = .udp
        case "sctp": self = .sctp
        default: return nil
        }
    }

    /// `TCP`, `UDP` or `SCTP`, as Kubernetes writes it.
    public var description: String {
        switch self {
        case .tcp: "TCP"
        case .udp: "UDP"
        case .sctp: "SCTP"
        }
    }

    /// By number.
    public static func < (a: TransportProtocol, b: TransportProtocol) -> Bool { a.rawValue < b.rawValue }
}

/// An address, port (host byte order) and protocol: what a frontend listens on and a backend is reached at.
public struct TransportEndpoint: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The address.
    public let address: IPAddress
    /// The port in host byte order.
    public let port: UInt16
    /// The protocol.
    public let transport: TransportProtocol

    /// Puts the three together.
    public init(_ address: IPAddress, _ port: UInt16, _ transport: TransportProtocol) {
        self.address = address
        self.port = port
        self.transport = transport
    }

    /// `192.0.2.1:80/TCP` or `[2001:db8::1]:80/TCP`.
    public var description: String { "\(address.withPort(port))/\(transport)" }

    /// By address, port, protocol.
    public static func < (a: Self, b: Self) -> Bool {
        if a.address != b.address { return a.address < b.address }
        return (a.port, a.transport) < (b.port, b.transport)
    }

    /// In as few words as hold it: endpoints are what the control plane looks up most.
    public func hash(into hasher: inout Hasher) {
        let service = UInt64(port) << 8 | UInt64(transport.rawValue)
        switch address.family {
        case .v4: hasher.combine(address.low << 24 | service)
        case .v6:
            hasher.combine(address.high)
            hasher.combine(address.low)
            hasher.combine(service)
        }
    }
}
