import KubernetesWire
import NetTypes
import TestSupport
import Testing

@testable import Benchmark

@Suite(.serialized, .needsRoot, .timeLimit(.minutes(5))) struct ProgrammingSuiteTests {
    private func settings(_ services: [Int], repeats: Int) throws -> RunSettings {
        try RunSettings(
            suites: [.programming], services: services, backends: 3, flows: try FlowCount.list("1"), duration: 0.05,
            repeats: repeats)
    }

    @Test(
        "Every change reaches the maps, which are right in the end, in each format",
        arguments: WireFormat.allCases)
    func everyChangeIsProgrammed(_ format: WireFormat) throws {
        let node = try ProgrammedNode(endpoints: 3, format: format)
        let first = try node.program(services: 30)
        #expect(abs(first.total - first.reading - first.resolving - first.planning - first.writing) < 0.1)
        let changes = try node.change(for: .seconds(30), atMost: 150)
        #expect(changes.latencies.count == 150 && changes.writes >= 150 && changes.processor > 0)
        #expect(try node.problem() == nil)
        let churn = try node.churn(500, for: .milliseconds(200))
        #expect(churn.latencies.count == 100 && churn.latencies.allSatisfy { $0 > 0 })
        #expect(churn.rate > 0 && churn.rate <= 500)
        #expect(try node.audit() > 0)
        #expect(try node.problem() == nil)
    }

    @Test("All that is asked for is measured, or says why not, with a sample for each round")
    func suite() throws {
        let settings = try settings([2, 30], repeats: 2)
        let results = try ProgrammingSuite.run(settings) { _ in }
        #expect(Set(results.map(\.key)).count == results.count)
        for services in ["2", "30"] {
            let here = results.filter { $0.key["services"] == services && $0.key["backends"] == "3" }
            let own = here.filter { $0.key.subject == "needletail" }
            #expect(
                Set(own.map(\.key.quantity)) == [
                    "full", "full, read", "full, resolve", "full, plan", "full, write", "change", "change, processor",
                    "churn", "churn, processor", "churn, taken in", "audit",
                ])
            for measurement in own {
                #expect(measurement.outcome == .measured && measurement.samples.count == 2, "\(measurement)")
                let isTimed = ["change", "churn"].contains(measurement.key.quantity)
                #expect((measurement.latencies != nil) == isTimed)
            }
            for kind in PeerKind.allCases {
                let full = try #require(here.first { $0.key.subject == kind.subject && $0.key.quantity == "full" })
                let change = try #require(here.first { $0.key.subject == kind.subject && $0.key.quantity == "change" })
                switch full.outcome {
                case .measured:
                    #expect(full.samples.count == 2 && change.samples.count == 2)
                    #expect(
                        results.contains { $0.key == full.reference } && results.contains { $0.key == change.reference }
                    )
                case .skipped(let reason): #expect(!reason.isEmpty && full.samples.isEmpty)
                case .failed(let reason): Issue.record("\(kind.subject): \(reason)")
                }
            }
            let agent = here.filter { $0.key.subject == "needletail-agent" }
            #expect(Set(agent.map(\.key.quantity)) == ["full", "resident", "change", "change, processor"])
            for measurement in agent {
                guard measurement.outcome == .measured else {
                    #expect(measurement.outcome == .skipped("there is no needletail-agent beside this program"))
                    continue
                }
                #expect(measurement.samples.count == 2 && measurement.samples.allSatisfy { $0 > 0 })
            }
        }
    }

    @Test("What there are no addresses for is refused, by name", arguments: [([10_000], 50), ([10], 1)])
    func settingsOutOfRange(_ services: [Int], _ backends: Int) throws {
        let settings = try RunSettings(
            suites: [.programming], services: services, backends: backends, flows: try FlowCount.list("1"))
        let error = try #require(throws: BenchmarkError.self) { try ProgrammingSuite.run(settings) { _ in } }
        #expect(error.description.hasPrefix("services \(services[0]), backends \(backends)"))
    }
}

@Suite(.serialized, .needsRoot, .timeLimit(.minutes(5))) struct MemorySuiteTests {
    @Test("More Services and more flows take more memory, and what takes it is told")
    func suite() throws {
        let settings = try RunSettings(
            suites: [.memory], services: [10, 1000], backends: 5, flows: try FlowCount.list("1,4k,64k"), repeats: 1)
        let results = try MemorySuite.run(settings) { _ in }
        func bytes(_ quantity: String, _ conditions: [(String, String)]) throws -> Double {
            let found = results.filter { measurement in
                measurement.key.quantity == quantity && conditions.allSatisfy { measurement.key[$0.0] == $0.1 }
            }
            #expect(found.count == 1 && found[0].outcome == .measured && found[0].unit == .bytes, "\(found)")
            return try #require(found.first?.samples.first)
        }
        let (few, many) = ([("services", "10")], [("services", "1000")])
        #expect(try bytes("resident", many) > bytes("resident", few))
        #expect(try bytes("resident, peak", many) >= bytes("resident, nothing programmed", many))
        #expect(try bytes("resident, per endpoint", many) > 10)
        #expect(try bytes("maps of Services", many) > Double(1 << 20))
        #expect(results.contains { $0.key.quantity == "map" && $0.key.subject == "nt_slots" })
        for family in ["v4", "v6"] {
            let small = try bytes("flow table", [("family", family), ("flows", "4k")])
            let large = try bytes("flow table", [("family", family), ("flows", "64k")])
            #expect(large > 8 * small)
            let each = try bytes("flow table, per flow", [("family", family), ("flows", "64k")])
            #expect(each > 64 && each < 1024)
        }
        #expect(!results.contains { $0.key["flows"] == "1" })
    }

    @Test("The process that measures refuses what it does not know", arguments: [[], ["flows"], ["services", "1"]])
    func unknownArguments(_ arguments: [String]) throws {
        #expect(throws: BenchmarkError.self) { try MemoryChild.run(arguments) }
    }
}

@Suite struct LatencySummaryTests {
    @Test(
        "Percentiles are figures that were measured",
        arguments: [([7], 7, 7, 7, 7), (Array(1...10), 5, 9, 10, 10), (Array(1...1000), 500, 900, 990, 1000)]
            as [([Int], Double, Double, Double, Double)])
    func percentiles(_ samples: [Int], _ p50: Double, _ p90: Double, _ p99: Double, _ max: Double) throws {
        let summary = try #require(LatencySummary(microseconds: samples.shuffled().map(Double.init)))
        #expect(summary[50] == p50 && summary[90] == p90 && summary[99] == p99 && summary[100] == max)
        #expect(summary.count == samples.count)
        #expect(summary[0] == samples.map(Double.init).min())
        #expect(summary.points.map(\.percentile) == summary.points.map(\.percentile).sorted())
        #expect(LatencySummary(microseconds: []) == nil)
    }
}
