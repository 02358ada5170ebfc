import BPF
import Dataplane
import Foundation
import NeedletailABI
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct LifecycleTests {
    /// What a program that refuses to run says, and that it says so by its status.
    private func refusal(_ process: ChildProcess) throws -> String {
        #expect(try process.wait(timeout: .seconds(20)) == .exited(1))
        return process.lines.map(\.text).joined(separator: "\n")
    }

    @Test func aSecondAgentIsRefusedAndTheFirstNotDisturbed() throws {
        let (cluster, service) = try Cluster.serving()
        let traffic = try Traffic(cluster, service)
        let message = try refusal(cluster.run(cluster.arguments()))
        #expect(message.contains("another needletail-agent is running with \(cluster.pins.root)"), "\(message)")
        let cleanup = try refusal(cluster.run(["cleanup", "--pin-directory", cluster.pins.root]))
        #expect(cleanup.contains("another needletail-agent is running with \(cluster.pins.root)"), "\(cleanup)")
        // Another directory is no way round: both would be on the same devices.
        let other = "\(cluster.pins.root)-other"
        let elsewhere = cluster.arguments().map { $0 == cluster.pins.root ? other : $0 }
        #expect(try refusal(cluster.run(elsewhere)).contains("on this node"))
        try PinDirectory(other).remove()
        try cluster.apply(cluster.service(["b": .ready]))
        #expect(try cluster.client.servers(of: service.frontend(.clusterIP, .v4, .tcp)) == ["b"])
        let report = traffic.stop()
        #expect(report.failures == [])
        #expect(report.lostDatagrams == [])
    }

    @Test(arguments: AttachMode.all) func cleanupLeavesNothing(_ mode: AttachMode) throws {
        let (cluster, service) = try Cluster.serving(mode.flags)
        let frontends = try [(cluster.client, FrontendKind.clusterIP), (cluster.outside, .nodePort)].map {
            ($0.0, try cluster.frontend(service, $0.1, .v4, .tcp))
        }
        for (client, frontend) in frontends { _ = try client.ask(frontend) }
        try cluster.stop(SIGTERM)
        let maps = try cluster.maps()
        let attachments = Attachments.all(in: cluster.pins).count

        let cleanup = try cluster.run(["cleanup", "--pin-directory", cluster.pins.root])
        #expect(try cleanup.wait(timeout: .seconds(20)) == .exited(0))
        #expect(cleanup.lines.map(\.text).joined().contains("removed \(attachments) attachment(s)"))
        #expect(access(cluster.pins.root, F_OK) != 0, "\(cluster.pins.entries(in: "links"))")
        let counters = try CounterReading(maps)
        for (client, frontend) in frontends { #expect(client.cannotReach(frontend)) }
        #expect(try CounterReading(maps) == counters, "each packet is counted by each program that sees it")

        let again = try cluster.run(["cleanup", "--pin-directory", cluster.pins.root])
        #expect(try again.wait(timeout: .seconds(20)) == .exited(0))
        #expect(again.lines.map(\.text).joined().contains("nothing to clean up"))

        try cluster.start()
        try cluster.waitUntilInStep()
        for (client, frontend) in frontends { _ = try client.ask(frontend) }
    }

    @Test func aBPFFileSystemIsMountedWhereThereIsNone() throws {
        let cluster = try Cluster()
        let service = try cluster.service()
        let pins = PinDirectory("\(cluster.manifests.path)/run/pins")
        try cluster.manifests.put(service)
        try cluster.start(AgentFlags(["--pin-directory": pins.root]))
        defer { try? BPFFileSystem.unmount(at: pins.root) }
        #expect(BPFFileSystem.isMounted(at: pins.root))
        let frontend = service.frontend(.clusterIP, .v4, .tcp)
        try eventually("the Service serves") { try !cluster.client.cannotReach(frontend) }
        try cluster.stop(SIGTERM)
        let cleanup = try cluster.run(["cleanup", "--pin-directory", pins.root])
        #expect(try cleanup.wait(timeout: .seconds(20)) == .exited(0))
        for directory in ["maps", "links"] { #expect(access("\(pins.root)/\(directory)", F_OK) != 0) }
        #expect(try cluster.client.cannotReach(frontend))
    }

    @Test(arguments: [
        (flag: "--max-tcp-flows", value: "8192", map: "nt_tcp_flows4", sizes: ["262144", "16384"]),
        (flag: "--max-sets", value: "1024", map: "nt_sets", sizes: ["512", "1024"]),
        (flag: "--max-frontends", value: "64", map: "nt_frontends4", sizes: ["512", "64"]),
    ])
    func otherSizesThanThePinnedMapsHaveAreRefused(
        _ change: (flag: String, value: String, map: String, sizes: [String])
    ) throws {
        let (cluster, service) = try Cluster.serving()
        let traffic = try Traffic(cluster, service)
        try cluster.stop(SIGTERM)
        let message = try refusal(cluster.run(cluster.arguments(AgentFlags([change.flag: change.value]))))
        for part in [change.map, cluster.pins.root, "cleanup"] + change.sizes {
            #expect(message.contains(part), "\(part): \(message)")
        }
        try traffic.goOn()
        try cluster.start()
        try cluster.apply(cluster.service(["c": .ready]))
        #expect(try cluster.client.servers(of: service.frontend(.clusterIP, .v4, .tcp)) == ["c"])
        let report = traffic.stop()
        #expect(report.failures == [])
        #expect(report.lostDatagrams == [])
    }
}
