import Dataplane
import NeedletailABI

extension Story {
    /// Clients that do not stop until the end.
    func startLoad() throws {
        console.heading("3. Load that does not stop")
        console.explain(
            """
            From now on clients in the pod and outside ask all the time, by IPv4 and IPv6: HTTP with a new \
            connection for each request, UDP with a new socket for each; and over TCP connections and UDP flows that \
            stay open, one from each place and family to each backend.
            """)
        let before = traffic.ledger.now
        traffic.startNewcomers()
        try traffic.keepOne(onEach: ["web-1", "web-2"], interrupts)
        traffic.ledger.mark()
        try observe { _ in true }
        let now = traffic.ledger.now
        claims.claim(
            "New connections spread over the backends, open ones stay with theirs",
            evidence(before, now), isSound(before, now) && Set(now.newcomers.keys) == ["web-1", "web-2"])
    }

    /// A third pod.
    func addBackend() throws {
        console.heading("4. A backend is added")
        console.explain(
            """
            web-3 starts, and the EndpointSlices name it. The agent builds a new Maglev table beside the old one, \
            and switches each frontend with one write: no packet meets a table that is half done.
            """)
        let before = traffic.ledger.now
        try network.addServer("web-3")
        let latency = try put([("web-1", .ready), ("web-2", .ready), ("web-3", .ready)])
        traffic.ledger.mark()
        let reached = { (state: Ledger.State) in
            Stream.newcomers.count { (state.answers[$0]?["web-3"] ?? 0) > 0 }
        }
        try observe { reached($0) == Stream.newcomers.count }
        let now = traffic.ledger.now
        claims.claim(
            "New connections reach web-3 (\(latency)), open ones stay where they are",
            evidence(before, now), isSound(before, now) && reached(now) == Stream.newcomers.count)
        try traffic.keepOne(onEach: ["web-3"], interrupts)
    }

    /// web-1 is about to go.
    func drainBackend() throws {
        console.heading("5. A backend is drained")
        console.explain(
            """
            web-1 is terminating: Kubernetes gives it time to finish what it has begun, but nobody new may come.
            """)
        let before = traffic.ledger.now
        let latency = try put([("web-1", .draining), ("web-2", .ready), ("web-3", .ready)])
        traffic.ledger.mark()
        try observe { _ in true }
        let now = traffic.ledger.now
        let flows = now.kept(.flow, firstOn: "web-1").count { $0.server == "web-1" && $0.failure == nil }
        claims.claim(
            "web-1 keeps its connections, and gets no new ones (\(latency))",
            evidence(before, now)
                + "; web-1: \(now.newcomers["web-1"] ?? 0) new, \(working(on: "web-1", now)) connections "
                + "and \(flows) UDP flows kept",
            isSound(before, now) && now.newcomers["web-1"] == nil && working(on: "web-1", now) == 4 && flows == 4)
    }

    /// kill -9, and after a while the next agent.
    func killAgent() throws {
        console.heading("6. kill -9 the agent")
        console.explain(
            """
            Programs and maps are pinned: they are in the kernel, and go on without the agent. Meanwhile web-1 is \
            taken out of the EndpointSlices, which nobody notices yet.
            """)
        let before = traffic.ledger.now
        let maps = try agent.maps()
        let old = agent.pid ?? 0
        try agent.kill()
        traffic.ledger.mark()
        try writeEndpoints([("web-2", .ready), ("web-3", .ready)])
        try observe { _ in true }
        var now = traffic.ledger.now
        claims.claim(
            "Nobody notices that no agent runs: new connections, too, are balanced as before",
            evidence(before, now), isSound(before, now) && Set(now.newcomers.keys) == ["web-2", "web-3"])

        try agent.start()
        now = traffic.ledger.now
        // Read through descriptors from before: these are the same maps.
        let record = try maps.nodeRecord()
        claims.claim(
            "The next agent takes over programs and maps in place",
            "process \(old) was killed, process \(record.agent_pid) writes to the same maps; \(evidence(before, now))",
            record.agent_pid == UInt32(agent.pid ?? -1) && isSound(before, now))
    }

    /// What changed while no agent ran is in force now.
    func removeBackend() throws {
        console.heading("7. A backend is removed")
        console.explain(
            """
            The new agent has caught up: web-1 is no endpoint any more. Its pod still runs, so its TCP connections \
            go on until they are closed; UDP, which never closes, moves on at once.
            """)
        let before = traffic.ledger.now
        traffic.ledger.mark()
        let moved = { (state: Ledger.State) in
            state.kept(.flow, firstOn: "web-1").count { $0.server != "web-1" && $0.failure == nil }
        }
        try observe { moved($0) == 4 }
        let now = traffic.ledger.now
        claims.claim(
            "web-1 is gone, its TCP connections are not, its UDP flows are elsewhere",
            evidence(before, now)
                + "; web-1: \(now.newcomers["web-1"] ?? 0) new, \(working(on: "web-1", now)) connections, "
                + "\(moved(now)) UDP flows moved",
            isSound(before, now) && now.newcomers["web-1"] == nil && working(on: "web-1", now) == 4 && moved(now) == 4)
    }

    /// Watches the traffic for a while, and then until the condition holds, though not for ever.
    private func observe(until holds: (Ledger.State) -> Bool) throws {
        let begun = ContinuousClock.now
        while true {
            let state = traffic.ledger.now
            let passed = ContinuousClock.now - begun
            if passed >= watch && holds(state) || passed >= watch + .seconds(10) { return }
            try agent.check()
            console.status(statusLine(state))
            try interrupts.pause(.milliseconds(100))
        }
    }

    private func statusLine(_ state: Ledger.State) -> String {
        let newcomers = state.newcomers
        let all = newcomers.values.reduce(0, +)
        let shares = newcomers.sorted { $0.key < $1.key }.map { server, count in
            "\(server) \(bar(count, of: all, width: 5)) \(all > 0 ? count * 100 / all : 0)%"
        }
        return "\(state.requests.of("request")), \(state.failureCount) failed · "
            + "\(state.kept(.connection).count.of("connection")), \(state.brokenConnections) broken · "
            + shares.joined(separator: " ")
    }

    /// No request failed since `before`, and every connection and flow that was kept then has answered in this period.
    private func isSound(_ before: Ledger.State, _ now: Ledger.State) -> Bool {
        now.failureCount == before.failureCount && now.requests > before.requests
            && now.kept.allSatisfy { $0.failure == nil && $0.answeredSinceMark > 0 }
    }

    private func evidence(_ before: Ledger.State, _ now: Ledger.State) -> String {
        let failed = now.failureCount - before.failureCount
        return "\((now.requests - before.requests).of("request")), \(failed) failed, "
            + "\(now.kept(.connection).count.of("connection")), \(now.brokenConnections) broken"
            + (failed > 0 ? firstFailure(now) : "")
    }

    private func working(on server: String, _ state: Ledger.State) -> Int {
        state.kept(.connection, firstOn: server).count { $0.failure == nil && $0.answeredSinceMark > 0 }
    }

    func firstFailure(_ state: Ledger.State) -> String {
        state.failures.last.map { " (one of them: \($0))" } ?? ""
    }
}
