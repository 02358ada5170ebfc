import Benchmark
import Dataplane
import Foundation
import NeedletailABI
import NetTypes
import TestSupport
import Testing

/// What the JSON document promises.
private struct Document: Decodable {
    struct Result: Decodable {
        struct Figures: Decodable {
            let min, median, max: Double
        }

        let program: String
        let `case`: String
        let family: String
        let flows: Int
        let measurements: Int
        let ns: Figures?
        let rawNs: Figures?
        let ratio: [String: Double?]
        let problem: String?
    }

    struct Machine: Decodable {
        let kernel: String
        let cores: Int
    }

    let schema: String
    let machine: Machine
    let memory: [String: Int]
    let succeeded: Bool
    let results: [Result]
}

@Suite(.serialized, .needsRoot) struct PacketBenchmarkTests {
    private func run(_ flows: String, _ programs: [DatapathProgram], rounds: Int = 1) throws -> PacketReport {
        try PacketBenchmark.run(
            PacketSettings(flows: try FlowCount.list(flows), programs: programs, runs: 1000, rounds: rounds)
        ) { _ in }
    }

    @Test func everyCaseHitsItsCounterAndTheDocumentIsRead() throws {
        let report = try run("1", DatapathProgram.attachable, rounds: 2)
        #expect(report.succeeded, "\(report.table)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let document = try decoder.decode(Document.self, from: Data(report.json.utf8))
        #expect(document.schema == "needletail-bench/packet/1")
        #expect(document.succeeded)
        #expect(document.machine.cores > 0)
        #expect(try #require(document.memory["maps_bytes"]) > 0)
        for family in ["v4", "v6"] {
            for program in DatapathProgram.attachable {
                let cases = document.results.filter { $0.family == family && $0.program == program.name }
                let isEgress = [.externalEgress, .workloadEgress].contains(program)
                let expected: Set =
                    isEgress ? ["reply", "not-a-service"] : ["established", "not-a-service", "new-flow"]
                #expect(Set(cases.map(\.case)) == expected)
                #expect(cases.allSatisfy { $0.measurements == 2 && $0.problem == nil && $0.ns != nil })
            }
        }
        let floors = Set(document.results.filter { $0.program == "floor" }.map(\.case))
        #expect(floors == ["mac-swap", "lru-hit", "lru-insert"])
    }

    @Test func manyFlowsAreWalkedThroughOncePerTick() throws {
        let report = try run("16k", [.externalXDP, .externalEgress])
        #expect(report.succeeded, "\(report.table)")
        let kinds = Set(report.results.filter { $0.what.program.hasPrefix("external") }.map(\.what.kind))
        #expect(kinds == [.established, .establishedFirst, .reply, .replyFirst, .newFlow, .notService])
        #expect(report.table.contains("16k flows"))
    }

    @Test(arguments: [(0, 1), (1, 0), (-1, 1)]) func refusesToMeasureNothing(_ runs: Int, _ rounds: Int) throws {
        #expect(throws: BenchmarkError.self) {
            try PacketSettings(flows: try FlowCount.list("1"), runs: runs, rounds: rounds)
        }
    }
}
