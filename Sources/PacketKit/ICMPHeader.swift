public import NetTypes

/// An ICMP or ICMPv6 header; which one, the address family says (RFC 792, RFC 4443).
///
/// The functions that name a message give it the numbers it has in a family.
public struct ICMPHeader: Sendable, Hashable {
    /// The type.
    public var type: UInt8
    /// The code.
    public var code: UInt8
    /// The four bytes after the checksum.
    public var rest: UInt32
    /// The checksum.
    public var checksum = ChecksumField.correct

    /// A header.
    public init(type: UInt8, code: UInt8 = 0, rest: UInt32 = 0) {
        self.type = type
        self.code = code
        self.rest = rest
    }

    /// A question to be answered with the same identifier, sequence number and data.
    public static func echoRequest(_ family: IPFamily, identifier: UInt16 = 1, sequence: UInt16 = 1) -> ICMPHeader {
        ICMPHeader(type: family == .v4 ? 8 : 128, rest: UInt32(identifier) << 16 | UInt32(sequence))
    }

    /// The answer to an echo request.
    public static func echoReply(_ family: IPFamily, identifier: UInt16 = 1, sequence: UInt16 = 1) -> ICMPHeader {
        ICMPHeader(type: family == .v4 ? 0 : 129, rest: UInt32(identifier) << 16 | UInt32(sequence))
    }

    /// The packet cannot be delivered, for the reason that `code` has in this family.
    public static func destinationUnreachable(_ family: IPFamily, code: UInt8) -> ICMPHeader {
        ICMPHeader(type: family == .v4 ? 3 : 1, code: code)
    }

    /// Nobody listens on the port: 3/3 or 1/4.
    public static func portUnreachable(_ family: IPFamily) -> ICMPHeader {
        destinationUnreachable(family, code: family == .v4 ? 3 : 4)
    }

    /// The packet is longer than the next link takes: 3/4 (RFC 1191; the low 16 bits of `mtu`) or 2/0.
    ///
    /// - Parameter mtu: in bytes, IP header included.
    public static func packetTooBig(_ family: IPFamily, mtu: UInt32) -> ICMPHeader {
        family == .v4 ? ICMPHeader(type: 3, code: 4, rest: mtu & 0xFFFF) : ICMPHeader(type: 2, rest: mtu)
    }

    /// The hop limit has run out (code 0), or the time for reassembly (1).
    public static func timeExceeded(_ family: IPFamily, code: UInt8 = 0) -> ICMPHeader {
        ICMPHeader(type: family == .v4 ? 11 : 3, code: code)
    }

    /// The byte at `pointer` of the packet makes no sense; an IPv4 pointer has 8 bits.
    public static func parameterProblem(_ family: IPFamily, code: UInt8 = 0, pointer: UInt32) -> ICMPHeader {
        ICMPHeader(
            type: family == .v4 ? 12 : 4, code: code, rest: family == .v4 ? (pointer & 0xFF) << 24 : pointer)
    }

    /// Whether it tells of an error, and so quotes a packet.
    public func isError(_ family: IPFamily) -> Bool {
        // ICMPv6 errors are the lower half of the types (RFC 4443 2.1); ICMP's are scattered, redirect among them.
        family == .v4 ? [3, 4, 5, 11, 12].contains(type) : type < 128
    }

    /// What type and code mean, as far as known: `destination unreachable, port`.
    func meaning(_ family: IPFamily) -> (type: String?, code: String?) {
        switch (family, type) {
        case (.v4, 0), (.v6, 129): ("echo reply", nil)
        case (.v4, 8), (.v6, 128): ("echo request", nil)
        case (.v4, 3):
            (
                "destination unreachable",
                [
                    0: "network", 1: "host", 2: "protocol", 3: "port", 4: "fragmentation needed",
                    13: "prohibited",
                ][code]
            )
        case (.v6, 1):
            (
                "destination unreachable",
                [0: "no route", 1: "prohibited", 2: "beyond scope", 3: "address", 4: "port"][code]
            )
        case (.v6, 2): ("packet too big", nil)
        case (.v4, 5): ("redirect", nil)
        case (.v4, 11), (.v6, 3): ("time exceeded", [0: "hop limit", 1: "reassembly"][code])
        case (.v4, 12), (.v6, 4): ("parameter problem", nil)
        default: (nil, nil)
        }
    }

    var bytes: [UInt8] {
        var bytes = [type, code, 0, 0]
        bytes.append(rest)
        return bytes
    }
}
