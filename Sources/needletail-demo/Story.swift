import Dataplane
import NetLab
import NetTypes

/// The demo, from building up to taking down.
final class Story {
    let console: Console
    let interrupts: Interrupts
    let claims: Claims
    let workspace: Workspace
    let network: Network
    let agent: Agent
    let traffic: Traffic
    /// The command line tool, which may not be there.
    let tool: String
    /// How long each step is watched.
    let watch: Duration

    init(
        console: Console, interrupts: Interrupts, agent program: String, tool: String, watch: Duration
    ) throws {
        self.console = console
        self.interrupts = interrupts
        self.tool = tool
        self.watch = watch
        claims = Claims(console)
        workspace = try Workspace()
        do {
            network = try Network(servers: ["web-1", "web-2"])
        } catch {
            try? workspace.remove()
            throw error
        }
        agent = Agent(program, workspace, network, interrupts)
        traffic = Traffic(network)
    }

    /// Plays it. Whatever happens, everything is taken down before this returns.
    ///
    /// - Returns: whether all claims held.
    func play() throws -> Bool {
        do {
            for scene in [
                introduce, firstRequests, startLoad, addBackend, drainBackend, killAgent, removeBackend, takeStock,
                showTool,
            ] {
                try scene()
                guard claims.allHold else {
                    console.print()
                    console.print(" What comes next builds on what did not happen, and is left out.")
                    break
                }
            }
        } catch {
            console.clearStatus()
            console.print()
            console.print(console.styled(" Taking everything down.", .dim))
            do {
                try takeDown()
            } catch {
                console.print(" \(error)")
            }
            throw error
        }
        console.heading("Clean up")
        let (said, time) = try takeDown()
        claims.claim(
            "Nothing is left: no process, program, map, mount or file; the namespaces go with this program",
            "needletail-agent cleanup: \(said), all in \(time)", !workspace.exists)
        claims.summarize()
        return claims.allHold
    }

    /// Puts the endpoints in force, and tells how long the agent took.
    func put(_ endpoints: [(pod: String, state: Manifest.State)]) throws -> String {
        let milliseconds = try agent.apply { try writeEndpoints(endpoints) }
        return "\((milliseconds * 10).rounded() / 10) ms after the file was written"
    }

    /// Writes the manifest, without waiting for anybody.
    func writeEndpoints(_ endpoints: [(pod: String, state: Manifest.State)]) throws {
        let slices = Manifest.slices(
            try endpoints.map { (try network.topology.host($0.pod).addresses, $0.state) })
        try workspace.write(slices, to: "endpoints.yaml")
    }
}
