import ArgumentParser
import Glibc

@main
struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail-bench",
        abstract: "Measures Needletail's datapath and control plane.",
        subcommands: [Packet.self, Programming.self])

    /// Tells of progress on standard error.
    static func progress(_ line: String) {
        var text = "needletail-bench: \(line)\n"
        // Progress that cannot be written is no reason to stop.
        _ = text.withUTF8 { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
