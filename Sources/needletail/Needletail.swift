internal import ArgumentParser
internal import Inspection

/// Shows what the datapath of this node does, and why.
@main
struct Needletail: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail",
        abstract: "Show what the Needletail datapath of this node does, and why.",
        discussion: """
            Everything is read from the pinned BPF maps: no agent need run, and none is asked. Needs root, or CAP_BPF.

            EXAMPLES
              needletail status                          is all well?
              needletail service list -n shop            what is balanced
              needletail service show shop/web:http      where connections go, or why not
              needletail flow list --address 192.0.2.7   what a client is doing
              needletail trace tcp 192.0.2.7:40000 198.18.0.10:80
                                                         where a packet would go
              needletail monitor --kind refused          what goes wrong now
              needletail backend list -o json            for programs

            EXIT CODES
              0   done
              1   there is no object of that name
              64  the command line makes no sense
              69  there is no datapath, or it cannot be read
              74  the answer could not be written

            Completions for bash, zsh and fish: needletail --generate-completion-script bash
            """,
        version: VersionReport().version,
        subcommands: [
            Status.self, ServiceCommands.self, BackendCommands.self, FlowCommands.self, MaglevCommands.self,
            Trace.self, Monitor.self, Stats.self, Maps.self, Version.self,
        ])

    static func main() async {
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            // Help, version and completion scripts are answers, too.
            guard exitCode(for: error) == .success else { exit(withError: error) }
            let text = fullMessage(for: error)
            do {
                try reportingFailures { try writeAnswer(text + "\n") }
            } catch {
                exit(withError: error)
            }
        }
    }
}
