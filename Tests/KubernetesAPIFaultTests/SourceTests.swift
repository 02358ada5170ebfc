import APIStandIn
import Foundation
import KubernetesAPI
import ServiceModel
import TestSupport
import Testing

/// What a source of objects promises beside following through faults.
@Suite(.serialized, .timeLimit(.minutes(5))) struct SourceTests {
    static let wire = Wire(form: .protobuf, version: .http2)

    @Test func itAsksForWhatAServiceProxyNeeds() async throws {
        let world = try World(Self.wire)
        let follower = try Follower(world, Self.wire)
        try await follower.converge("at first")
        let requests = try world.server.requests
        var selectors: [Resource: Set<String>] = [:]
        for request in requests {
            guard let resource = request.resource else { continue }
            let query = request.query
            selectors[resource, default: []].insert("\(query["labelSelector"] ?? "") \(query["fieldSelector"] ?? "")")
            #expect(request.headers["accept"]?.hasPrefix("application/vnd.kubernetes.protobuf") == true)
            #expect(request.headers["user-agent"]?.hasPrefix("needletail-agent/test (linux/") == true)
            #expect(request.user == "system:kube-proxy")
        }
        #expect(
            selectors == [
                .services: ["!service.kubernetes.io/service-proxy-name spec.clusterIP!=None"],
                .endpointSlices: ["!service.kubernetes.io/headless "],
                .nodes: [" metadata.name=node"], .serviceCIDRs: [" "],
            ])
        for request in requests where request.verb == .watch || request.verb == .watchList {
            #expect(request.query["allowWatchBookmarks"] == "true")
            #expect((300..<600).contains(request.query["timeoutSeconds"].flatMap { Int($0) } ?? 0))
        }
    }

    @Test(arguments: [true, false]) func certificatesOpenTheDoor(_ isRSA: Bool) async throws {
        let world = try World(Self.wire)
        let pair = isRSA ? world.server.certificates.rsaClient : world.server.certificates.ecClient
        let follower = try Follower(world, Self.wire, credentials: .certificate(pair))
        try await follower.converge("by certificate")
        #expect(Set(try world.server.requests.map(\.user)) == [isRSA ? "rsa-client" : "ec-client"])
    }

    @Test(arguments: Wire.streaming) func aTokenIsReplacedWhileItRuns(_ wire: Wire) async throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("token-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        try "token-1\n".write(to: file, atomically: true, encoding: .utf8)
        let world = try World(wire)
        let follower = try Follower(world, wire, credentials: .tokenFile(file.path))
        try await follower.converge("with the first token")
        try world.server.setTokens(["token-2": "system:kube-proxy"])
        try world.server.resetConnections()
        try world.put(World.slice(1, state: 3))
        try await eventually {
            try world.server.requests.contains { $0.status == 401 }
        } orExplain: {
            "nobody was turned away"
        }
        follower.expectNoRegression("while the token is wrong")
        try "token-2\n".write(to: file, atomically: true, encoding: .utf8)
        try await follower.converge("with the second token")
    }

    /// Rights that are taken away and given back: what is known stays.
    @Test func whatIsForbiddenIsKept() async throws {
        let world = try World(Self.wire)
        let follower = try Follower(world, Self.wire)
        try await follower.converge("at first")
        try world.server.change { $0.forbidden = [.services, .endpointSlices] }
        try world.server.resetConnections()
        try world.put(World.service(2, state: 9))
        try await eventually {
            try world.server.requests.count { $0.status == 403 } >= 4
        } orExplain: {
            "nobody tried again"
        }
        follower.expectNoRegression("while it is forbidden")
        try world.server.change { $0.forbidden = [] }
        try await follower.converge("when it is allowed again")
    }

    /// A cluster without ServiceCIDRs, or that keeps them from proxies, is a cluster none the less.
    @Test(arguments: [true, false]) func serviceCIDRsMayBeMissing(_ isAbsent: Bool) async throws {
        let world = try World(Self.wire) { settings in
            if isAbsent {
                settings.absent = [.serviceCIDRs]
            } else {
                settings.forbidden = [.serviceCIDRs]
            }
        }
        let follower = try Follower(world, Self.wire)
        let range = try #require(world.truth.now.first { $0.id.kind == .serviceCIDR })
        let others = world.truth.now.subtracting([range])
        try await eventually {
            follower.isSynced && follower.objects == others
        } orExplain: {
            "\(follower.source.status.kinds)"
        }
        try world.server.change { settings in
            settings.absent = []
            settings.forbidden = []
        }
        try await follower.converge("when they are there")
    }

    /// The Node object may come late, or never.
    @Test func theNodeIsWaitedForOnlySoLong() async throws {
        let world = try World(Self.wire)
        try world.delete(ObjectID(kind: .node, name: ObjectName(namespace: "", name: World.nodeName)))
        let follower = try Follower(world, Self.wire)
        try await follower.converge("without the Node")
        try world.put(.node(World.node(zone: "zone-b")))
        try await follower.converge("with it")
    }

    /// The largest slices and Services that the API takes.
    @Test(arguments: Wire.streaming) func hugeObjectsAreTaken(_ wire: Wire) async throws {
        let world = try World(wire)
        let follower = try Follower(world, wire)
        try await follower.converge("at first")
        var timing = Follower.timing
        timing.list = .seconds(60)
        timing.silence = .seconds(60)
        timing.answer = .seconds(60)
        try world.put(
            .endpointSlice(
                EndpointSlice(
                    name: ObjectName(namespace: "shop", name: "addresses"), serviceName: "service-1",
                    addressType: "IPv6",
                    endpoints: (0..<1_000).map { endpoint in
                        Endpoint(
                            addresses: (0..<100).map { "2001:db8::\(String(endpoint + 1, radix: 16)):\($0)" },
                            nodeName: "node-\(endpoint)")
                    }, ports: [EndpointPort(name: "http", port: 8080)])))
        try world.put(
            .endpointSlice(
                EndpointSlice(
                    name: ObjectName(namespace: "shop", name: "ports"), serviceName: "service-1", addressType: "IPv4",
                    endpoints: [Endpoint(addresses: ["198.18.0.1"])],
                    ports: (1...20_000).map { (port: Int) in EndpointPort(name: "port-\(port)", port: port) })))
        try await follower.converge("by the watch")
        let second = try Follower(world, wire, timing: timing)
        try await second.converge("by the list")
    }

    @Test(arguments: Wire.all) func aBigListIsReadWhole(_ wire: Wire) async throws {
        let world = try World(wire, services: 600)
        var timing = Follower.timing
        timing.list = .seconds(60)
        timing.answer = .seconds(60)
        timing.silence = .seconds(30)
        let follower = try Follower(world, wire, timing: timing)
        try await follower.converge("600 Services")
        let lists = try world.server.requests.filter { $0.verb == .list && $0.resource == .endpointSlices }
        #expect(lists.allSatisfy { $0.headers["accept-encoding"]?.contains("gzip") == true })
    }

    @Test(arguments: Wire.streaming) func eventsReachTheCluster(_ wire: Wire) async throws {
        let world = try World(wire)
        let follower = try Follower(world, wire)
        try await follower.converge("at first")
        try world.server.inject(.status(503, reason: "ServiceUnavailable"), into: RequestPattern(nil, .create))
        for _ in 0..<3 {
            follower.source.events.record(
                .warning, .service(World.name(1)), reason: "FailedToStartServiceHealthcheck",
                action: "StartServiceHealthcheck", note: "port 30001 is taken")
            follower.source.events.record(
                .normal, .node, reason: "Starting", action: "StartNeedletail", note: "needletail-agent is up")
        }
        try await eventually {
            let reasons = Set(try world.server.events.compactMap { $0["reason"]?.text })
            return !reasons.isEmpty
        } orExplain: {
            "\(try world.server.events)"
        }
        for event in try world.server.events {
            #expect(event["reportingController"]?.text?.contains("needletail") == true)
            #expect(event["reportingInstance"]?.text?.contains(World.nodeName) == true)
            #expect(event["eventTime"]?.text != nil)
            #expect(event["regarding"] != nil)
        }
        try world.put(World.slice(1, state: 1))
        try await follower.converge("besides")
    }
}
