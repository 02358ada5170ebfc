internal import ArgumentParser
internal import Inspection

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the agent, the devices, totals and counters.",
        discussion: """
            The counters say what became of every packet the programs have seen since the maps were made. `-o wide` \
            shows those that are zero too, and each program's part.

            EXAMPLES
              needletail status
              needletail status -o json | jq '.counters[] | select(.outcome == "dropped")'
            """)

    @OptionGroup var global: GlobalOptions

    func run() throws { try global.answer { try $0.status() } }
}

struct Maps: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the BPF maps, how full they are, and the setting that makes each larger.",
        discussion: """
            Sizes hold for the life of the pinned maps. To change one, stop the agent, run `needletail-agent \
            cleanup`, which ends connections through the node, and start it with the new setting.

            EXAMPLES
              needletail maps
              needletail maps -o json | jq '.maps[] | select(.percent > 80) | .setting'
            """)

    @OptionGroup var global: GlobalOptions

    func run() throws { try global.answer { try $0.mapUsage() } }
}

struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the version of this program and of the map layout it reads.",
        discussion: """
            EXAMPLES
              needletail version -o json
            """)

    @OptionGroup var answers: AnswerOptions

    func run() throws { try reportingFailures { try answers.write(VersionReport()) } }
}
