public import NetTypes

/// The hash of a flow's 5-tuple that the packet side computes to choose a slot.
///
/// The BPF programs hold the same function in C, and every node and version must agree on it bit for bit:
///
///     h = 0x9E3779B97F4A7C15
///     for each 64-bit word w:  h = (h ^ w) * 0xD6E8FEB86659FD93;  h ^= h >> 32
///     hash = (h * 0xD6E8FEB86659FD93) >> 32
///
/// All numbers are in host byte order. The words are
///
///     IPv4: source << 32 | destination
///     IPv6: source high, source low, destination high, destination low (64 bits each)
///     then: protocol << 32 | source port << 16 | destination port
///
/// The ports are in the low half of the last word because a multiplication carries upwards only: two multiplications
/// follow that word, and in its top bits a port would reach just a few bits of the result.
///
/// The hash is not keyed, so a client that wants its flows on one slot can have that. It spreads load; it protects
/// nothing.
public struct FlowHash: Sendable, Hashable {
    /// The 32-bit hash.
    public let value: UInt32

    private static let seed: UInt64 = 0x9E37_79B9_7F4A_7C15
    private static let multiplier: UInt64 = 0xD6E8_FEB8_6659_FD93

    /// The hash of a packet's tuple as it arrives at a frontend; `nil` when the addresses are of different families.
    ///
    /// - Parameters:
    ///   - source: The client's address.
    ///   - sourcePort: The client's port, host byte order.
    ///   - destination: The frontend.
    public init?(source: IPAddress, sourcePort: UInt16, destination: TransportEndpoint) {
        guard source.family == destination.address.family else { return nil }
        let (from, to) = (source.bits, destination.address.bits)
        var state = Self.seed
        if source.family == .v4 {
            Self.mix(&state, UInt64(truncatingIfNeeded: from << 32 | to))
        } else {
            Self.mix(&state, UInt64(truncatingIfNeeded: from >> 64))
            Self.mix(&state, UInt64(truncatingIfNeeded: from))
            Self.mix(&state, UInt64(truncatingIfNeeded: to >> 64))
            Self.mix(&state, UInt64(truncatingIfNeeded: to))
        }
        let ports = UInt64(sourcePort) << 16 | UInt64(destination.port)
        Self.mix(&state, UInt64(destination.transport.rawValue) << 32 | ports)
        value = UInt32(truncatingIfNeeded: (state &* Self.multiplier) >> 32)
    }

    private static func mix(_ state: inout UInt64, _ word: UInt64) {
        state = (state ^ word) &* multiplier
        state ^= state >> 32
    }

    /// The flow's slot in a table of `tableSize` slots: hash times size, divided by 2^32. Always below `tableSize`,
    /// which must be above 0 for the slot to exist.
    public func slot(tableSize: UInt32) -> UInt32 {
        UInt32(truncatingIfNeeded: (UInt64(value) * UInt64(tableSize)) >> 32)
    }
}
