import Dataplane
import NeedletailABI
import NetLab
import NetTypes

extension Story {
    /// What there is, and the agent that makes it work.
    func introduce() throws {
        console.print(console.styled(" Needletail: a Kubernetes Service, balanced by BPF, on one machine", .bold))
        console.heading("1. A node, a Service, an agent")
        try showTopology()
        console.explain("The Service, as you would write it:")
        console.print()
        for line in Manifest.service.split(separator: "\n") { console.print("     " + line) }
        console.print()

        try workspace.write(Manifest.service, to: "service.yaml")
        try workspace.write(Manifest.node(network.topology.node.addresses), to: "node.yaml")
        try writeEndpoints([("web-1", .ready), ("web-2", .ready)])
        console.explain(
            """
            and two EndpointSlices (IPv4, IPv6) that name web-1 and web-2, in \(workspace.manifests). The agent \
            follows that directory, as it would follow the Kubernetes API.
            """)
        let begun = ContinuousClock.now
        try agent.start()
        let milliseconds = (ContinuousClock.now - begun) / .milliseconds(1)
        console.print()
        for (device, programs) in try attached() { console.print("     \(device.padded(to: 10))\(programs)") }
        let running = DatapathProgram.attachable.filter { program in
            agent.attachments.contains { $0.program == program }
        }
        let needed = DatapathProgram.attachable.filter { $0 != .externalXDP }
        claims.claim(
            "The agent loaded its programs and hung them on the node's devices",
            "process \(agent.pid ?? 0), ready after \(Int(milliseconds)) ms; "
                + "\(agent.attachments.count.of("program")) on \(try attached().count.of("device"))",
            needed.allSatisfy(running.contains))
    }

    /// A few requests of every kind, and who answered.
    func firstRequests() throws {
        console.heading("2. Who answers?")
        console.explain(
            """
            The ClusterIP is an address that no device has. tc at ntclient, the node's end of the pod's veth, picks a \
            backend and rewrites the destination; on the way back it restores the source.
            """)
        console.explain(
            """
            The NodePort is a port of the node. \(usesXDP ? "XDP" : "tc") at eth0 does the same to packets from \
            outside\(usesXDP ? ", before the network stack sees them" : ""); tc at eth0 restores the source of replies.
            """)
        console.print()
        printRow("from", "to", "with", "web-1", "web-2")
        let count = 30
        for stream in Stream.newcomers {
            let failures = traffic.ledger.now.failureCount
            for i in 1...count where traffic.ledger.now.failureCount == failures {
                try interrupts.pause(watch / 250)
                // Far from the ports that the clients of later steps use.
                traffic.askOnce(stream, number: 20_000 + UInt16(i))
                console.status("\(i) of \(count) requests")
            }
            let destination = try network.destination(stream.place, stream.family, stream.transport)
            let answers = traffic.ledger.now.answers[stream] ?? [:]
            let bars = ["web-1", "web-2"].map { "\(bar(answers[$0] ?? 0, of: count, width: 10)) \(answers[$0] ?? 0)" }
            printRow(
                try network.client(stream.place).name, destination.address.withPort(destination.port),
                stream.kind == .http ? "HTTP" : "UDP", bars[0], bars[1])
            try agent.check()
        }
        let seen = traffic.ledger.now
        let complete = seen.answers.values.count { Set($0.keys) == ["web-1", "web-2"] }
        claims.claim(
            "ClusterIP and NodePort lead to both backends: HTTP and UDP, IPv4 and IPv6",
            "\(complete) of \(Stream.newcomers.count) ways reach both; \(seen.requests.of("request")), "
                + "\(seen.failureCount) failed" + firstFailure(seen),
            complete == Stream.newcomers.count && seen.failureCount == 0)
    }

    /// Programs by device: what the agent says it attached, read from its pins.
    private func attached() throws -> [(device: String, programs: String)] {
        try Dictionary(grouping: agent.attachments, by: \.interface).sorted { $0.key < $1.key }.map { index, list in
            (
                try network.deviceName(index),
                list.map { "\($0.program.name) (\($0.mechanism.rawValue))" }.joined(separator: ", ")
            )
        }
    }

    var usesXDP: Bool { agent.attachments.contains { $0.program == .externalXDP } }

    private func printRow(_ columns: String...) {
        let line = zip(columns, [10, 26, 6, 16, 0]).map { $0.padded(to: $1) }.joined()
        console.print("   " + line)
    }

    private func showTopology() throws {
        let (outside, node) = (try network.client(.outside), network.topology.node)
        let pods = try ["client", "web-1", "web-2"].map { name in
            let host = try network.topology.host(name)
            return "nt\(name)".padded(to: 8) + " ── " + name.padded(to: 8)
                + (try "\(host.address(.v4))  \(host.address(.v6))")
        }
        let left = [
            "", "outside ── eth0 ┤ \(Manifest.nodeName) ├ ", "\(try outside.address(.v4))",
        ]
        let gap = left[1].count - 2
        console.print()
        console.print("     " + String(repeating: " ", count: gap) + "┌ " + pods[0])
        console.print("     " + left[1] + pods[1])
        console.print("     " + left[2].padded(to: gap) + "└ " + pods[2])
        console.print("     " + "\(try outside.address(.v6))")
        console.print()
        console.explain(
            """
            Each of them is a network namespace, with real sockets in it. Towards outside the node is \
            \(try node.address(.v4)) and \(try node.address(.v6)).
            """)
    }
}
