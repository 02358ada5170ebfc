import APIStandIn
import Foundation
import Manifests
import NetLab
import NetTypes
import Resolver
import ServiceModel
import TestSupport
import Testing

/// A cluster whose agent follows an API server on its own node. What the server is told is kept as manifests too, which
/// nobody follows: they say what the maps have to hold.
private final class APICluster: Sendable {
    let cluster: Cluster
    let server: APIStandIn
    private let directory: TemporaryDirectory
    private let flags: AgentFlags

    init() throws {
        cluster = try Cluster()
        let namespace = cluster.topology.node.namespace
        var settings = APIStandIn.Settings()
        settings.bookmarkInterval = 1_000
        server = try APIStandIn(settings, objects: [StoredObject(.node(Node(name: "node")))]) {
            try namespace.run($0)
        }
        directory = try TemporaryDirectory()
        let kubeconfig = "\(directory.path)/kubeconfig"
        try server.kubeconfig().write(toFile: kubeconfig, atomically: true, encoding: .utf8)
        flags = AgentFlags(["--kubeconfig": kubeconfig])
    }

    /// One whose agent has programmed a Service with the three serving pods.
    static func serving() throws -> (APICluster, ServiceManifest) {
        let api = try APICluster()
        let service = try api.cluster.service()
        try api.put(service)
        try api.start()
        try api.waitUntilInStep()
        return (api, service)
    }

    func start() throws { try cluster.start(flags) }

    func waitUntilInStep() throws { try cluster.waitUntilInStep(within: .seconds(150)) }

    func put(_ service: ServiceManifest) throws {
        try cluster.manifests.put(service)
        for object in try objects(service) { try server.put(object) }
    }

    func delete(_ service: ServiceManifest) throws {
        try cluster.manifests.remove("\(service.name).yaml")
        for object in try objects(service) { try server.delete(object.id) }
    }

    func objects(_ service: ServiceManifest) throws -> [CatalogObject] {
        try ManifestParser().parse(Array(service.yaml.utf8), file: service.name).items.map(\.object)
    }
}

@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct ClusterSourceTests {
    @Test func whatTheAPIHoldsIsServed() throws {
        let (api, service) = try APICluster.serving()
        let client = try api.cluster.client
        #expect(try client.servers(of: service.frontend(.clusterIP, .v4, .tcp)) == Set(Cluster.servingPods))
        let added = try api.cluster.service("added", number: 2, ["b": .ready])
        try api.put(added)
        try api.put(api.cluster.service(["a": .draining, "c": .ready]))
        try api.waitUntilInStep()
        #expect(try client.servers(of: added.frontend(.clusterIP, .v6, .udp)) == ["b"])
        #expect(try client.servers(of: service.frontend(.clusterIP, .v6, .tcp)) == ["c"])
        try api.delete(added)
        try api.waitUntilInStep()
        #expect(client.cannotReach(added.frontend(.clusterIP, .v4, .tcp)))
    }

    /// An agent that finds no API server goes on with what is pinned, and takes over what changed when there is one.
    @Test func withoutAnAPIServerWhatIsPinnedGoesOn() throws {
        let (api, service) = try APICluster.serving()
        let traffic = try Traffic(api.cluster, service)
        try traffic.goOn()
        try api.server.stop()
        try traffic.goOn()
        for _ in 0..<2 {
            try api.cluster.stop(SIGKILL)
            try api.start()
            try traffic.goOn()
        }
        let added = try api.cluster.service("added", number: 2, ["b": .ready])
        try api.put(added)
        #expect(try api.cluster.client.cannotReach(added.frontend(.clusterIP, .v4, .tcp)))
        try api.server.restart()
        try api.waitUntilInStep()
        #expect(try api.cluster.client.servers(of: added.frontend(.clusterIP, .v4, .tcp)) == ["b"])
        try traffic.goOn()
        expectNoFailures(traffic.stop())
    }

    @Test func whatVanishedWhileTheAPIServerWasAwayIsGone() throws {
        let (api, service) = try APICluster.serving()
        let doomed = try api.cluster.service("doomed", number: 2, ["b": .ready])
        try api.put(doomed)
        try api.waitUntilInStep()
        #expect(try api.cluster.client.servers(of: doomed.frontend(.clusterIP, .v4, .tcp)) == ["b"])
        let traffic = try Traffic(api.cluster, service)
        try api.server.stop()
        try api.delete(doomed)
        try api.server.forgetHistory()
        try api.server.restart()
        try api.waitUntilInStep()
        #expect(try api.cluster.client.cannotReach(doomed.frontend(.clusterIP, .v4, .tcp)))
        try traffic.goOn()
        expectNoFailures(traffic.stop())
    }

    /// Faults one after the other, endpoints that move, and traffic all the while: no request is refused, none gets to
    /// a pod of another Service.
    @Test func noRequestNoticesFaultsOfTheAPI() throws {
        let (api, service) = try APICluster.serving()
        let foreign = try api.cluster.service("foreign", number: 2, ["b": .ready])
        try api.put(foreign)
        try api.put(api.cluster.service(["a": .ready, "c": .ready]))
        try api.waitUntilInStep()
        let traffic = try Traffic(api.cluster, service)
        // Each failure doubles the pause before the next attempt, so there are few; KubernetesAPIFaultTests has them all.
        let faults: [Fault] = [.reset(after: 150), .garbage(after: 0)]
        let client = try api.cluster.client
        for (round, fault) in faults.enumerated() {
            try api.server.inject(.status(500, reason: "InternalError"), into: RequestPattern(.endpointSlices))
            try api.server.inject(
                .status(429, reason: "TooManyRequests", retryAfter: 1), into: RequestPattern(.services))
            try api.server.disturb(nil, fault)
            // `a` stays, so that connections to it are not to notice anything; so does `c`, as long as it drains.
            try api.put(api.cluster.service(["a": .ready, "c": round % 2 == 0 ? .draining : .ready]))
            try api.put(api.cluster.service("foreign", number: 2, round % 2 == 0 ? [:] : ["b": .ready]))
            try traffic.goOn(requests: 100)
            try api.waitUntilInStep()
            let servers = try client.servers(of: service.frontend(.clusterIP, .v4, .tcp))
            #expect(servers == (round % 2 == 0 ? ["a"] : ["a", "c"]), "\(fault)")
        }
        try traffic.goOn()
        expectNoFailures(traffic.stop())
    }

    /// Killed at any moment of list and watch while the server misbehaves.
    @Test func killsWhileTheAPIMisbehavesBreakNothing() throws {
        let (api, service) = try APICluster.serving()
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        let traffic = try Traffic(api.cluster, service)
        let faults: [Fault] = [
            .cut(after: 200), .reset(after: 200), .garbage(after: 200), .gone,
            .status(503, reason: "ServiceUnavailable"),
            .stall(after: 200),
        ]
        for round in 0..<6 {
            try api.cluster.stop(SIGKILL)
            let fault = faults[random.below(faults.count)]
            for resource in [Resource.services, .endpointSlices] {
                try api.server.inject(fault, into: RequestPattern(resource, .watchList, .list))
            }
            try api.put(api.cluster.service("other", number: 2, [Cluster.servingPods[round % 3]: .ready]))
            try api.start()
            pause(.milliseconds(random.below(1_500)))
        }
        try api.server.clearFaults()
        try api.cluster.stop(SIGKILL)
        try api.start()
        try api.waitUntilInStep()
        try traffic.goOn()
        expectNoFailures(traffic.stop(), "seed \(seed)")
    }

    private func expectNoFailures(_ report: Traffic.Report, _ comment: String = "") {
        #expect(report.failures == [], "\(comment)")
        #expect(report.lostDatagrams == [], "\(comment)")
    }
}
