import ArgumentParser
import Glibc

@main
struct NeedletailDemo: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail-demo",
        abstract: "Shows Needletail at work, with real traffic, and checks what it claims.",
        discussion: """
            Builds a node with pods and a client outside from network namespaces, runs the real needletail-agent on it, \
            and changes a Service under load. Nothing outside these namespaces is touched, and nothing is left behind, \
            even by kill -9 (but for a directory of manifests in $TMPDIR or /tmp). Needs root. \
            The exit status is 0 when every claim held, and 1 otherwise.
            """)

    @Flag(help: "Watch each step for a second only; the claims are the same.")
    var quick = false

    @Option(help: ArgumentHelp("The agent to run (default: needletail-agent beside this program).", valueName: "path"))
    var agent: String?

    func run() throws {
        let console = Console()
        guard geteuid() == 0 else {
            complain("needs root, to make network namespaces and load BPF programs: run it with sudo")
            throw ExitCode.failure
        }
        // First of all: threads inherit the signal mask.
        let interrupts = Interrupts()
        let directory = Self.ownDirectory
        do {
            let story = try Story(
                console: console, interrupts: interrupts, agent: agent ?? "\(directory)/needletail-agent",
                tool: "\(directory)/needletail", watch: quick ? .seconds(1) : .seconds(5))
            guard try story.play() else { throw ExitCode.failure }
        } catch DemoError.interrupted(let signal) {
            console.clearStatus()
            complain(DemoError.interrupted(signal).description)
            throw ExitCode(128 + signal)
        } catch let exit as ExitCode {
            throw exit
        } catch {
            console.clearStatus()
            complain("\(error)")
            throw ExitCode.failure
        }
    }

    private func complain(_ message: String) {
        let text = "needletail-demo: \(message)\n"
        _ = Glibc.write(STDERR_FILENO, text, text.utf8.count)
    }

    /// Where this program is.
    private static var ownDirectory: String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        let path = String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }
}
