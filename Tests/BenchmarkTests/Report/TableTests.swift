import Benchmark
import Testing

@Suite struct BenchTableTests {
    @Test("The table, whole") func golden() throws {
        let floor = MadeUp.key(of: "floor lru-hit")
        let report = try MadeUp.report([
            Measurement(floor, in: .nanosecondsPerPacket, samples: [32, 30, 39]),
            Measurement(
                MadeUp.key(of: "external_xdp", flows: "64k"), in: .nanosecondsPerPacket,
                samples: [1064.25, 1030, 1239],
                reference: floor, note: "the first of a tick"),
            Measurement(
                MadeUp.key("syn", of: "direct", flows: nil, suite: .forward), in: .packetsPerSecond,
                samples: [1_250_000, 1_150_000],
                latencies: LatencySummary(count: 9, points: [.init(percentile: 50, latency: 17.25)])),
            Measurement(
                MadeUp.key("syn", of: "ipvs", suite: .forward), in: .packetsPerSecond,
                outcome: .skipped("no module ip_vs")),
            Measurement(
                MadeUp.key("syn", of: "ipvs", flows: "64k", suite: .forward), in: .packetsPerSecond,
                outcome: .skipped("no module ip_vs")),
            Measurement(
                MadeUp.key("syn", of: "nftables", suite: .forward), in: .packetsPerSecond, samples: [1],
                outcome: .failed("half of the packets were lost")),
            Measurement(MadeUp.key("syn", of: "nothing", suite: .forward), in: .packetsPerSecond),
        ])
        #expect(
            report.table == """
                needletail-bench 0.1.0, 2026-11-21T20:00:00Z, 75 s
                AMD <EPYC> & "friends", 2 cores, Linux 6.18.44, load 0.3 at the start, 1.5 at the end
                needletail-bench run --with theirs=/sys/fs/bpf/theirs
                samples of everything taken in turns, 5 of each; spread: (greatest - least) / median; ratio: of samples of the same turn

                packet: The datapath's programs, one packet at a time

                established, ns/packet, less is better
                  subject           family  flows  median  least  greatest  spread  ratio  least  greatest  reference
                  floor lru-hit         v4      1      32     30        39     28%
                  external_xdp [1]      v4    64k   1,064  1,030     1,239     20%   33.3   31.8      34.3  floor lru-hit, flows 1
                  [1] the first of a tick

                forward: Packets through a node

                syn, M packets/s, more is better
                  subject  family  median  least  greatest  spread  p50 µs  p90  p99  p99.9  max
                  direct       v4    1.20   1.15      1.25      8%    17.3

                skipped: ipvs, 2 measurements (syn): no module ip_vs
                FAILED: forward syn of nftables (family v4, flows 1): half of the packets were lost
                FAILED: forward syn of nothing (family v4, flows 1): no sample was taken

                """)
        #expect(!report.succeeded)
    }

    @Test(
        "A ratio is that of samples of the same turn",
        arguments: [
            ([10, 20, 30], [1, 2, 3], [10, 10, 10]), ([10], [4], [2.5]), ([10, 20], [1], []), ([], [], []),
            ([10], [0], []), ([10, 10], [1, -1], []), ([-3], [1], [-3]),
        ] as [([Double], [Double], [Double])])
    func ratios(_ samples: [Double], _ reference: [Double], _ expected: [Double]) {
        let measured = Measurement(MadeUp.key(of: "a"), in: .milliseconds, samples: samples)
        let base = Measurement(MadeUp.key(of: "b"), in: .milliseconds, samples: reference)
        #expect(measured.ratios(to: base) == expected)
        var failed = base
        failed.outcome = .failed("why")
        #expect(measured.ratios(to: failed).isEmpty)
    }

    @Test("Any report has a table and a page", arguments: UInt64(1)...40) func anything(_ seed: UInt64) throws {
        let report = try MadeUp.random(seed)
        let comparison = Comparison(from: try MadeUp.random(seed + 1), to: report)
        #expect(!report.text(comparison: comparison).isEmpty, "seed \(seed)")
        let problems = try Page(report.page(comparison: comparison)).problems
        #expect(problems == [], "seed \(seed): \(problems)")
    }
}

@Suite struct OutcomeTests {
    @Test(
        "A run fails by a measurement that failed or has no samples, not by one that was skipped",
        arguments: [
            (.measured, [1], true), (.measured, [], false), (.skipped("why"), [], true), (.failed("why"), [], false),
            (.failed("why"), [1], false),
        ] as [(Measurement.Outcome, [Double], Bool)])
    func succeeded(_ outcome: Measurement.Outcome, _ samples: [Double], _ expected: Bool) throws {
        let measurement = Measurement(MadeUp.key(of: "a"), in: .bytes, samples: samples, outcome: outcome)
        #expect(try MadeUp.report([measurement]).succeeded == expected)
    }
}
