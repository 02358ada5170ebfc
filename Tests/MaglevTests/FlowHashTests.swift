import Maglev
import NetTypes
import TestSupport
import Testing

@Suite struct FlowHashTests {
    private static func hash(
        _ source: IPAddress, _ sourcePort: Int, _ destination: IPAddress, _ port: UInt16 = 80,
        _ transport: TransportProtocol = .tcp
    ) throws -> UInt32 {
        try #require(
            FlowHash(
                source: source, sourcePort: UInt16(truncatingIfNeeded: sourcePort),
                destination: TransportEndpoint(destination, port, transport))
        ).value
    }

    /// Computed outside Swift from the definition. The packet side is tested against the same figures.
    @Test(
        arguments: [
            ("192.0.2.1", 40_000, "198.18.0.1", 80, .tcp, 0x3AE5_E3FD),
            ("192.0.2.10", 5353, "203.0.113.1", 53, .udp, 0x2E52_B825),
            ("198.19.255.255", 65_535, "198.19.255.255", 65_535, .tcp, 0x93B3_4A4B),
            ("198.18.0.0", 0, "198.18.0.0", 0, .tcp, 0x0E64_D0B4),
            ("2001:db8::1", 40_000, "2001:db8:ffff::abcd", 443, .tcp, 0x941C_C8DA),
            ("2001:db8:1:2:3:4:5:6", 1, "2001:db8::53", 53, .udp, 0xA3ED_9F97),
        ] as [(String, Int, String, UInt16, TransportProtocol, UInt32)])
    func pinned(
        _ source: String, _ sourcePort: Int, _ destination: String, _ port: UInt16, _ transport: TransportProtocol,
        _ expected: UInt32
    ) throws {
        let (from, to) = (try #require(IPAddress(source)), try #require(IPAddress(destination)))
        #expect(try Self.hash(from, sourcePort, to, port, transport) == expected)
    }

    @Test(arguments: [(0, 0), (1, 0), (251, 57), (65_537, 15078), (.max, 0x3AE5_E3FC)] as [(UInt32, UInt32)])
    func slotIsTheHashScaled(_ size: UInt32, _ slot: UInt32) throws {
        let frontend = TransportEndpoint(IPAddress(v4: 0xC612_0001), 80, .tcp)
        let hash = try #require(FlowHash(source: IPAddress(v4: 0xC000_0201), sourcePort: 40_000, destination: frontend))
        #expect(hash.slot(tableSize: size) == slot)
    }

    @Test func familiesDoNotMix() {
        let frontend = TransportEndpoint(IPAddress(v4: 0xC612_0001), 80, .tcp)
        #expect(FlowHash(source: IPAddress(v6: 0x2001_0DB8 << 96 | 1), sourcePort: 1, destination: frontend) == nil)
    }

    /// Tuples as clients make them: ports in sequence, neighbouring addresses.
    struct Traffic: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let hashes: @Sendable () throws -> [UInt32]
    }

    private static let vip = IPAddress(v4: 0xC612_0001)
    private static let vip6 = IPAddress(v6: 0x2001_0DB8_FFFF << 80 | 1)

    static let traffic = [
        Traffic(testDescription: "one client, every port") {
            try (0..<65_536).map { try hash(IPAddress(v4: 0xC000_0201), $0, vip) }
        },
        Traffic(testDescription: "one client, even ports") {
            try stride(from: 0, to: 65_536, by: 2).map { try hash(IPAddress(v4: 0xC000_0201), $0, vip) }
        },
        Traffic(testDescription: "16 clients, 4096 ports") {
            try (0..<65_536).map { try hash(IPAddress(v4: 0xC000_0200 + UInt32($0 >> 12)), 32_768 + $0 & 0xFFF, vip) }
        },
        Traffic(testDescription: "256 clients, 256 ports") {
            try (0..<65_536).map { try hash(IPAddress(v4: 0xC000_0200 + UInt32($0 >> 8)), 32_768 + $0 & 0xFF, vip) }
        },
        Traffic(testDescription: "65536 clients, one port, UDP") {
            try (0..<65_536).map { try hash(IPAddress(v4: 0xC613_0000 + UInt32($0)), 5353, vip, 53, .udp) }
        },
        Traffic(testDescription: "65536 clients, every second address") {
            try (0..<65_536).map { try hash(IPAddress(v4: 0xC612_0001 + UInt32($0 << 1)), 40_000, vip) }
        },
        Traffic(testDescription: "8 frontends of 8 ports, 1024 client ports") {
            try (0..<65_536).map {
                let frontend = IPAddress(v4: 0xC612_0001 + UInt32($0 >> 13))
                return try hash(IPAddress(v4: 0xC000_0201), ($0 & 0x3FF) << 6, frontend, 80 + UInt16($0 >> 10 & 7))
            }
        },
        Traffic(testDescription: "IPv6: one client, every port") {
            try (0..<65_536).map { try hash(IPAddress(v6: 0x2001_0DB8 << 96 | 1), $0, vip6) }
        },
        Traffic(testDescription: "IPv6: 65536 neighbours") {
            try (0..<65_536).map { try hash(IPAddress(v6: 0x2001_0DB8 << 96 | UInt128($0)), 40_000, vip6) }
        },
        Traffic(testDescription: "IPv6: 256 networks, 256 ports") {
            try (0..<65_536).map {
                try hash(IPAddress(v6: 0x2001_0DB8 << 96 | UInt128($0 >> 8) << 64 | 1), 40_000 + $0 & 0xFF, vip6)
            }
        },
    ]

    @Test("Slots fill as if by chance: chi-square within 5 standard deviations of its mean", arguments: traffic)
    func uniform(_ traffic: Traffic) throws {
        let hashes = try traffic.hashes()
        for size in [251, 509, 1021, 4093, 16_381, 65_537] {
            var filled = [Double](repeating: 0, count: size)
            for hash in hashes { filled[Int((UInt64(hash) * UInt64(size)) >> 32)] += 1 }
            let expected = Double(hashes.count) / Double(size)
            let chiSquare = filled.reduce(0) { $0 + ($1 - expected) * ($1 - expected) / expected }
            let freedom = Double(size - 1)
            let deviation = (chiSquare - freedom) / (2 * freedom).squareRoot()
            #expect(abs(deviation) < 5, "\(size) slots: \(deviation)")
        }
    }

    /// The largest distance from 1/2 of the chance that one output bit flips when one input bit does.
    private func worstBias(inputBits: Int, trials: Int, _ hash: (_ flipped: Int?) throws -> UInt32) rethrows -> Double {
        var worst = 0.0
        for bit in 0..<inputBits {
            var flips = [Int](repeating: 0, count: 32)
            for _ in 0..<trials {
                let difference = try hash(nil) ^ hash(bit)
                for output in 0..<32 { flips[output] += Int(difference >> UInt32(output) & 1) }
            }
            worst = flips.reduce(worst) { max($0, abs(Double($1) / Double(trials) - 0.5)) }
        }
        return worst
    }

    @Test("Each bit of the tuple reaches each bit of the hash (random bits would stay below 0.05)")
    func avalanche() throws {
        for family in IPFamily.allCases {
            var random = SeededGenerator(seed: 7)
            var (from, to, ports) = (UInt128(0), UInt128(0), UInt32(0))
            let width = family.bitWidth
            func address(_ bits: UInt128) -> IPAddress {
                family == .v4 ? IPAddress(v4: UInt32(truncatingIfNeeded: bits)) : IPAddress(v6: bits)
            }
            let bias = try worstBias(inputBits: width * 2 + 32, trials: 3000) { flipped in
                if flipped == nil {
                    (from, to, ports) = (random.next(), random.next(), random.next())
                } else if let flipped {
                    if flipped < width {
                        from ^= 1 << UInt128(flipped)
                    } else if flipped < 2 * width {
                        to ^= 1 << UInt128(flipped - width)
                    } else {
                        ports ^= 1 << UInt32(flipped - 2 * width)
                    }
                }
                return try Self.hash(address(from), Int(ports >> 16), address(to), UInt16(ports & 0xFFFF))
            }
            #expect(bias < 0.05, "\(family)")
        }
    }
}
