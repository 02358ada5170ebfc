import Dataplane
import Foundation
import NetLab
import NetTypes
import Planning
import Resolver
import TestSupport
import Testing

/// What those who run the agent see of it and do to it.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct OperationsTests {
    private func metrics(_ cluster: Cluster) throws -> [Substring] {
        let loopback = IPAddress(v4: 0x7F00_0001)
        let response = try httpGet(
            cluster.topology.node, from: loopback, port: 10249, path: "/metrics", timeout: .seconds(30))
        #expect(response.status == 200)
        return response.body.split(separator: "\n")
    }

    private func value(_ series: String, in lines: [Substring]) -> Double? {
        lines.first { $0.hasPrefix("\(series) ") }.flatMap { Double($0.dropFirst(series.count + 1)) }
    }

    @Test(arguments: IPFamily.allCases) func loadBalancersAskForTheNodesHealth(_ family: IPFamily) throws {
        let (cluster, _) = try Cluster.serving()
        let node = try cluster.topology.nodeAddress(family, outside: 0)
        for path in ["/healthz", "/livez"] {
            let response = try httpGet(cluster.outside, from: node, port: 10256, path: path, timeout: .seconds(30))
            #expect(response.status == 200, "\(response.body)")
            #expect(response.body.contains("\"healthy\":true"))
            #expect(response.body.contains("\"nodeEligible\":true") == (path == "/healthz"))
        }
        #expect(try httpGet(cluster.outside, from: node, port: 10256, path: "/").status == 404)
    }

    @Test func healthChecksOfServicesFollowTheirLocalEndpoints() throws {
        let (cluster, _) = try Cluster.serving()
        let node = try cluster.topology.nodeAddress(.v4, outside: 0)
        func answers(_ status: Int, _ count: Int) throws {
            try eventually("the health check tells of \(count) endpoints") {
                guard let answer = try? httpGet(cluster.outside, from: node, port: 32_100) else { return false }
                return answer.status == status && answer.body.contains("\"localEndpoints\": \(count),")
            }
        }
        var service = try cluster.service()
        service.extras = ["externalTrafficPolicy: Local", "healthCheckNodePort: 32100"]
        try cluster.apply(service)
        try answers(200, 3)
        service.endpoints[0].state = .draining
        service.endpoints[1].node = "elsewhere"
        try cluster.apply(service)
        try answers(200, 1)
        service.endpoints[2].state = .draining
        try cluster.apply(service)
        try answers(503, 0)
        service.extras = []
        try cluster.apply(service)
        try eventually("nobody listens any more") {
            (try? httpGet(cluster.outside, from: node, port: 32_100)) == nil
        }
    }

    @Test func metricsTellOfSyncsAndTraffic() throws {
        let (cluster, service) = try Cluster.serving()
        _ = try metrics(cluster)
        for _ in 0..<5 { _ = try cluster.client.ask(service.frontend(.clusterIP, .v4, .tcp)) }
        try cluster.apply(cluster.service(["a": .ready]))
        let lines = try metrics(cluster)
        #expect(
            try #require(value("kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"}", in: lines)) >= 2
        )
        #expect(try #require(value("kubeproxy_sync_proxy_rules_endpoint_changes_total", in: lines)) >= 2)
        #expect(value("kubeproxy_sync_proxy_rules_endpoint_changes_pending", in: lines) == 0)
        let labels = #"namespace="default",port="stream",protocol="TCP",service="web""#
        #expect(try #require(value("needletail_service_new_flows_total{\(labels)}", in: lines)) >= 5)
    }

    @Test func whatAServiceHasCountedOutlivesIt() throws {
        let (cluster, service) = try Cluster.serving()
        _ = try metrics(cluster)
        // Flows of UDP end with the Service; nothing keeps its ids then.
        for _ in 0..<5 { _ = try cluster.client.ask(service.frontend(.clusterIP, .v4, .udp)) }
        try cluster.manifests.remove("\(service.name).yaml")
        try eventually("the ids are given back", within: .seconds(60)) { try cluster.image().services.isEmpty }
        #expect(value("needletail_traffic_new_flows_total", in: try metrics(cluster)) == 5)
        try cluster.apply(service)
        let labels = #"namespace="default",port="datagram",protocol="UDP",service="web""#
        #expect(value("needletail_service_new_flows_total{\(labels)}", in: try metrics(cluster)) == 5)
    }

    @Test func theLogSaysWhatChangedAndWhy() throws {
        let (cluster, _) = try Cluster.serving()
        try cluster.waitForAgentLine("synced", "default/web (service)")
        try cluster.apply(cluster.service(["a": .ready]))
        try cluster.waitForAgentLine("info", "synced", "default/web (endpoints)", "writes=", "milliseconds=")
        var changed = try cluster.service(["a": .ready])
        changed.extras = ["sessionAffinity: ClientIP"]
        let before = cluster.agentLines.count
        try cluster.apply(changed)
        try eventually("the change of the Service is told") {
            cluster.agentLines.dropFirst(before).contains { $0.contains("synced") && $0.contains("web (service)") }
        }
    }

    @Test func whatSomebodyChangesInTheMapsIsFoundAndPutRight() throws {
        let (cluster, service) = try Cluster.serving(AgentFlags(["--audit-interval": "1s"]))
        let frontend = service.frontend(.clusterIP, .v4, .tcp)
        var maps = KernelMaps(try cluster.maps())
        try maps.perform([.frontend(frontend, nil)])
        #expect(try cluster.client.cannotReach(frontend))
        try eventually("the frontend is back; \(cluster.agentLines)", within: .seconds(60)) {
            try !cluster.client.cannotReach(frontend)
        }
        try cluster.waitForAgentLine("warning", "put right", "frontend \(frontend)")
        try eventually("the metrics tell of it", within: .seconds(60)) {
            let lines = try metrics(cluster)
            return value("needletail_audit_repairs_total", in: lines) == 1
                && value("needletail_audit_runs_total", in: lines).map { $0 >= 1 } == true
        }
    }

    /// The file is replaced, as a package manager does, and the process then by SIGHUP.
    @Test func aNewProgramTakesTheOldOnesPlaceWhileTrafficFlows() throws {
        let cluster = try Cluster()
        let service = try cluster.service()
        try cluster.manifests.put(service)
        let directory = try TemporaryDirectory()
        let program = "\(try directory.subdirectory("bin"))/needletail-agent"
        // By another process: one that this one starts meanwhile would keep the file open for writing, which cannot be run.
        func copy(to path: String) throws {
            let copy = try ChildProcess("cp", [Cluster.program, path], in: cluster.topology.node.namespace)
            #expect(try copy.wait(timeout: .seconds(60)) == .exited(0))
        }
        try copy(to: program)
        let agent = try ChildProcess(program, cluster.arguments(), in: cluster.topology.node.namespace)
        try cluster.waitUntilInStep(within: .seconds(30))
        let traffic = try Traffic(cluster, service)
        try traffic.goOn()
        try copy(to: "\(program).new")
        #expect(rename("\(program).new", program) == 0)
        for round in 1...2 {
            try agent.signal(SIGHUP)
            try eventually("the agent begins anew; it wrote \(agent.lines.map(\.text))", within: .seconds(60)) {
                agent.lines.count { $0.text.contains("adopted the datapath") } == round
            }
            try traffic.goOn()
        }
        let report = traffic.stop()
        #expect(report.failures == [])
        #expect(report.lostDatagrams == [])
        // The same process, which still follows: the objects, and signals.
        try cluster.apply(cluster.service(["b": .ready]))
        try agent.signal(SIGTERM)
        #expect(try agent.wait(timeout: .seconds(20)) == .exited(0))
    }

    @Test func aBrokenConfigurationFileChangesNothingAndAGoodOneTakesEffect() throws {
        let cluster = try Cluster()
        let service = try cluster.service()
        try cluster.manifests.put(service)
        let directory = try TemporaryDirectory()
        let file = "\(try directory.subdirectory("etc"))/agent.yaml"
        func write(_ text: String) throws {
            try "apiVersion: needletail.io/v1alpha1\nkind: AgentConfiguration\n\(text)\n".write(
                toFile: file, atomically: true, encoding: .utf8)
        }
        try write("services: {masquerade: minimal}")
        let agent = try cluster.run(cluster.arguments() + ["--config", file])
        try cluster.waitUntilInStep(within: .seconds(30))
        try write("services: {masquerade: sometimes}")
        _ = try agent.waitForLine(timeout: .seconds(30)) { $0.contains("error") && $0.contains("masquerade") }
        _ = try cluster.client.ask(service.frontend(.clusterIP, .v4, .tcp))
        #expect(!agent.lines.contains { $0.text.contains("restarting in place") })
        try write("services: {masquerade: all}")
        try eventually("the new configuration is in force", within: .seconds(60)) {
            try cluster.image().frontends.values.contains { $0.flags.contains(.masqueradeInternal) }
        }
        try agent.signal(SIGTERM)
        #expect(try agent.wait(timeout: .seconds(20)) == .exited(0))
    }
}
