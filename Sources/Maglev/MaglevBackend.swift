public import NetTypes

/// A member of a Maglev table.
public struct MaglevBackend: Sendable, Hashable {
    /// Where the backend is reached. Decides which slots it prefers.
    public var identity: TransportEndpoint
    /// Its share relative to the other members; 0 for none.
    public var weight: UInt32

    /// A member with a weight, by default that of an ordinary one.
    public init(identity: TransportEndpoint, weight: UInt32 = 1) {
        self.identity = identity
        self.weight = weight
    }
}

/// What decides a backend's permutation of the slots: two hashes of its identity and of nothing else.
struct MaglevPermutation {
    /// Hash under the first key; also the order of turns.
    let place: UInt64
    /// Hash under the second key.
    let step: UInt64

    // The keys are the first 256 bits of the fraction of pi. They are fixed for ever: nodes of different versions must
    // build equal tables.
    private static let placeKey = SipHash24.Key(low: 0x243F_6A88_85A3_08D3, high: 0x1319_8A2E_0370_7344)
    private static let stepKey = SipHash24.Key(low: 0xA409_3822_299F_31D0, high: 0x082E_FA98_EC4E_6C89)

    /// Hashes family (4 or 6), address and port in network byte order, and protocol number: 8 or 20 bytes.
    init(_ identity: TransportEndpoint) {
        var bytes = InlineArray<20, UInt8>(repeating: 0)
        let width = identity.address.family.bitWidth
        var count = 1
        bytes[0] = identity.address.family.rawValue
        for shift in stride(from: width - 8, through: 0, by: -8) {
            bytes[count] = UInt8(truncatingIfNeeded: identity.address.bits >> UInt128(shift))
            count += 1
        }
        bytes[count] = UInt8(identity.port >> 8)
        bytes[count + 1] = UInt8(identity.port & 0xFF)
        bytes[count + 2] = identity.transport.rawValue
        let canonical = bytes.span.extracting(first: count + 3).bytes
        place = SipHash24.hash(canonical, key: Self.placeKey)
        step = SipHash24.hash(canonical, key: Self.stepKey)
    }

    /// The first slot of the permutation in a table of `m` slots, as in the paper: h1 mod M.
    func offset(_ m: UInt32) -> UInt32 { UInt32(truncatingIfNeeded: place % UInt64(m)) }

    /// The distance between slots of the permutation, as in the paper: h2 mod (M - 1) + 1.
    func skip(_ m: UInt32) -> UInt32 { UInt32(truncatingIfNeeded: step % UInt64(m - 1)) + 1 }
}
