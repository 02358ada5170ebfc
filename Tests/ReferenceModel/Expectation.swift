public import NeedletailABI
public import NetTypes

/// What becomes of a packet, in words common to XDP and tc.
public enum ModelVerdict: Sendable, Hashable {
    /// `XDP_PASS`, `TC_ACT_UNSPEC`.
    case pass
    /// `XDP_DROP`, `TC_ACT_SHOT`.
    case drop
    /// Out of the device it came by: `XDP_TX`, `TC_ACT_REDIRECT`.
    case sentBack
    /// Out of another device: `XDP_REDIRECT`, `TC_ACT_REDIRECT`.
    case sentOn

    /// The number a program returns for it.
    public func code(_ program: DatapathProgram) -> Int32 {
        let isXDP = program == .externalXDP
        return switch self {
        case .pass: isXDP ? 2 : -1
        case .drop: isXDP ? 1 : 2
        case .sentBack: isXDP ? 3 : 7
        case .sentOn: isXDP ? 4 : 7
        }
    }
}

/// A packet the programs make up themselves, by the fields that are laid down.
public struct ModelReply: Sendable, Hashable {
    /// What it is.
    public enum Content: Sendable, Hashable {
        /// A TCP reset, with source and destination port.
        case reset(from: UInt16, to: UInt16, sequence: UInt32, acknowledgment: UInt32?)
        /// An ICMP or ICMPv6 message about a packet: the word after the checksum, and what is quoted.
        case error(type: UInt8, code: UInt8, rest: UInt32, quote: [UInt8])
    }

    /// Ethernet header with its tags.
    public var link: [UInt8]
    /// Source.
    public var source: IPAddress
    /// Destination.
    public var destination: IPAddress
    /// What it carries.
    public var content: Content
}

/// What the model expects of a program.
public struct Expectation: Sendable {
    /// The bytes afterwards.
    public enum Output: Sendable {
        /// Nobody looks at them.
        case none
        /// These.
        case bytes([UInt8])
        /// These from the 12th on: the kernel writes hardware addresses that it finds out itself.
        case withoutLink([UInt8])
        /// Any packet with these fields.
        case reply(ModelReply)
        /// A packet inside an outer header, whose other fields are the program's choice.
        case tunnel(link: [UInt8]?, source: IPAddress, destination: IPAddress, inner: [UInt8], trailer: [UInt8])
    }

    /// The verdict.
    public var verdict: ModelVerdict
    /// The bytes.
    public var output: Output
    /// The counters that move, by one unless said otherwise.
    public var counters: [DatapathCounter: Int]
    /// Other counters that would be as good, where the description leaves it open.
    public var otherCounters: [[DatapathCounter: Int]] = []
}
