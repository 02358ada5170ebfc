import ArgumentParser
import Benchmark

/// The process that the memory suite starts anew for each figure.
struct MemoryFigure: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: MemoryChild.subcommand, shouldDisplay: false)

    @Argument var arguments: [String]

    func run() throws {
        print(try MemoryChild.run(arguments), terminator: "")
    }
}
