import Benchmark
import Testing

@Suite struct ComparisonTests {
    private let key = MadeUp.key(of: "external_xdp")
    private let floor = MadeUp.key(of: "floor lru-hit")

    private func compare(
        _ then: [Double], _ now: [Double], in unit: Measurement.Unit = .nanosecondsPerPacket
    ) throws -> Comparison.Entry {
        let comparison = Comparison(
            from: try MadeUp.report([Measurement(key, in: unit, samples: then)]),
            to: try MadeUp.report([Measurement(key, in: unit, samples: now)]))
        return try #require(comparison.entries.first)
    }

    @Test(
        "A difference is one only beyond the noise of both runs",
        arguments: [
            ([100, 101, 102, 103, 104], [100, 101, 102, 103, 104], "same"),
            ([100, 101, 102, 103, 104], [120, 121, 122, 123, 124], "worse"),
            ([120, 121, 122, 123, 124], [100, 101, 102, 103, 104], "better"),
            // One outlier does not make a difference, nor hide one.
            ([100, 101, 102, 103, 104], [100, 101, 102, 103, 900], "same"),
            ([100, 101, 102, 103, 104], [150, 151, 152, 153, 900], "worse"),
            // Wholly apart, but no further than either side is wide.
            ([100, 110, 120, 130, 140], [141, 142, 143, 144, 145], "worse"),
            ([100, 101, 135, 139, 140], [141, 142, 150, 180, 190], "same"),
            // Wholly apart and narrow, but too little to matter.
            ([100, 100.1, 100.2, 100.3, 100.4], [101, 101.1, 101.2, 101.3, 101.4], "same"),
            // Medians far apart, samples mixed.
            ([50, 60, 100, 160, 170], [55, 120, 140, 150, 165], "same"),
            ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1], "same"),
            ([-2, -1, -1, 0, 0], [30, 31, 32, 33, 34], "worse"),
            ([1, 2, 3, 4], [100, 101, 102, 103], "undecided"), ([1], [100], "undecided"),
        ] as [([Double], [Double], String)])
    func verdicts(_ then: [Double], _ now: [Double], _ expected: String) throws {
        let entry = try compare(then, now)
        #expect("\(entry.verdict)".hasPrefix(expected), "\(entry)")
    }

    @Test("More is better of rates, less of everything else", arguments: Measurement.Unit.allCases)
    func directions(_ unit: Measurement.Unit) throws {
        let (low, high): ([Double], [Double]) = ([10, 10, 10, 10, 10], [20, 20, 20, 20, 20])
        let isRate = unit.rawValue.hasSuffix("/s")
        let up = try compare(low, high, in: unit)
        let down = try compare(high, low, in: unit)
        #expect(up.verdict == (isRate ? .better : .worse) && down.verdict == (isRate ? .worse : .better))
        #expect(up.percentWorse == (isRate ? nil : 100) && down.percentWorse == (isRate ? 50 : nil))
        #expect(unit.isBetterHigher == isRate)
    }

    @Test(
        "What is not timed needs no five samples, but must not overlap",
        arguments: [
            ([100], [200], "worse"), ([200], [100], "better"), ([100], [100], "same"), ([100], [101], "same"),
            ([100, 220], [150, 200], "same"), ([100, 101], [150], "worse"), ([0], [0], "same"), ([0], [5], "worse"),
        ] as [([Double], [Double], String)])
    func untimed(_ then: [Double], _ now: [Double], _ expected: String) throws {
        #expect("\(try compare(then, now, in: .bytes).verdict)" == expected)
    }

    private func referred(_ samples: [Double], floor floorSamples: [Double], machine: Machine = MadeUp.machine) throws
        -> Report
    {
        try MadeUp.report(
            [
                Measurement(floor, in: .nanosecondsPerPacket, samples: floorSamples),
                Measurement(key, in: .nanosecondsPerPacket, samples: samples, reference: floor),
            ], machine: machine)
    }

    @Test("A machine that is slower in both runs' terms makes no difference to ratios")
    func ratios() throws {
        let then = try referred([300, 310, 320, 290, 305], floor: [100, 103, 107, 97, 102])
        let slow = try referred([600, 620, 640, 580, 610], floor: [200, 206, 214, 194, 204])
        let comparison = Comparison(from: then, to: slow)
        #expect(comparison.entries.map(\.isRatio) == [false, true])
        #expect(comparison.entries.map(\.verdict) == [.worse, .same])
        let slower = try referred([900, 930, 960, 870, 915], floor: [200, 206, 214, 194, 204])
        let entry = try #require(Comparison(from: then, to: slower).entries.last)
        #expect(entry.verdict == .worse)
        #expect(try abs(#require(entry.percentWorse) - 50) < 1)
    }

    @Test("Between machines only ratios are judged, and the difference is told")
    func otherMachine() throws {
        let other = Machine(kernel: "6.1.0", processor: "another", cores: 8, date: "2026-01-01T00:00:00Z")
        let then = try referred([300, 310, 320, 290, 305], floor: [100, 103, 107, 97, 102], machine: other)
        let now = try referred([600, 620, 640, 580, 610], floor: [100, 103, 107, 97, 102])
        let comparison = Comparison(from: then, to: now)
        #expect("\(comparison.entries[0].verdict)".hasPrefix("undecided"))
        #expect(comparison.entries[1].verdict == .worse)
        for expected in ["kernel: 6.1.0 then, 6.18.44 now", "cores: 8 then, 2 now"] {
            #expect(comparison.remarks.contains(expected), "\(comparison.remarks)")
        }
        #expect(comparison.remarks.contains { $0.hasPrefix("the machine is another one") })
    }

    @Test("Another kernel or duration is told, and hides no verdict")
    func otherCircumstances() throws {
        let kernel = Machine(
            kernel: "6.1.0", processor: MadeUp.machine.processor, cores: 2, date: "2026-01-01T00:00:00Z")
        let samples = Measurement(key, in: .nanosecondsPerPacket, samples: [1, 1, 1, 1, 1])
        let slower = Measurement(key, in: .nanosecondsPerPacket, samples: [2, 2, 2, 2, 2])
        let comparison = Comparison(
            from: try MadeUp.report([samples], machine: kernel, duration: 1), to: try MadeUp.report([slower]))
        #expect(
            comparison.remarks == ["kernel: 6.1.0 then, 6.18.44 now", "seconds of a sample: 1.0 then, 0.3 now"])
        #expect(comparison.entries.map(\.verdict) == [.worse] && comparison.percentWorse == 100)
    }

    @Test("What one run lacks, did not measure or lost is not compared but named")
    func missing() throws {
        func measured(_ name: String) -> Measurement {
            Measurement(MadeUp.key(of: name), in: .bytes, samples: [1])
        }
        let failed = Measurement(MadeUp.key(of: "b"), in: .bytes, samples: [1], outcome: .failed("why"))
        let skipped = Measurement(MadeUp.key(of: "c"), in: .bytes, outcome: .skipped("why"))
        let comparison = Comparison(
            from: try MadeUp.report([measured("a"), measured("b"), skipped, measured("d")]),
            to: try MadeUp.report([measured("e"), measured("c"), failed, measured("d")]))
        #expect(comparison.entries.map(\.key.subject) == ["d"])
        #expect(comparison.onlyThen.map(\.subject) == ["a", "b"])
        #expect(comparison.onlyNow.map(\.subject) == ["e", "c"])
    }

    @Test("Two runs of the same noise are rarely called different")
    func noise() throws {
        var generator = Seeded(11)
        var wrong = 0
        for _ in 0..<1000 {
            // Mostly near 100, now and then far above, as on a busy machine.
            func samples() -> [Double] {
                (0..<5).map { _ in
                    let base = Double.random(in: 95...110, using: &generator)
                    return Int.random(in: 0..<6, using: &generator) == 0 ? base * 2 : base
                }
            }
            if try compare(samples(), samples()).verdict != .same { wrong += 1 }
        }
        #expect(wrong <= 10, "\(wrong) of 1000")
    }

    @Test func theTextSaysWhatMattersFirst() throws {
        let names = ["same", "worse", "better"]
        let then: [[Double]] = [[1, 1, 1, 1, 1], [100, 101, 102, 103, 104], [200, 201, 202, 203, 204]]
        let now: [[Double]] = [[1, 1, 1, 1, 1], [150, 151, 152, 153, 154], [100, 101, 102, 103, 104]]
        func report(_ samples: [[Double]]) throws -> Report {
            try MadeUp.report(
                zip(names, samples).map { Measurement(MadeUp.key(of: $0), in: .nanosecondsPerPacket, samples: $1) })
        }
        let later = try report(now)
        let lines = later.text(comparison: Comparison(from: try report(then), to: later)).split(separator: "\n")
        let rows = lines.filter { $0.contains("packet established of") }.map(String.init)
        #expect(rows.count == 3)
        #expect(rows[0].hasPrefix("  WORSE") && rows[0].contains("+49.0%"), "\(rows)")
        #expect(rows[1].hasPrefix("  better") && rows[1].contains("-49.5%"), "\(rows)")
        #expect(rows[2].hasPrefix("  no difference"), "\(rows)")
        #expect(lines.contains { $0.hasPrefix("1 worse, 1 better, 1 no difference beyond noise, 0 undecided") })
    }
}
