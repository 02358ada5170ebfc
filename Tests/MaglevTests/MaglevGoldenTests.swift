import Maglev
import NetTypes
import Testing

/// Tables that must never change: nodes of different versions serve one set of endpoints. When one of these fails, the
/// code is wrong, not the figure.
@Suite struct MaglevGoldenTests {
    struct Golden: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let size: Int
        let members: [MaglevBackend]
        let first: [UInt32]
        let digest: UInt64
    }

    /// FNV-1a over the slots as 4-byte little-endian numbers.
    private func digest(_ slots: [UInt32]) -> UInt64 {
        slots.reduce(0xCBF2_9CE4_8422_2325) { hash, slot in
            (0..<4).reduce(hash) { ($0 ^ UInt64(slot >> ($1 * 8) & 0xFF)) &* 0x100_0000_01B3 }
        }
    }

    private static let udp = backends(40, family: .v6, port: 53).map {
        MaglevBackend(identity: TransportEndpoint($0.identity.address, $0.identity.port, .udp))
    }
    private static let weighted = backends(5).enumerated().map {
        MaglevBackend(identity: $1.identity, weight: UInt32($0 + 1))
    }

    static let all = [
        Golden(
            testDescription: "IPv4 TCP", size: 1021, members: backends(10),
            first: [2, 4, 0, 9, 5, 2, 1, 2, 4, 2, 2, 7], digest: 0x7F55_E799_1B40_B2DC),
        Golden(
            testDescription: "IPv6 TCP", size: 1021, members: backends(10, family: .v6),
            first: [7, 9, 7, 4, 5, 4, 1, 8, 9, 1, 0, 6], digest: 0x90F6_776B_F23A_80C0),
        Golden(
            testDescription: "IPv6 UDP", size: 4093, members: udp,
            first: [7, 34, 23, 28, 14, 7, 3, 33, 21, 13, 16, 27], digest: 0x3EBA_A664_814E_64C2),
        Golden(
            testDescription: "weights 1 to 5", size: 2039, members: weighted,
            first: [0, 2, 4, 3, 3, 4, 3, 3, 3, 2, 1, 1], digest: 0xBADC_F530_6D83_5A46),
        Golden(
            testDescription: "IPv4 TCP, 1000", size: 65_537, members: backends(1000),
            first: [903, 982, 92, 783, 281, 109, 90, 0, 236, 235, 753, 994], digest: 0x0263_8AC1_782A_4368),
    ]

    @Test(arguments: all)
    func tableIsPinned(_ golden: Golden) throws {
        let slots = try table(golden.size, golden.members)
        #expect(Array(slots.prefix(12)) == golden.first)
        #expect(digest(slots) == golden.digest)
    }
}
