import Agent
import ArgumentParser

@main
struct NeedletailAgent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail-agent",
        abstract: "Balances Kubernetes Services on this node with BPF.",
        // Broken by hand: ArgumentParser wraps at the terminal's width, also in the middle of a command.
        discussion: """
            Follows Services and EndpointSlices of an API server, or of a directory of
            manifests, loads the datapath, attaches it to the node's devices and keeps
            its maps in step. The datapath is pinned: it goes on forwarding while no
            agent runs, and the next agent takes it over without a break.

            EXAMPLES
              needletail-agent --config /etc/needletail/agent.yaml

              needletail-agent --kubeconfig /etc/kubernetes/needletail.conf

              needletail-agent --manifests /etc/needletail --node-name $(hostname)

              needletail-agent --manifests ./manifests --node-name node-1 \\
                --external-devices eth0 --workload-devices 'veth*,cali*'

              needletail-agent cleanup

            `needletail-agent run --help` lists all flags with their defaults; the
            word `run` may be left out.
            """,
        version: AgentConfiguration.version,
        subcommands: [Run.self, Cleanup.self], defaultSubcommand: Run.self)

    static func main() async {
        do {
            var command = try parseAsRoot(Arguments.normalized(Array(CommandLine.arguments.dropFirst())))
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            exit(withError: error)
        }
    }
}
