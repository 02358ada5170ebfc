import Dataplane
import Glibc
import NeedletailABI
import NetLab

extension Story {
    /// Totals, by the clients and by the datapath.
    func takeStock() throws {
        console.heading("8. What the datapath counted")
        let counters = try CounterReading(agent.maps())
        let places: [(DatapathProgram, String)] = [
            (.workloadIngress, "tc, packets from a pod"), (.workloadEgress, "tc, packets to a pod"),
            (.externalXDP, "XDP, packets from outside"), (.externalIngress, "tc, those that XDP passed up"),
            (.externalEgress, "tc, packets to outside"),
        ]
        console.print("   " + "program".padded(to: 18) + "where".padded(to: 31) + "new flows  established      replies")
        for (program, place) in places {
            let columns = [(DatapathCounter.forwardNew, 9), (.forwardEstablished, 13), (.reverseTranslated, 13)]
                .map { counter, width in
                    let text = Int(counters[program, counter]).grouped
                    return String(repeating: " ", count: max(0, width - text.count)) + text
                }
            console.print("   " + program.name.padded(to: 18) + place.padded(to: 31) + columns.joined())
        }
        let entry: DatapathProgram = usesXDP ? .externalXDP : .externalIngress
        let needed: [(DatapathProgram, DatapathCounter)] = [
            (.workloadIngress, .forwardNew), (.workloadIngress, .forwardEstablished),
            (.workloadEgress, .reverseTranslated),
            (entry, .forwardNew), (entry, .forwardEstablished), (.externalEgress, .reverseTranslated),
        ]
        let dropped = DatapathCounter.allCases.filter { $0.outcome == .dropped && counters[$0] > 0 }
        let refused = dropped.map { "\(counters[$0]) \($0.name)" }.joined(separator: ", ")
        claims.claim(
            "Packets were translated where this said they would be, and none was refused",
            "from the pod by workload_ingress, from outside by \(entry.name); "
                + "refused: \(dropped.isEmpty ? "none" : refused)",
            needed.allSatisfy { counters[$0, $1] > 0 } && dropped.isEmpty)
        let seen = traffic.ledger.now
        claims.claim(
            "From beginning to end: no request failed, no connection broke",
            "\(seen.requests.of("request")), \(seen.failureCount) failed, "
                + "\(seen.kept(.connection).count.of("connection")), \(seen.brokenConnections) broken"
                + (seen.failureCount > 0 ? firstFailure(seen) : ""),
            seen.failureCount == 0 && seen.brokenConnections == 0)
    }

    /// What an operator would look at.
    func showTool() throws {
        guard access(tool, X_OK) == 0 else { return }
        console.heading("9. What an operator sees")
        for arguments in [["service", "list"], ["status"]] {
            let command = "needletail " + arguments.joined(separator: " ")
            console.print("   " + console.styled("$ \(command)", .bold))
            let process = try ChildProcess(
                tool, arguments + ["--pin-directory", workspace.pins], in: network.topology.node.namespace)
            let end = try process.wait(timeout: .seconds(10))
            for line in process.lines where !line.text.isEmpty { console.print("   \(line.text)") }
            console.print()
            if end != .exited(0) {
                claims.claim("\(command) shows what the maps hold", "it ended with \(end)", false)
            }
        }
    }

    /// Ends everything, in the order in which nothing is missed, and goes on when something fails.
    ///
    /// - Returns: what the agent's cleanup said, and how long it all took.
    @discardableResult
    func takeDown() throws -> (said: String, time: String) {
        let begun = ContinuousClock.now
        var failure: (any Error)?
        var said = "nothing to do"
        if !traffic.stop() { failure = LabError("stop", "traffic", .timedOut) }
        do {
            said = try agent.stop() ?? said
            let left = workspace.pinned
            if !left.isEmpty { throw LabError("clean up", workspace.pins, .other("left: \(left)")) }
        } catch {
            failure = error
        }
        do {
            try workspace.remove()
        } catch {
            failure = error
        }
        if let failure { throw failure }
        let milliseconds = Int((ContinuousClock.now - begun) / .milliseconds(1))
        return (said, "\(milliseconds) ms")
    }
}
