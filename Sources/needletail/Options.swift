internal import ArgumentParser
internal import Dataplane
internal import Glibc
internal import Inspection
internal import NetTypes

/// How an answer is written.
enum OutputFormat: String, CaseIterable, ExpressibleByArgument {
    case table, wide, json, yaml
}

/// Options of every command that reads the datapath.
struct GlobalOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Directory that the agent pins maps and links in.", valueName: "directory"),
        completion: .directory)
    var pinDirectory = PinDirectory.standard

    @OptionGroup var answers: AnswerOptions

    /// Opens the datapath, asks it, and writes the answer; failures go to standard error and into the exit code.
    func answer(_ question: (Inspector) throws -> some Report) throws {
        try reportingFailures { try answers.write(try question(try inspector())) }
    }

    func inspector() throws -> Inspector { try Inspector(pins: PinDirectory(pinDirectory)) }
}

/// Options of every command.
struct AnswerOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "How to write the answer.")
    var output = OutputFormat.table

    func write(_ report: some Report) throws { try writeAnswer(try text(of: report)) }

    private func text(of report: some Report) throws -> String {
        switch output {
        case .table: report.text(.normal)
        case .wide: report.text(.wide)
        case .json: try JSONDocument().encode(report)
        case .yaml: try YAMLDocument().encode(report)
        }
    }
}

/// Runs a command's body; what it throws goes to standard error and into the exit code.
func reportingFailures(_ body: () throws -> Void) throws(ExitCode) {
    do {
        try body()
    } catch {
        try report(error)
    }
}

/// Runs a command's body; what it throws goes to standard error and into the exit code.
func reportingFailures(_ body: () async throws -> Void) async throws(ExitCode) {
    do {
        try await body()
    } catch {
        try report(error)
    }
}

private func report(_ error: any Error) throws(ExitCode) {
    guard !(error is ReaderGone) else { return }
    let failure = InspectionError(error)
    note("error: \(failure)")
    throw ExitCode(failure.kind.rawValue)
}

/// Whoever read the answer has closed the pipe, and wants no more of it.
struct ReaderGone: Error {}

/// Writes to standard output, all of it: a full disk must not look like a short answer.
func writeAnswer(_ text: String) throws {
    let failure = writeAll(text, to: STDOUT_FILENO)
    guard failure != 0 else { return }
    // Only where the signal that comes first is ignored.
    guard failure != EPIPE else { throw ReaderGone() }
    throw InspectionError(.unwritten, "the answer could not be written: \(String(cString: strerror(failure)))")
}

/// Writes a line to standard error.
func note(_ text: String) {
    // There is nowhere left to complain to.
    _ = writeAll("needletail: \(text)\n", to: STDERR_FILENO)
}

/// Returns 0 or the `errno` that ended it.
private func writeAll(_ text: String, to descriptor: Int32) -> Int32 {
    let bytes = Array(text.utf8)
    var start = 0
    while start < bytes.count {
        let written = bytes[start...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if written < 0, errno == EINTR { continue }
        guard written > 0 else { return written < 0 ? errno : EIO }
        start += written
    }
    return 0
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
