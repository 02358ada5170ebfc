import ArgumentParser
import Benchmark

struct Compare: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what changed from one run to another.",
        discussion: """
            Says of each measurement whether it is better, worse, or no different beyond the noise of both runs. What has \
            a reference in its run is compared by its ratio to that.
            """)

    @Argument(help: ArgumentHelp("A document that `run -o json` wrote.", valueName: "old.json"))
    var old: String

    @Argument(help: ArgumentHelp("A later one.", valueName: "new.json"))
    var new: String

    @OptionGroup var output: Output
    @OptionGroup var guardrail: FailOnWorse

    func run() throws {
        let later = try Report(contentsOf: new)
        let comparison = Comparison(from: try Report(contentsOf: old), to: later)
        try output.write(later, comparison)
        try guardrail.check(comparison)
    }
}

struct Render: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Show an earlier run again, as a table or a page.")

    @Argument(help: ArgumentHelp("A document that `run -o json` wrote.", valueName: "file.json"))
    var file: String

    @OptionGroup var output: Output

    func run() throws { try output.write(try Report(contentsOf: file)) }
}
