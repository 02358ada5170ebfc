internal import ArgumentParser
internal import Dataplane
internal import Glibc
internal import Inspection
internal import NetTypes

/// How an answer is written.
enum OutputFormat: String, CaseIterable, ExpressibleByArgument {
    case table, wide, json, yaml
}

/// Options of every command.
struct GlobalOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Directory that the agent pins maps and links in.", valueName: "directory"),
        completion: .directory)
    var pinDirectory = PinDirectory.standard

    @Option(name: .shortAndLong, help: "How to write the answer.")
    var output = OutputFormat.table

    /// Opens the datapath, asks it, and writes the answer; failures go to standard error and into the exit code.
    func answer(_ question: (Inspector) throws -> some Report) throws {
        try run { write(try text(of: try question(try inspector()))) }
    }

    func inspector() throws -> Inspector { try Inspector(pins: PinDirectory(pinDirectory)) }

    func run(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch let code as ExitCode {
            throw code
        } catch {
            let failure = InspectionError(error)
            note("error: \(failure)")
            throw ExitCode(failure.kind.rawValue)
        }
    }

    func text(of report: some Report) throws -> String {
        switch output {
        case .table: report.text(.normal)
        case .wide: report.text(.wide)
        case .json: try JSONDocument().encode(report)
        case .yaml: try YAMLDocument().encode(report)
        }
    }
}

/// Writes to standard output.
func write(_ text: String) { print(text, terminator: "") }

/// Writes a line to standard error.
func note(_ text: String) {
    let line = Array("needletail: \(text)\n".utf8)
    var start = 0
    while start < line.count {
        let written = line[start...].withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
        guard written > 0 else { return }
        start += written
    }
}

/// A Service by its two names.
struct ServiceNameOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "Only of Services in this namespace.")
    var namespace: String?

    @Option(help: "Only of Services with this name.")
    var name: String?
}

/// The protocol.
struct TransportOptions: ParsableArguments {
    @Option(
        name: .customLong("protocol"), help: ArgumentHelp("Only this protocol: tcp or udp.", valueName: "protocol"),
        completion: .list(["tcp", "udp"]), transform: { try TransportProtocol(filter: $0) })
    var transport: TransportProtocol?
}
