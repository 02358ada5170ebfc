import Benchmark
import Foundation
import KubernetesWire
import TestSupport
import Testing

/// What the JSON document promises.
private struct Document: Decodable {
    struct Result: Decodable {
        struct Times: Decodable {
            let p50, p90, p99, max: Double
            let count: Int
        }

        struct FirstSync: Decodable {
            let total, read, resolve, plan, write: Double
        }

        let services: Int
        let changeUs: Times
        let writes: Int
        let firstSyncMs: FirstSync
        let bytes: Int
        let residentBytes: Int
        let problem: String?
    }

    let schema: String
    let succeeded: Bool
    let results: [Result]
}

@Suite(.serialized, .needsRoot) struct ProgrammingBenchmarkTests {
    @Test(
        "Every change reaches the maps, which are right in the end, and the document is read",
        arguments: WireFormat.allCases)
    func everyChangeIsProgrammed(_ format: WireFormat) throws {
        let settings = try ProgrammingSettings(services: [2, 30], endpoints: 3, changes: 150, format: format)
        let report = try ProgrammingBenchmark.run(settings) { _ in }
        #expect(report.succeeded, "\(report.table)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let document = try decoder.decode(Document.self, from: Data(report.json.utf8))
        #expect(document.schema == "needletail-bench/programming/1")
        #expect(document.succeeded && document.results.map(\.services) == [2, 30])
        for result in document.results {
            let times = result.changeUs
            #expect(times.count == 150 && result.writes >= 150)
            #expect(times.p50 <= times.p90 && times.p90 <= times.p99 && times.p99 <= times.max)
            let first = result.firstSyncMs
            #expect(abs(first.total - first.read - first.resolve - first.plan - first.write) < 0.1)
            #expect(result.bytes > result.services * 1000 && result.residentBytes > 1 << 20)
        }
    }
}

@Suite struct ProgrammingSettingsTests {
    @Test(
        "What there are no addresses for is refused, by name",
        arguments: [
            ([], 10, 10, "services"), ([0], 10, 10, "services 0"), ([40_000], 2, 10, "services 40000"),
            ([10_000], 1, 10, "endpoints 1"), ([10_000], 50, 10, "endpoints 50"), ([10], 10, 0, "changes 0"),
        ] as [([Int], Int, Int, String)])
    func settings(_ services: [Int], _ endpoints: Int, _ changes: Int, _ name: String) throws {
        let error = try #require(throws: BenchmarkError.self) {
            try ProgrammingSettings(services: services, endpoints: endpoints, changes: changes)
        }
        #expect(error.description.hasPrefix(name))
    }

    @Test(
        "Percentiles are figures that were measured",
        arguments: [([7], 7, 7, 7, 7), (Array(1...10), 5, 9, 10, 10), (Array(1...1000), 500, 900, 990, 1000)]
            as [([Int], Double, Double, Double, Double)])
    func percentiles(_ samples: [Int], _ p50: Double, _ p90: Double, _ p99: Double, _ max: Double) throws {
        let latencies = try #require(Latencies(samples.shuffled().map(Double.init)))
        #expect(latencies.p50 == p50 && latencies.p90 == p90 && latencies.p99 == p99 && latencies.max == max)
        #expect(latencies.count == samples.count)
        #expect(Latencies([Double]()) == nil)
    }
}
