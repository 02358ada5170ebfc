import ArgumentParser
import Benchmark
import Dataplane
import NeedletailABI
import NetTypes

struct Packet: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Nanoseconds per packet of each datapath program.",
        discussion: """
            Runs the programs by BPF_PROG_TEST_RUN on packets of many flows, beside floors that say what a packet costs \
            at least. Attaches nothing and sends nothing; needs root. The programs and maps end with the process. \
            Exits with 1 when a case did not measure what it is named after.
            """)

    @Option(help: "Numbers of flows, powers of two.")
    var flows = "1,64k,1M"

    @Option(help: "Programs, by their names in the object, with commas; all by default.")
    var programs: String?

    @Option(help: "Address families, with commas.")
    var families = "v4,v6"

    @Option(name: .customLong("repeat"), help: "Runs of a program in one measurement.")
    var runs = 100_000

    @Option(help: "How often everything is measured, in turns.")
    var rounds = 5

    @Option(help: "Begin no further round later than this after the start.")
    var seconds = 70

    @Option(name: .shortAndLong, help: "table or json.")
    var output = Output.table

    enum Output: String, ExpressibleByArgument, CaseIterable {
        case table, json
    }

    private static let familyNames: [(String, IPFamily)] = [("v4", .v4), ("v6", .v6)]

    func settings() throws -> PacketSettings {
        try PacketSettings(
            flows: try FlowCount.list(flows),
            programs: try Self.select(
                programs, from: DatapathProgram.attachable.map { ($0.name, $0) }, option: "--programs"),
            families: try Self.select(families, from: Self.familyNames, option: "--families"), runs: runs,
            rounds: rounds, seconds: seconds)
    }

    private static func select<T>(_ text: String?, from all: [(String, T)], option: String) throws -> [T] {
        guard let text else { return all.map(\.1) }
        let wanted = text.split(separator: ",").map(String.init)
        if let unknown = wanted.first(where: { name in !all.contains { $0.0 == name } }) {
            throw ValidationError("\(option) \(unknown): choose of \(all.map(\.0).joined(separator: ", "))")
        }
        return all.filter { wanted.contains($0.0) }.map(\.1)
    }

    func validate() throws {
        do {
            _ = try settings()
        } catch let error as BenchmarkError {
            throw ValidationError(error.description)
        }
    }

    func run() throws {
        let report = try PacketBenchmark.run(try settings(), progress: Bench.progress)
        print(output == .json ? report.json : report.table, terminator: "")
        if !report.succeeded { throw ExitCode.failure }
    }
}
