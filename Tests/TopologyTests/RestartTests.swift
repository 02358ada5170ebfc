import Dataplane
import Foundation
import NeedletailABI
import NetLab
import NetTypes
import Netlink
import Resolver
import Synchronization
import TestSupport
import Testing

@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct RestartTests {
    @Test(arguments: [SIGKILL, SIGTERM], AttachMode.mechanisms)
    func noRequestNoticesThatTheAgentEndsAndComesBack(_ signal: Int32, _ tc: String) throws {
        let flags = AgentFlags(["--tc": tc])
        let (cluster, service) = try Cluster.serving(flags)
        let traffic = try Traffic(cluster, service)
        try traffic.goOn()
        #expect(try cluster.stop(signal) == (signal == SIGKILL ? .signaled(SIGKILL) : .exited(0)))
        try traffic.goOn()
        try cluster.start(flags)
        try cluster.waitUntilInStep()
        #expect(cluster.agentLines.contains { $0.contains("adopted the datapath") })
        try traffic.goOn()
        let report = traffic.stop()
        #expect(report.failures == [])
        #expect(report.lostDatagrams == [])
        try expectNoDrops(cluster)
    }

    /// The new programs are in place before the old ones go. Two things are the kernel's: a driver that switches its
    /// receive path may lose what is in its queues, so TCP alone is asked for where XDP changes its place; and a device
    /// is out of service for a moment when it gets a clsact qdisc (`dev_deactivate` in `qdisc_graft`), so it has one.
    /// Steps that need TCX are left out where the kernel has none.
    @Test(
        arguments: [
            (
                modes: [("native", "clsact"), ("native", "tcx"), ("native", "clsact"), ("native", "auto")],
                transports: [TransportProtocol.tcp, .udp]
            ),
            (modes: [("off", "clsact"), ("off", "tcx"), ("off", "clsact")], transports: [.tcp, .udp]),
            (modes: [("native", "tcx"), ("generic", "tcx"), ("off", "clsact"), ("auto", "auto")], transports: [.tcp]),
        ])
    func noRequestNoticesAChangeOfHowProgramsAreAttached(
        _ change: (modes: [(xdp: String, tc: String)], transports: [TransportProtocol])
    ) throws {
        let modes = change.modes.map { AttachMode(xdp: $0.xdp, tc: $0.tc) }.filter(\.isPossible)
        let (cluster, service) = try Cluster.serving(modes[0].flags)
        let traffic = try Traffic(cluster, service, transports: change.transports)
        for mode in modes {
            try cluster.stop(SIGTERM)
            try cluster.start(mode.flags)
            let attached = Set(Attachments.all(in: cluster.pins).map(\.mechanism.rawValue))
            let xdp = mode.xdp == "auto" ? ["native"] : mode.xdp == "off" ? [] : [mode.xdp]
            #expect(attached == Set(xdp + [mode.mechanism]), "\(mode.testDescription)")
            try traffic.goOn(requests: 150)
        }
        let report = traffic.stop()
        #expect(report.failures == [])
        #expect(report.lostDatagrams == [])
    }

    @Test func whatChangedWhileNoAgentRanIsTakenOver() throws {
        let (cluster, service) = try Cluster.serving()
        let deleted = try cluster.service("deleted", number: 2, ["b": .ready])
        try cluster.apply(deleted)
        let frontend = service.frontend(.clusterIP, .v6, .tcp)
        let goneIndex = try cluster.topology.node.device("nta").index
        try cluster.stop()

        try cluster.manifests.remove("deleted.yaml")
        try cluster.manifests.put(cluster.service(["b": .ready, "c": .draining]))
        let added = try cluster.service("added", number: 3, ["c": .ready])
        try cluster.manifests.put(added)
        try cluster.topology.removePod("a")
        let late = try cluster.topology.addPod("late")
        #expect(try cluster.client.ask(deleted.frontend(.clusterIP, .v4, .udp)).answer.server.count == 1)

        try cluster.start()
        try cluster.waitUntilInStep()
        for client in [try cluster.client, late] {
            #expect(try client.servers(of: frontend) == ["b"])
            #expect(try client.servers(of: added.frontend(.clusterIP, .v4, .udp)) == ["c"])
            #expect(client.cannotReach(deleted.frontend(.clusterIP, .v4, .tcp)))
        }
        #expect(!Attachments.interfaces(in: cluster.pins).contains(Int32(goneIndex)))
    }

    /// Maps that another agent left half written, at whatever point, are good enough to forward with and to go on from.
    @Test(arguments: ["auto", "off"]) func killsAtAnyMomentOfAStormOfChangesBreakNothing(_ xdp: String) throws {
        let flags = AgentFlags(["--xdp": xdp])
        let (cluster, service) = try Cluster.serving(flags)
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        let traffic = try Traffic(cluster, service)
        let storm = try Storm(cluster, seed: seed)
        var syncs = 0
        try cluster.stop()
        for round in 0..<10 {
            let doomed = try cluster.run(cluster.arguments(flags))
            // Some live until they write, whatever else the machine does.
            if round % 3 == 2 { _ = try doomed.waitForLine(timeout: .seconds(20)) { $0.contains("synced") } }
            pause(.milliseconds(.random(in: 30...700, using: &random)))
            try doomed.signal(SIGKILL)
            #expect(try doomed.wait() == .signaled(SIGKILL), "seed \(seed)")
            syncs += doomed.lines.count { $0.text.contains("synced") }
        }
        try cluster.start(flags)
        let changes = try storm.stop()
        #expect(syncs > 0, "no agent lived long enough to do anything")
        try cluster.waitUntilInStep()
        try traffic.goOn()
        let report = traffic.stop()
        #expect(report.lostDatagrams == [], "seed \(seed)")
        #expect(report.failures == [], "seed \(seed), \(changes) changes, \(report.requests) requests")
        try cluster.apply(cluster.service())
        #expect(try cluster.client.servers(of: service.frontend(.clusterIP, .v4, .tcp)) == Set(Cluster.servingPods))
        try expectNoDrops(cluster)
    }

    private func expectNoDrops(_ cluster: Cluster) throws {
        let counters = try cluster.counters()
        for counter in DatapathCounter.allCases where counter.outcome == .dropped {
            #expect(counters[counter] == 0, "\(counter.name)")
        }
    }
}

/// Changes manifests all the time, in all ways, and leaves the Service `web` one ready endpoint at least.
private final class Storm: Sendable {
    private let isStopping = Atomic(false)
    private let outcome = Mutex<Result<Int, any Error>?>(nil)

    init(_ cluster: Cluster, seed: UInt64) throws {
        let services = try (2...6).map { try cluster.service("other-\($0)", number: $0) }
        Thread.detachNewThread { [self] in
            let result = Result {
                var random = SeededGenerator(seed: seed &+ 1)
                var count = 0
                while !isStopping.load(ordering: .relaxed) {
                    try Self.change(cluster, services, &random)
                    count += 1
                    pause(.milliseconds(.random(in: 1...40, using: &random)))
                }
                return count
            }
            outcome.withLock { $0 = result }
        }
    }

    private static func change(
        _ cluster: Cluster, _ others: [ServiceManifest], _ random: inout SeededGenerator
    ) throws {
        guard Bool.random(using: &random) else {
            var states: [String: EndpointState] = [:]
            for pod in Cluster.servingPods { states[pod] = EndpointState.allCases.randomElement(using: &random) }
            if let pod = Cluster.servingPods.randomElement(using: &random) { states[pod] = .ready }
            return try cluster.manifests.put(cluster.service(states))
        }
        guard let other = others.randomElement(using: &random) else { return }
        if Bool.random(using: &random) {
            try cluster.manifests.put(other)
        } else {
            try? cluster.manifests.remove("\(other.name).yaml")
        }
    }

    func stop() throws -> Int {
        isStopping.store(true, ordering: .relaxed)
        try eventually("the storm ends") { outcome.withLock { $0 } != nil }
        return try outcome.withLock { $0 }?.get() ?? 0
    }
}
