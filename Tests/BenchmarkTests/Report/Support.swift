import Benchmark
import Foundation

/// Foundation has something else of this name.
typealias Measurement = Benchmark.Measurement

/// A generator whose sequence is its seed's (SplitMix64).
struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Reports that were never measured.
enum MadeUp {
    static let machine = Machine(
        kernel: "6.18.44", processor: "AMD <EPYC> & \"friends\"", cores: 2, date: "2026-11-21T20:00:00Z")

    static func report(_ measurements: [Measurement], machine: Machine = machine, duration: Double = 0.3) throws
        -> Report
    {
        let settings = try RunSettings(
            services: [1, 5000], flows: FlowCount.list("1,64k"), duration: duration,
            others: [PinnedProgram(name: "theirs", path: "/sys/fs/bpf/theirs")])
        return Report(
            header: .init(
                version: "0.1.0", command: ["needletail-bench", "run", "--with", "theirs=/sys/fs/bpf/theirs"],
                machine: machine, loadAtStart: 0.25, loadAtEnd: 1.5, settings: settings),
            measurements: measurements, seconds: 74.5)
    }

    static func key(
        _ quantity: String = "established", of subject: String, flows: String? = "1", family: String = "v4",
        suite: SuiteName = .packet
    ) -> Measurement.Key {
        Measurement.Key(
            suite, quantity, of: subject,
            [.init("family", family)] + (flows.map { [.init("flows", $0)] } ?? []))
    }

    /// Something of everything.
    static var complete: Report {
        get throws {
            let floor = key("established", of: "floor lru-hit")
            var measurements: [Measurement] = []
            for family in ["v4", "v6"] {
                for (index, flows) in ["1", "64k", "1M"].enumerated() {
                    for (number, subject) in ["floor lru-hit", "external_xdp", "external_ingress", "theirs"]
                        .enumerated()
                    {
                        let base = Double((index * 7 + 1) * (number + 1)) * 31.37
                        measurements.append(
                            Measurement(
                                key(of: subject, flows: flows, family: family), in: .nanosecondsPerPacket,
                                samples: [base, base * 1.1, base * 0.95, base * 1.02, base * 1.3],
                                reference: number == 0 ? nil : key(of: "floor lru-hit", flows: flows, family: family),
                                note: number == 3 ? "not ours" : nil))
                    }
                }
            }
            let points = [0, 50, 75, 90, 95, 99, 99.9, 99.99, 100].map {
                LatencySummary.Point(percentile: $0, latency: 20 + $0 * $0 / 40)
            }
            for (number, subject) in ["direct", "needletail-sockets", "iptables-nft"].enumerated() {
                measurements.append(
                    Measurement(
                        key("connect", of: subject, flows: nil, suite: .connect), in: .connectionsPerSecond,
                        samples: [25_000, 24_000.5, 26_000].map { $0 / Double(number + 1) },
                        latencies: LatencySummary(
                            count: 25_000,
                            points: points.map {
                                .init(percentile: $0.percentile, latency: $0.latency * Double(number + 1))
                            }),
                        reference: number == 0 ? nil : key("connect", of: "direct", flows: nil, suite: .connect)))
            }
            measurements += [
                Measurement(
                    key("mac-swap", of: "floor mac-swap"), in: .nanosecondsPerPacket, samples: [-2, 0, 1.5],
                    reference: floor),
                Measurement(key("one", of: "wide", suite: .memory), in: .bytes, samples: [1_048_576]),
                Measurement(key("one", of: "narrow", suite: .memory), in: .bytes, samples: [512]),
                Measurement(
                    key("connect", of: "ipvs", flows: nil, suite: .connect), in: .connectionsPerSecond,
                    outcome: .skipped("the kernel has no <ip_vs>")),
                Measurement(
                    key("requests", of: "ipvs", flows: nil, suite: .connect), in: .requestsPerSecond,
                    outcome: .skipped("the kernel has no <ip_vs>")),
                Measurement(
                    key("reply", of: "external_egress"), in: .nanosecondsPerPacket, samples: [1, 2],
                    outcome: .failed("verdict 2 & \u{7} \"quoted\" ]]> \\ / é")),
            ]
            return try report(measurements)
        }
    }

    /// Any report: names of all characters, numbers of all sizes.
    static func random(_ seed: UInt64) throws -> Report {
        var generator = Seeded(seed)
        let alphabet = Array("ab &<>\"'\\\u{0}\u{1F}\n\u{7F}\u{2028}é日🙂{}[]:,/=%")
        func text() -> String {
            String(
                (0..<Int.random(in: 0...12, using: &generator)).map { _ in
                    alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
                })
        }
        func number() -> Double {
            let digits = Double.random(in: -1...1, using: &generator)
            return digits * pow(10, Double(Int.random(in: -9...15, using: &generator)))
        }
        func key() -> Measurement.Key {
            Measurement.Key(
                SuiteName.allCases[Int.random(in: 0..<6, using: &generator)], text(), of: text(),
                (0..<Int.random(in: 0...3, using: &generator)).map { .init("c\($0)", text()) })
        }
        let measurements = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
            let outcomes: [Measurement.Outcome] = [.measured, .measured, .skipped(text()), .failed(text())]
            let latencies = LatencySummary(
                count: Int.random(in: 0...1_000_000, using: &generator),
                points: (0...4).map { .init(percentile: Double($0) * 25, latency: number().magnitude) })
            return Measurement(
                key(), in: Measurement.Unit.allCases[Int.random(in: 0..<11, using: &generator)],
                samples: (0..<Int.random(in: 0...5, using: &generator)).map { _ in number() },
                latencies: Bool.random(using: &generator) ? latencies : nil,
                reference: Bool.random(using: &generator) ? key() : nil,
                outcome: outcomes[Int.random(in: 0..<4, using: &generator)],
                note: Bool.random(using: &generator) ? text() : nil
            )
        }
        return try report(measurements)
    }
}
