import ArgumentParser
import Benchmark
import KubernetesWire

struct Programming: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Time from an endpoint change on the watch to the maps.",
        discussion: """
            Puts so many Services in place, as events of a watch, and then changes one endpoint after another. Each \
            change is timed from before its bytes are read to after the last map write. Attaches nothing and sends \
            nothing; needs root. The maps end with the process. Exits with 1 when they do not hold in the end what \
            they should.
            """)

    @Option(help: "Numbers of Services in place, with commas.")
    var services = "100,1000,10000"

    @Option(help: "Endpoints of each Service.")
    var endpoints = 10

    @Option(help: "Changes that are timed at each number of Services.")
    var changes = 1000

    @Option(help: "How the events are written: protobuf or json.")
    var format = Format.protobuf

    @Option(name: .shortAndLong, help: "table or json.")
    var output = Packet.Output.table

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case protobuf, json
    }

    func settings() throws -> ProgrammingSettings {
        let numbers = try services.split(separator: ",").map { text in
            guard let number = Int(text) else {
                throw BenchmarkError.unusableSetting("services \(text): must be a number")
            }
            return number
        }
        return try ProgrammingSettings(
            services: numbers, endpoints: endpoints, changes: changes, format: format == .json ? .json : .protobuf)
    }

    func validate() throws {
        do {
            _ = try settings()
        } catch let error as BenchmarkError {
            throw ValidationError(error.description)
        }
    }

    func run() throws {
        let report = try ProgrammingBenchmark.run(try settings(), progress: Bench.progress)
        print(output == .json ? report.json : report.table, terminator: "")
        if !report.succeeded { throw ExitCode.failure }
    }
}
