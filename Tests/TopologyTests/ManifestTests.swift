import Glibc
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct ManifestTests {
    @Test func filesComeChangeAndGoUnderTraffic() throws {
        let (cluster, service) = try Cluster.serving()
        let traffic = try Traffic(cluster, service)
        let client = try cluster.client
        let other = try cluster.service("other", number: 2, ["a": .ready])
        let frontend = other.frontend(.clusterIP, .v4, .tcp)
        #expect(client.cannotReach(frontend))

        try cluster.manifests.writeInPlace("other.yaml", other.yaml)
        try cluster.waitUntilInStep()
        #expect(try client.servers(of: frontend) == ["a"])
        try cluster.manifests.writeInPlace(
            "other.yaml", cluster.service("other", number: 2, ["b": .ready, "c": .ready]).yaml)
        try cluster.waitUntilInStep()
        #expect(try client.servers(of: frontend) == ["b", "c"])
        try cluster.apply(cluster.service("other", number: 2, ["c": .ready]))
        #expect(try client.servers(of: frontend) == ["c"])
        try cluster.manifests.remove("other.yaml")
        try cluster.waitUntilInStep()
        #expect(client.cannotReach(frontend))
        try cluster.apply(other)
        #expect(try client.servers(of: frontend) == ["a"])

        let report = traffic.stop()
        #expect(report.failures == [])
        #expect(report.lostDatagrams == [])
    }

    @Test func aBrokenFileIsReportedByLineAndKeepsServing() throws {
        let (cluster, service) = try Cluster.serving()
        let frontend = service.frontend(.clusterIP, .v4, .tcp)
        let portLine = try #require(service.yaml.split(separator: "\n").firstIndex { $0.contains("name: stream") }) + 1
        for (broken, line) in [
            (service.yaml.replacing("port: 80,", with: "port: 80000,"), portLine), ("kind: [", 1), (": \u{1}\n", 1),
        ] {
            try cluster.manifests.put("web.yaml", broken)
            try cluster.waitForAgentLine("warning", "web.yaml:\(line)")
            // Others are not held up by it.
            let other = try cluster.service("other", number: 2, ["b": .ready])
            try cluster.manifests.put(other)
            let added = other.frontend(.clusterIP, .v6, .udp)
            try eventually("the new Service serves") { try !cluster.client.cannotReach(added) }
            #expect(try cluster.client.servers(of: frontend) == Set(Cluster.servingPods))
            try cluster.manifests.remove("other.yaml")
            try eventually("it is gone") { try cluster.client.cannotReach(added) }
        }
        try cluster.apply(cluster.service(["a": .ready]))
        try cluster.waitForAgentLine("info", "problem solved", "web.yaml:1")
        #expect(try cluster.client.servers(of: frontend) == ["a"])
    }

    @Test func whatABrokenFileHeldIsServedAfterARestartToo() throws {
        let (cluster, service) = try Cluster.serving()
        let frontend = service.frontend(.clusterIP, .v4, .tcp)
        let kept = try TCPConnection(cluster.client, to: frontend.address, port: frontend.port)
        try cluster.manifests.put("web.yaml", service.yaml + "\n---\nkind: [\n")
        try cluster.waitForAgentLine("warning", "web.yaml:")
        try cluster.stop(SIGKILL)
        try cluster.start()
        try cluster.waitForAgentLine("warning", "some manifests cannot be read")
        let other = try cluster.service("other", number: 2, ["b": .ready])
        try cluster.manifests.put(other)
        let added = other.frontend(.clusterIP, .v6, .udp)
        try eventually("the new Service serves") { try !cluster.client.cannotReach(added) }
        #expect(try cluster.client.servers(of: frontend) == Set(Cluster.servingPods))
        _ = try kept.request("still there")
        // Once it can be read, what it says counts, also what it no longer has.
        try cluster.manifests.put("web.yaml", "# nothing any more\n")
        try eventually("the Service is gone") { try cluster.client.cannotReach(frontend) }
        _ = try kept.request("still there")
        try cluster.waitUntilInStep()
    }

    @Test func anObjectInTwoFilesCountsOnceAndIsReported() throws {
        let (cluster, service) = try Cluster.serving()
        let frontend = service.frontend(.clusterIP, .v4, .tcp)
        try cluster.manifests.put("zoo.yaml", cluster.service(["a": .ready]).yaml)
        try cluster.waitForAgentLine("warning", "zoo.yaml:1", "default/web", "web.yaml")
        #expect(try cluster.client.servers(of: frontend) == Set(Cluster.servingPods))
        try cluster.manifests.remove("web.yaml")
        try cluster.waitUntilInStep()
        #expect(try cluster.client.servers(of: frontend) == ["a"])
        try cluster.waitForAgentLine("problem solved", "zoo.yaml:1")
    }

    /// Not the name decides, nor the order of files, but who was there first.
    @Test func theOlderOfTwoServicesHasAFrontendBothClaim() throws {
        let (cluster, _) = try Cluster.serving()
        try cluster.manifests.remove("web.yaml")
        var older = try cluster.service("z-older", ["a": .ready])
        older.created = "2020-01-01T00:00:00Z"
        let younger = try cluster.service("a-younger", ["b": .ready])
        try cluster.apply(older, younger)
        try cluster.waitForAgentLine("warning", "default/z-older:stream/TCP", "wins over default/a-younger:stream/TCP")
        for kind in [FrontendKind.clusterIP, .loadBalancer, .externalIP, .nodePort] {
            let frontend = try cluster.frontend(older, kind, .v4, .tcp)
            #expect(try cluster.client.servers(of: frontend) == ["a"], "\(kind)")
        }
        try cluster.manifests.remove("z-older.yaml")
        try cluster.waitUntilInStep()
        #expect(try cluster.client.servers(of: younger.frontend(.clusterIP, .v4, .tcp)) == ["b"])
        try cluster.waitForAgentLine("problem solved", "wins over default/a-younger:stream/TCP")
    }

    @Test func aMissingDirectoryIsReportedAndWaitedFor() throws {
        let cluster = try Cluster()
        let service = try cluster.service()
        let later = ManifestFolder(path: "\(cluster.manifests.path)/later")
        try cluster.start(AgentFlags(["--manifests": later.path]))
        try cluster.waitForAgentLine("warning", later.path)
        #expect(cluster.isAgentRunning)
        try makeDirectory(later.path)
        try later.put(service)
        try eventually("the Service serves", within: .seconds(15)) {
            try !cluster.client.cannotReach(service.frontend(.clusterIP, .v4, .tcp))
        }
    }
}
