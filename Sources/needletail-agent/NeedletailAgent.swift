import Agent
import ArgumentParser

@main
struct NeedletailAgent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail-agent",
        abstract: "Balances Kubernetes Services on this node with BPF.",
        discussion: """
            Follows a directory of Service, EndpointSlice and Node manifests, loads the datapath, attaches it to the \
            node's devices and keeps its maps in step. The datapath is pinned: it goes on forwarding while no agent \
            runs, and the next agent takes it over without a break.

            EXAMPLES
              needletail-agent --manifests /etc/needletail/manifests --node-name $(hostname)
              needletail-agent --manifests ./m --node-name a --external-devices eth0 --workload-devices 'veth*,cali*'
              needletail-agent cleanup            remove programs, maps and pins; ends connections through them
            """,
        version: AgentConfiguration.version,
        subcommands: [Run.self, Cleanup.self], defaultSubcommand: Run.self)
}
