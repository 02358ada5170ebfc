import Dataplane
import Foundation
import Maglev
import NetLab
import NetTypes
import Planning
import Resolver
import TestSupport
import Testing

func makeDirectory(_ path: String) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
}

@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct InputTests {
    @Test(arguments: [
        (["--xdp", "fast"], "'fast'"), (["--tc", "ebpf"], "'ebpf'"),
        (["--external-devices", "eth0,,eth1"], "--external-devices"),
        (["--external-devices", "a/b"], "--external-devices"), (["--workload-devices", ""], "--workload-devices"),
        (["--nodeport-addresses", "192.0.2.0/33"], "--nodeport-addresses"),
        (["--max-tcp-flows", "0"], "--max-tcp-flows"),
        (["--max-slots", "4294967295"], "--max-slots"), (["--max-sets", "-1"], "--max-sets"),
        (["--nat-ports", "5-1"], "--nat-ports"), (["--tcp-established", "0"], "--tcp-established"),
        (["--pin-directory", "relative"], "--pin-directory"), (["--node-name", ""], "--node-name"),
        (["--log-level", "loud"], "'loud'"), (["--no-such-flag"], "--no-such-flag"), (["surplus"], "surplus"),
    ])
    func badArgumentsAreNamedAndNothingIsTouched(_ arguments: [String], _ named: String) throws {
        let cluster = try Cluster()
        let process = try cluster.run(cluster.arguments() + arguments)
        #expect(try process.wait(timeout: .seconds(20)) == .exited(64))
        #expect(process.lines.contains { $0.stream == .error && $0.text.contains(named) }, "\(process.lines)")
        #expect(access(cluster.pins.root, F_OK) != 0)
    }

    @Test(.needs("setpriv")) func withoutPrivilegesTheAgentSaysSoAndEnds() throws {
        let cluster = try Cluster()
        let process = try cluster.run(cluster.arguments(), through: ["setpriv", "--bounding-set", "-all"])
        #expect(try process.wait(timeout: .seconds(20)) == .exited(1))
        let message = process.lines.map(\.text).joined(separator: "\n")
        #expect(message.contains("the agent cannot run"), "\(message)")
        #expect(message.contains("CAP_") || message.contains("root"), "\(message)")
        #expect(Attachments.all(in: cluster.pins).isEmpty)
    }

    /// A full map costs the Services that do not fit, not those that do.
    @Test(arguments: [
        (flag: "--max-frontends", size: 8, map: "nt_frontends4"), (flag: "--max-services", size: 2, map: "nt_services"),
        (flag: "--max-sets", size: 5, map: "nt_sets"), (flag: "--max-backends", size: 13, map: "nt_backends"),
        (
            flag: "--max-slots",
            size: 4 * 16 * SetRecord.lines(forSlots: MaglevSize.tableSize(forWeights: [1, 1, 1]), backends: 3),
            map: "nt_slots"
        ),
    ])
    func aFullMapIsReportedAndWhatFitsServes(_ limit: (flag: String, size: Int, map: String)) throws {
        let cluster = try Cluster()
        let service = try cluster.service()
        try cluster.manifests.put(service)
        // What nobody uses any more makes room soon.
        let timeouts = ["--tcp-closed", "--tcp-closing", "--tcp-established", "--udp-established", "--udp-opening"]
        try cluster.start(
            AgentFlags([limit.flag: "\(limit.size)"].merging(timeouts.map { ($0, "1") }) { $1 }))
        try cluster.waitUntilInStep()
        let traffic = try Traffic(cluster, service)

        // Another port on the pods, so that nothing can be shared.
        let surplus = try cluster.service("surplus", number: 2, ["a": .ready])
        let yaml = surplus.yaml.replacing("port: \(ServiceManifest.backendPort)", with: "port: 8081")
        let server = try EchoServer(cluster.topology.host("a"), port: 8081, name: "surplus")
        try cluster.manifests.put("surplus.yaml", yaml)
        try cluster.waitForAgentLine("warning", "map \(limit.map) is full: its \(limit.size) elements", limit.flag)
        try traffic.goOn()
        let report = traffic.stop()
        #expect(report.failures == [])
        #expect(report.lostDatagrams == [])

        try cluster.manifests.remove("web.yaml")
        let frontend = surplus.frontend(.clusterIP, .v4, .tcp)
        try eventually("room is made for it; the agent wrote \(cluster.agentLines)", within: .seconds(20)) {
            try !cluster.client.cannotReach(frontend)
        }
        #expect(try cluster.client.servers(of: frontend) == ["surplus"])
        try server.stop()
    }
}
