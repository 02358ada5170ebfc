import Benchmark
import Foundation
import TestSupport
import Testing

/// The program itself: arguments in, text and exit codes out.
@Suite struct BenchProgramTests {
    struct Outcome {
        let code: Int32
        let output: String
        let errors: String
    }

    /// Beside the test bundle, which is among the runner's arguments.
    private static let path: String = {
        let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("needletail-bench").path
    }()

    private func run(_ arguments: [String]) throws -> Outcome {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.path)
        process.arguments = arguments
        let output = Pipe()
        let errors = FileManager.default.temporaryDirectory.appending(path: "bench-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: errors) }
        try Data().write(to: errors)
        process.standardOutput = output
        process.standardError = try FileHandle(forWritingTo: errors)
        try process.run()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Outcome(
            code: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
            errors: String(decoding: try Data(contentsOf: errors), as: UTF8.self))
    }

    @Test(
        "A bad value is refused before anything is measured, and the option is named",
        arguments: [
            (["run", "everything"], "suite \"everything\": choose of packet"),
            (["run", "--against", "cilium"], "--against \"cilium\": choose of none, iptables, nftables, ipvs"),
            (["run", "--against", ""], "--against"), (["run", "--services", "1,,2"], "--services \"1,,2\""),
            (["run", "--services", "many"], "--services \"many\": must be a number"),
            (["run", "--services", "0"], "--services 0: must be from 1 to 10000"),
            (["run", "--services", "10001"], "--services 10001"), (["run", "--backends", "0"], "--backends 0"),
            (["run", "--backends", "x"], "--backends"), (["run", "--flows", "3"], "--flows: \"3\""),
            (["run", "--flows", ""], "--flows: \"\""), (["run", "--families", "v4,v5"], "--families \"v5\""),
            (["run", "--duration", "0"], "--duration 0"), (["run", "--duration", "soon"], "--duration \"soon\""),
            (["run", "--duration", "nan"], "--duration \"nan\""), (["run", "--duration", "61s"], "--duration 61"),
            (["run", "--repeat", "0"], "--repeat 0"),
            (["run", "--with", "theirs"], "--with \"theirs\": must be NAME=PIN"),
            (["run", "--with", "=x"], "--with \"=x\""),
            (["run", "--with", "a=x", "--with", "a=y"], "a is given twice"),
            (["run", "-o", "yaml"], "-o"), (["run", "--fail-on-worse", "5"], "--fail-on-worse: needs --compare"),
            (["compare", "a", "b", "--fail-on-worse", "-1"], "--fail-on-worse"), (["compare", "a"], "new.json"),
        ])
    func refuses(_ arguments: [String], _ expected: String) throws {
        let outcome = try run(arguments)
        #expect(outcome.code == 64)
        #expect(outcome.output.isEmpty)
        #expect(outcome.errors.contains(expected), "\(outcome.errors)")
    }

    @Test(
        "Files that are not there or not ours are named",
        arguments: [
            ["run", "maglev", "--compare", "/proc/self/nothing"], ["report", "/proc/self/nothing"],
            ["compare", "/proc/self/nothing", "/proc/self/nothing"], ["report", "/proc/self/status"],
            ["run", "maglev", "--output-file", "/proc/self/nothing/at/all"],
        ])
    func files(_ arguments: [String]) throws {
        let outcome = try run(arguments)
        #expect(outcome.code == 1 && outcome.output.isEmpty)
        #expect(outcome.errors.contains(arguments.last ?? ""), "\(outcome.errors)")
    }

    @Test("A run is written, shown again in every form, and compared")
    func documents() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "bench-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let file = directory.appending(path: "run.json").path
        let arguments = ["run", "maglev", "--duration", "10ms", "--repeat", "1", "-o", "json", "--output-file", file]
        let run = try run(arguments)
        #expect(run.code == 0 && run.output.isEmpty, "\(run.errors)")
        #expect(run.errors.contains("s] maglev: round 1 of 1"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["run.json"])

        let report = try Report(contentsOf: file)
        #expect(report.header.command == ["needletail-bench"] + arguments)
        #expect(report.header.settings.duration == 0.01 && !report.measurements.isEmpty)
        #expect(try self.run(["report", file]).output == report.table)
        #expect(try self.run(["report", file, "-o", "html"]).output == report.page)
        #expect(try self.run(["report", file, "-o", "json"]).output == String(contentsOfFile: file, encoding: .utf8))
        let comparison = try self.run(["compare", file, file])
        #expect(comparison.code == 0 && comparison.output.contains("0 worse, 0 better"))

        // The later run is worse in what is counted.
        var worse = report
        for index in worse.measurements.indices where worse.measurements[index].key.quantity == "scratch" {
            worse.measurements[index].samples = worse.measurements[index].samples.map { $0 * 1.5 }
        }
        let later = directory.appending(path: "later.json").path
        try worse.json.write(toFile: later, atomically: true, encoding: .utf8)
        #expect(try self.run(["compare", file, later]).code == 0)
        #expect(try self.run(["compare", file, later, "--fail-on-worse", "60"]).code == 0)
        let failed = try self.run(["compare", file, later, "--fail-on-worse", "40"])
        #expect(failed.code == 1 && failed.output.contains("WORSE") && failed.errors.contains("50 % worse"))
        #expect(try self.run(["compare", later, file, "--fail-on-worse", "0"]).code == 0)
    }

    @Test("All suites run, and answer with a document that conforms", .needsRoot)
    func smoke() throws {
        let outcome = try run([
            "run", "all", "--flows", "1", "--services", "1", "--backends", "2", "--duration", "10ms", "--repeat", "1",
            "-o", "json",
        ])
        let report = try Report(json: Array(outcome.output.utf8))
        #expect(outcome.code == 0 && report.succeeded, "\(report.table)\n\(outcome.errors)")
        #expect(Set(report.measurements.map(\.key.suite)) == Set(SuiteName.allCases))
        #expect(Set(report.measurements.map(\.key)).count == report.measurements.count)
        let checker = try SchemaChecker(contentsOf: SchemaChecker.documents)
        #expect(try checker.problems(outcome.output) == [])
        #expect(try Page(report.page).problems == [])
    }
}
