import ArgumentParser
import Glibc

@main
struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail-bench",
        abstract: "Measures Needletail's datapath and control plane, and what they are compared with.",
        subcommands: [Run.self, Compare.self, Render.self, MemoryFigure.self])

    private static let started = ContinuousClock.now

    /// Tells of progress on standard error.
    static func progress(_ line: String) {
        var text = "needletail-bench: [\((ContinuousClock.now - started).components.seconds) s] \(line)\n"
        // Progress that cannot be written is no reason to stop.
        _ = text.withUTF8 { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
