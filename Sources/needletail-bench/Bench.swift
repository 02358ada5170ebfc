import ArgumentParser

@main
struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail-bench",
        abstract: "Measures Needletail's datapath.",
        subcommands: [Packet.self])
}
