import Dataplane
import Foundation
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

/// CLI output against a running agent: what `needletail` says of a node with open flows, and of the same node after
/// its agent has been killed.
@Suite(.needsRoot, .needsTCX, .ownThread, .timeLimit(.minutes(10))) struct CLITests {
    /// Whether an agent runs while the commands are asked.
    enum AgentState: CaseIterable, CustomTestStringConvertible {
        case running, killed
        var testDescription: String { "\(self)" }
    }

    @Test(arguments: AgentState.allCases) func tablesAreRight(_ state: AgentState) throws {
        let scene = try CLIScene(state)

        let status = try scene.table("status")
        let agent = state == .running ? ["Agent:", "running"] : ["Agent:", "not", "running"]
        #expect(status.contains { $0.starts(with: agent) })
        #expect(status.contains { $0.starts(with: ["Frontends:", "8", "IPv4,", "8", "IPv6,", "0"]) })
        #expect(status.contains { $0.starts(with: ["Backends:", "12", "active,", "0", "terminating,", "0", "gone"]) })
        let attachments = status.filter { $0.count == 4 && $0.last == "tcx" }
        #expect(Set(attachments.map { $0[0] }) == scene.devices)
        #expect(status.contains { $0.starts(with: ["eth0"]) && $0.contains("external_xdp") })
        #expect(!status.contains { $0.contains("attached") })

        let services = try scene.table("service", "list")
        for flow in scene.flows {
            #expect(services.contains { $0.starts(with: [flow.service, "ClusterIP", "\(flow.frontend)"]) })
        }
        let backends = try scene.table("backend", "list")
        #expect(Set(backends.dropFirst().map { $0[0] }) == scene.backends)
        let flows = try scene.table("flow", "list")
        #expect(
            Set(flows.dropFirst().map { Array($0.prefix(6)) })
                == Set(scene.flows.map { [$0.transport, $0.client, $0.address, $0.backend, $0.service, $0.state] }))

        let show = try scene.table("service", "show", "default/web:stream")
        #expect(show.first?.prefix(2) == ["Service", "default/web:stream/TCP,"])
        #expect(show.count { $0.count == 7 && scene.backends.contains($0[0]) } == 6)
        let maglev = try scene.table("maglev", "show", "default/web:datagram")
        #expect(maglev.first == ["Service:", "default/web:datagram/UDP"])
        #expect(maglev.count { $0.starts(with: ["Verify:", "ok:"]) } == 2)
        #expect(try scene.table("maps").contains { $0.starts(with: ["nt_tcp_flows4"]) && $0[5] == "2" })
        #expect(try scene.table("maps").contains { $0.starts(with: ["nt_udp_flows4"]) && $0[5] == "2" })
        #expect(try scene.table("version").first?.first == "needletail")
        #expect(try scene.table("flow", "flush", "--all", "--dry-run") == [["4", "flows", "would", "be", "flushed"]])
    }

    @Test(arguments: AgentState.allCases) func documentsAreRight(_ state: AgentState) throws {
        let scene = try CLIScene(state)

        let status = try scene.document("status")
        let agent = try #require(status["agent"] as? [String: Any])
        #expect(agent["running"] as? Bool == (state == .running))
        #expect(agent["node"] as? String == "node")
        #expect(agent["pid"] as? Int == Int(scene.agentID))
        let attachments = try scene.list("attachments", of: "status")
        #expect(Set(attachments.compactMap { $0["device"] as? String }) == scene.devices)
        #expect(attachments.allSatisfy { $0["attached"] as? Bool == true && $0["present"] as? Bool == true })

        let frontends = try scene.list("frontends", of: "service", "list")
        #expect(Set(frontends.compactMap { $0["portName"] as? String }) == ["stream", "datagram"])
        #expect(frontends.allSatisfy { $0["namespace"] as? String == "default" && $0["name"] as? String == "web" })
        let backends = try scene.list("backends", of: "backend", "list")
        #expect(backends.count == scene.backends.count)
        #expect(backends.allSatisfy { $0["state"] as? String == "active" && $0["local"] as? Bool == true })

        let flows = try scene.list("flows", of: "flow", "list")
        #expect(flows.allSatisfy { $0["entries"] as? String == "both" })
        #expect(
            Set(flows.map { Party(client: endpoint($0["client"]), service: $0["service"] as? String) })
                == Set(scene.flows.map { Party(client: $0.client, service: $0.service) }))
        #expect(flows.allSatisfy { $0["state"] as? String == "established" })

        let ports = try scene.list("ports", of: "service", "show", "default/web")
        #expect(ports.compactMap { $0["portName"] as? String } == ["datagram", "stream"])
        #expect(ports.compactMap { $0["flows"] as? Int } == [2, 2])
        let tables = try scene.list("tables", of: "maglev", "show", "default/web:stream")
        #expect(tables.compactMap { $0["verdict"] as? String } == ["ok", "ok"])
        let used = try scene.list("maps", of: "maps").first { $0["name"] as? String == "nt_backends" }
        #expect(used?["used"] as? Int == scene.backends.count)
        #expect(try scene.document("version")["abiVersion"] as? Int == 3)
        #expect(try scene.document("flow", "flush", "--all", "--dry-run")["flows"] as? Int == 4)
    }

    @Test(arguments: AgentState.allCases) func exitCodesAndFlushing(_ state: AgentState) throws {
        let scene = try CLIScene(state)
        for (arguments, code) in [
            (["service", "show", "default/wbe"], 1), (["backend", "list", "--backend", "9999"], 1),
            (["maglev", "show", "default/web:http"], 1), (["flow", "list", "--name", "other"], 1),
            (["service", "list", "--port", "0"], 64),
        ] as [([String], Int32)] {
            let outcome = try scene.run(arguments)
            #expect(outcome.code == code, "\(arguments)")
            #expect(outcome.output.isEmpty && !outcome.errors.isEmpty, "\(arguments)")
        }
        #expect(try scene.table("flow", "flush", "--service", "default/web:stream") == [["2", "flows", "flushed"]])
        let rest = try scene.table("flow", "list").dropFirst()
        #expect(rest.map { $0[4] } == ["default/web:datagram", "default/web:datagram"])
    }

    /// The packets that follow meet the backends that those before them had.
    @Test(arguments: AgentState.allCases) func tracesTellWhereFlowsGo(_ state: AgentState) throws {
        let scene = try CLIScene(state)
        for flow in scene.flows {
            let flags = flow.transport == "TCP" ? ["--flags", "ack"] : []
            let packet = [flow.transport.lowercased(), flow.client, flow.address]
            let document = try scene.document(["trace"] + packet + ["--from", "external"] + flags)
            let trace = try #require((document["traces"] as? [[String: Any]])?.first)
            #expect(trace["device"] as? String == "eth0")
            let step = try #require((trace["steps"] as? [[String: Any]])?.first)
            #expect(step["attached"] as? Bool == true && step["differs"] as? Bool == false)
            #expect((step["flow"] as? [String: Any])?["state"] as? String == "found")
            let backend = try #require(step["backend"] as? [String: Any])
            #expect(endpoint(backend) == flow.backend)
            #expect((trace["verdict"] as? [String: Any])?["action"] as? String == "translated")
        }
        let stats = try scene.list("services", of: "stats")
        #expect(stats.compactMap { $0["flows"] as? Int } == [2, 2])
        for service in stats {
            let total = try #require(service["total"] as? [String: Any])
            #expect(total["newFlows"] as? Int == 2 && total["packets"] as? Int ?? 0 >= 2)
            #expect(total["replyPackets"] as? Int ?? 0 >= 2)
        }
    }

    /// What others take off a device is not shown as if it were there.
    @Test(.needs("tc")) func aDeletedQdiscIsNoticed() throws {
        let scene = try CLIScene(.killed, AgentFlags(["--tc": "clsact", "--xdp": "off"]))
        #expect(try scene.list("attachments", of: "status").allSatisfy { $0["attached"] as? Bool == true })
        let tc = try #require(paths(of: "tc"))
        let deletion = try ChildProcess(
            tc, ["qdisc", "del", "dev", "eth0", "clsact"], in: scene.cluster.topology.node.namespace)
        #expect(try deletion.wait() == .exited(0))

        let rows = try scene.table("status")
        #expect(rows.count { $0.first == "eth0" && $0.suffix(2) == ["not", "attached"] } == 2)
        let attachments = try scene.list("attachments", of: "status")
        for attachment in attachments {
            #expect(attachment["present"] as? Bool == true)
            #expect(attachment["attached"] as? Bool == (attachment["device"] as? String != "eth0"))
        }
    }

    private struct Party: Hashable {
        let client: String?
        let service: String?
    }

    private func endpoint(_ value: Any?) -> String? {
        guard let fields = value as? [String: Any], let text = fields["address"] as? String,
            let address = IPAddress(text), let port = fields["port"] as? Int
        else { return nil }
        return address.withPort(UInt16(port))
    }
}

/// A serving cluster with a TCP connection and a UDP flow of each family, both answered.
private final class CLIScene {
    struct Flow {
        let transport: String
        let client: String
        let frontend: TransportEndpoint
        let backend: String
        let service: String
        let state = "established"
        var address: String { frontend.address.withPort(frontend.port) }
    }

    let cluster: Cluster
    let agentID: Int32
    /// All endpoints of the Service.
    let backends: Set<String>
    private(set) var flows: [Flow] = []
    private var connections: [TCPConnection] = []
    private var sockets: [UDPClient] = []

    init(_ state: CLITests.AgentState, _ flags: AgentFlags = AgentFlags(["--tc": "tcx"])) throws {
        cluster = try Cluster()
        let service = try cluster.service()
        try cluster.manifests.put(service)
        agentID = try cluster.start(flags).pid
        try cluster.waitUntilInStep()
        let addresses = try Cluster.servingPods.flatMap { [cluster] in try cluster.topology.host($0).addresses }
        backends = Set(
            addresses.flatMap { address in
                [TransportProtocol.tcp, .udp].map { "\(TransportEndpoint(address, ServiceManifest.backendPort, $0))" }
            })
        for family in IPFamily.allCases {
            let stream = service.frontend(.clusterIP, family, .tcp)
            let connection = try TCPConnection(cluster.client, to: stream.address, port: stream.port)
            try add(stream, "stream", Answer(connection.request("hello")))
            connections.append(connection)
            let datagram = service.frontend(.clusterIP, family, .udp)
            let socket = try UDPClient(cluster.client, family)
            try add(datagram, "datagram", socket.ask(datagram))
            sockets.append(socket)
        }
        // The agent loads the programs for traces beside its work.
        let limit = ContinuousClock.now + .seconds(30)
        while cluster.pins.entries(in: "trace").count < 5, ContinuousClock.now < limit { usleep(50_000) }
        if state == .killed { try cluster.stop(SIGKILL) }
    }

    private func add(_ frontend: TransportEndpoint, _ port: String, _ answer: Answer) throws {
        let backend = try cluster.topology.host(answer.server).address(frontend.address.family)
        flows.append(
            Flow(
                transport: "\(frontend.transport)", client: answer.client, frontend: frontend,
                backend: backend.withPort(ServiceManifest.backendPort), service: "default/web:\(port)"))
    }

    /// The node's devices that carry programs.
    var devices: Set<String> {
        Set(cluster.topology.podDevices.values).union(cluster.topology.externalDevices)
    }

    struct Outcome {
        let code: Int32?
        let output: [String]
        let errors: [String]
    }

    func run(_ arguments: [String]) throws -> Outcome {
        let program = URL(fileURLWithPath: Cluster.program).deletingLastPathComponent()
            .appendingPathComponent("needletail").path
        let pins = arguments.first == "version" ? [] : ["--pin-directory", cluster.pins.root]
        let process = try ChildProcess(program, arguments + pins, in: cluster.topology.node.namespace)
        let end = try process.wait(timeout: .seconds(20))
        let lines = process.lines
        let code: Int32? = if case .exited(let code) = end { code } else { nil }
        return Outcome(
            code: code, output: lines.filter { $0.stream == .output }.map(\.text),
            errors: lines.filter { $0.stream == .error }.map(\.text))
    }

    /// The words of each line that is not empty.
    func table(_ arguments: String...) throws -> [[String]] {
        try answer(arguments).map { $0.split(separator: " ").map(String.init) }.filter { !$0.isEmpty }
    }

    func document(_ arguments: String...) throws -> [String: Any] { try document(arguments) }

    /// The list that a document has under a key.
    func list(_ key: String, of arguments: String...) throws -> [[String: Any]] {
        try #require(try document(arguments)[key] as? [[String: Any]], "\(key)")
    }

    func document(_ arguments: [String]) throws -> [String: Any] {
        let text = try answer(arguments + ["-o", "json"]).joined(separator: "\n")
        return try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    private func answer(_ arguments: [String]) throws -> [String] {
        let outcome = try run(arguments)
        #expect(outcome.code == 0, "\(arguments): \(outcome.errors)")
        #expect(outcome.errors == [], "\(arguments)")
        return outcome.output
    }
}
