import Testing

@testable import Benchmark

@Suite struct MaglevSuiteTests {
    @Test("Each table is built, counted and changed, once for each repeat")
    func measures() throws {
        let settings = try RunSettings(suites: [.maglev], flows: FlowCount.list("1"), duration: 0.01, repeats: 2)
        var lines: [String] = []
        let measurements = try MaglevSuite.run(settings) { lines.append($0) }
        #expect(lines == ["round 1 of 2", "round 2 of 2"])
        #expect(Set(measurements.map(\.key)).count == measurements.count)
        #expect(measurements.allSatisfy { $0.outcome == .measured && $0.samples.count == 2 })
        let byKey = Dictionary(uniqueKeysWithValues: measurements.map { ($0.key, $0) })
        for measurement in measurements {
            let key = measurement.key
            let backends = try #require(key["backends"].flatMap { Double($0) })
            let slots = try #require(key["slots"].flatMap { Double($0) })
            switch key.quantity {
            case "build":
                #expect(measurement.samples.allSatisfy { $0 > 0 })
                if let reference = measurement.reference { #expect(byKey[reference]?.key["backends"] == "1") }
                #expect((measurement.reference == nil) == (backends == 1))
            case "unevenness":
                // Of equal backends each has floor(M/N) or ceil(M/N) slots.
                let most = key.subject == "equal weights" ? 100 * backends / slots : 100
                #expect(measurement.samples.allSatisfy { $0 >= 0 && $0 <= most }, "\(measurement)")
            case "scratch": #expect(measurement.samples.allSatisfy { $0 > 0 })
            default:
                // The paper's figures 10 and 11: some percent of all slots, less in larger tables.
                #expect(measurement.samples.allSatisfy { $0 >= 0 && $0 < 12 }, "\(measurement)")
            }
        }
        let subjects = Set(measurements.map(\.key.subject))
        #expect(subjects == ["equal weights", "weights 1-4"])
        #expect(measurements.contains { $0.key["slots"] == "65537" && $0.key["backends"] == "1000" })
    }
}
