import Testing

@testable import Benchmark

@Suite struct FiguresTests {
    @Test(
        "Figures have three significant digits, and groups of three before the point",
        arguments: [
            (0, .milliseconds, 0, "0"), (0.01234, .milliseconds, 0, "0.012"), (1.005, .milliseconds, 0, "1.00"),
            (9.996, .milliseconds, 0, "10.0"), (99.96, .milliseconds, 0, "100"), (1234.5, .milliseconds, 0, "1,235"),
            (-1_234_567, .milliseconds, 0, "-1,234,567"), (-0.5, .milliseconds, 0, "-0.500"), (103, .count, 0, "103"),
            (1_250_000, .packetsPerSecond, 2_000_000, "1.25"), (999, .packetsPerSecond, 999, "999"),
            (1500, .requestsPerSecond, 1500, "1.50"), (2.5e9, .bitsPerSecond, 2.5e9, "2.50"),
            (1536, .bytes, 1536, "1.50"), (3_145_728, .bytes, 3_145_728, "3"),
        ] as [(Double, Measurement.Unit, Double, String)])
    func texts(_ value: Double, _ unit: Measurement.Unit, _ largest: Double, _ expected: String) {
        #expect(Scale(unit, largest: largest).text(value) == expected)
    }

    @Test(
        "All figures of a table are in one multiple of the unit",
        arguments: [
            (.packetsPerSecond, 1_150_000, "M packets/s"), (.connectionsPerSecond, 25_000, "k connections/s"),
            (.requestsPerSecond, 10, "requests/s"), (.bitsPerSecond, 9e9, "Gbit/s"), (.bytes, 1024, "KiB"),
            (.bytes, 1000, "bytes"), (.bytes, 2e9, "GiB"), (.nanosecondsPerPacket, 1e9, "ns/packet"),
        ] as [(Measurement.Unit, Double, String)])
    func units(_ unit: Measurement.Unit, _ largest: Double, _ expected: String) {
        #expect(Scale(unit, largest: largest).name == expected)
    }
}
