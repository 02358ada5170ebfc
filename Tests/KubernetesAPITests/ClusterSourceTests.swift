import Logging
import NIOHTTP1
import ServiceModel
import Synchronization
import Testing

@testable import KubernetesAPI

/// A whole cluster: what each collection answers.
private struct FakeCluster: Sendable {
    var services = FakeCollection([.open([Wire.added(Wire.service("web", 5)), Wire.bookmark(10, ends: true)])])
    var slices = FakeCollection([
        .open([Wire.added(Wire.slice("web-1", 6)), Wire.bookmark(10, kind: "EndpointSlice", ends: true)])
    ])
    var nodes = FakeCollection([
        .open([Wire.added(Wire.node("node1", 7)), Wire.bookmark(10, kind: "Node", ends: true)])
    ])
    var ranges = FakeCollection([.status(404), .status(404)])
    let events = FakeCollection([])

    func reply(_ request: LoopbackServer.Request) -> LoopbackServer.Reply {
        switch request.path {
        case "/api/v1/services": services.reply(request.query)
        case "/apis/discovery.k8s.io/v1/endpointslices": slices.reply(request.query)
        case "/api/v1/nodes": nodes.reply(request.query)
        case "/apis/networking.k8s.io/v1/servicecidrs": ranges.reply(request.query)
        default: .status(404)
        }
    }
}

private struct Following: Sendable {
    let source: ClusterSource
    let batches = Collected<ObjectBatch>()
    let log: CollectedLog

    var events: [CatalogEvent] { batches.all.flatMap(\.events) }

    var synced: Int { events.count { $0 == .synced } }

    static func with(
        _ cluster: FakeCluster, proxyName: String? = nil, timing: ClusterTiming = .quick,
        _ body: @Sendable (Following) async throws -> Void
    ) async throws {
        try await TemporaryDirectory.with { directory in
            try await LoopbackServer.with({ cluster.reply($0) }) { server async throws in
                let file = directory.write(
                    "config",
                    KubeconfigTests.config(cluster: "server: http://127.0.0.1:\(server.port)", user: "token: t"))
                let log = CollectedLog()
                let following = Following(
                    source: try ClusterSource(
                        ClusterSettings(kubeconfig: file, contentType: .json), nodeName: "node1",
                        serviceProxyName: proxyName, version: "1", timing: timing, logger: log.logger),
                    log: log)
                let stream = following.source.follow()
                let task = Task { for await batch in stream { following.batches.add(batch) } }
                try await body(following)
                task.cancel()
                await task.value
            }
        }
    }

    private init(source: ClusterSource, log: CollectedLog) {
        self.source = source
        self.log = log
    }
}

/// Log lines, to be looked at.
final class CollectedLog: Sendable {
    private let lines = Collected<String>()

    var all: [String] { lines.all }

    var logger: Logger {
        var logger = Logger(label: "test") { _ in Handler(lines: self.lines) }
        logger.logLevel = .debug
        return logger
    }

    private struct Handler: LogHandler {
        let lines: Collected<String>
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.debug

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let fields = (event.metadata ?? [:]).map { "\($0.key)=\($0.value)" }.sorted().joined(separator: " ")
            lines.add("\(event.level): \(event.message) \(fields)")
        }
    }
}

@Suite(.timeLimit(.minutes(5))) struct ClusterSourceTests {
    @Test func syncedIsToldOnceWhenAllIsThere() async throws {
        try await Following.with(FakeCluster()) { following async throws in
            #expect(await eventually { following.synced == 1 && following.events.count == 4 })
            let before = following.events.prefix { $0 != .synced }
            #expect(before.contains { if case .upsert(.service) = $0 { true } else { false } })
            #expect(before.contains { if case .upsert(.endpointSlice) = $0 { true } else { false } })
            #expect(before.contains { if case .upsert(.node) = $0 { true } else { false } })
            let batches = following.batches.all
            #expect(batches.last?.isComplete == true)
            #expect(batches.dropLast().allSatisfy { !$0.isComplete })
            let status = following.source.status
            #expect(status.synced != nil)
            #expect(status.kinds[.service]?.objects == 1 && status.kinds[.node]?.phase == .watching)
            #expect(status.kinds[.endpointSlice]?.synced != nil)
            #expect(
                await eventually {
                    following.source.status.requests.counts.contains { $0.key.code == "404" && $0.key.method == "GET" }
                })
            #expect(following.log.all.filter { $0.contains("ServiceCIDR") }.count == 1)
            #expect(!following.log.all.contains { $0.hasPrefix("warning") })
        }
    }

    @Test func nothingIsSyncedWithoutBothKinds() async throws {
        var cluster = FakeCluster()
        let late = FakeCollection([.status(500), .status(500), .none])
        cluster.slices = late
        try await Following.with(cluster) { following async throws in
            #expect(await eventually { late.queries.count == 3 && following.events.count == 2 })
            #expect(following.synced == 0)
            #expect(following.batches.all.allSatisfy { !$0.isComplete })
            #expect(following.source.status.kinds[.endpointSlice]?.failures == [.server: 2])
            #expect(following.log.all.filter { $0.contains("cannot follow the API server") }.count == 1)
        }
    }

    @Test func aNodeThatIsNotThereIsWaitedForButNotForEver() async throws {
        var cluster = FakeCluster()
        cluster.nodes = FakeCollection([.open([Wire.bookmark(10, kind: "Node", ends: true)])])
        var timing = ClusterTiming.quick
        timing.node = .milliseconds(300)
        try await Following.with(cluster, timing: timing) { following async throws in
            #expect(await eventually { following.synced == 1 })
            #expect(following.log.all.contains { $0.contains("no Node object") })
        }
        timing.node = .seconds(3600)
        let nodes = FakeCollection([
            .open([Wire.bookmark(10, kind: "Node", ends: true)])
        ])
        cluster.nodes = nodes
        cluster.services = FakeCluster().services
        cluster.slices = FakeCluster().slices
        try await Following.with(cluster, timing: timing) { following async throws in
            #expect(
                await eventually {
                    following.source.status.kinds[.node]?.synced != nil && following.events.count == 2
                })
            #expect(following.synced == 0)
        }
    }

    @Test func selectorsAreKubeProxys() async throws {
        let cluster = FakeCluster()
        try await Following.with(cluster, proxyName: "needle/tail") { following async throws in
            #expect(await eventually { following.synced == 1 })
        }
        #expect(
            cluster.services.queries.first?["labelSelector"] == "service.kubernetes.io/service-proxy-name=needle/tail")
        #expect(cluster.slices.queries.first?["labelSelector"] == "!service.kubernetes.io/headless")
        #expect(cluster.nodes.queries.first?["fieldSelector"] == "metadata.name=node1")
        #expect(cluster.nodes.queries.first?["labelSelector"] == nil)
    }

    @Test func afterAnOutageItIsSaidOnceThatAllIsWell() async throws {
        var cluster = FakeCluster()
        cluster.services = FakeCollection([
            .status(503), .status(503), .status(503),
            .open([Wire.added(Wire.service("web", 5)), Wire.bookmark(10, ends: true)]),
        ])
        try await Following.with(cluster) { following async throws in
            #expect(await eventually { following.synced == 1 })
            #expect(
                await eventually { following.log.all.contains { $0.contains("in step with the API server again") } }
            )
            #expect(following.log.all.filter { $0.contains("cannot follow") }.count == 1)
        }
    }

    @Test func theStreamEndsWithItsReader() async throws {
        let cluster = FakeCluster()
        try await Following.with(cluster) { following async throws in
            #expect(await eventually { following.synced == 1 })
            // A second one has nothing to tell.
            for await _ in following.source.follow() { Issue.record("a batch") }
        }
    }

    @Test func whatCannotHealIsAnErrorAtTheStart() async throws {
        let error = #expect(throws: ClusterError.self) {
            try ClusterSource(
                ClusterSettings(kubeconfig: "/nonexistent"), nodeName: "n", version: "1", logger: CollectedLog().logger)
        }
        #expect(error?.description.contains("/nonexistent") == true)
    }

    @Test func aServiceAccountThatIsNotThereYetIsWaitedFor() async throws {
        try await TemporaryDirectory.with { directory in
            let cluster = FakeCluster()
            try await LoopbackServer.with({ request in
                request.headers["authorization"] == ["Bearer late"] ? cluster.reply(request) : .status(401)
            }) { server async throws in
                let source = try ClusterSource(
                    ClusterSettings(server: "http://127.0.0.1:\(server.port)", contentType: .json), nodeName: "node1",
                    version: "1", pod: PodEnvironment(host: nil, port: nil, directory: directory.path), timing: .quick,
                    logger: CollectedLog().logger)
                let batches = Collected<ObjectBatch>()
                let stream = source.follow()
                let task = Task { for await batch in stream { batches.add(batch) } }
                defer { task.cancel() }
                #expect(
                    await eventually { (source.status.kinds[.service]?.failures[.credentials] ?? 0) > 1 })
                let files = try await Certificates(directory)
                _ = files
                directory.write("token", "late\n")
                #expect(await eventually { batches.all.contains { $0.events.contains(.synced) } })
            }
        }
    }
}

@Suite(.timeLimit(.minutes(5))) struct EventRecorderTests {
    private func recorder(_ server: LoopbackServer) -> EventRecorder {
        EventRecorder(
            EventQueue(Transport.to(server, .token("t")), nodeName: "node1", logger: CollectedLog().logger))
    }

    @Test func eventsSayWhatHappenedToWhat() async throws {
        try await LoopbackServer.with({ _ in .answer(201, [:], "{}") }) { server async throws in
            let recorder = recorder(server)
            recorder.record(.normal, .node, reason: "Starting", action: "StartNeedletail", note: "it \"starts\"\n")
            recorder.record(
                .warning, .service(ObjectName(namespace: "shop", name: "web")), reason: "Failed", action: "Listen",
                note: String(repeating: "ä", count: 600))
            #expect(await eventually { server.requests.count == 2 })
            let node = server.requests[0]
            #expect(node.method == "POST")
            #expect(node.path == "/apis/events.k8s.io/v1/namespaces/default/events")
            #expect(node.headers["content-type"] == ["application/json"])
            #expect(node.body.contains(#""regarding":{"kind":"Node","name":"node1","uid":"node1"}"#))
            #expect(node.body.contains(#""reportingController":"needletail","reportingInstance":"node1""#))
            #expect(node.body.contains(#""action":"StartNeedletail","reason":"Starting""#))
            #expect(node.body.contains(#""note":"it \"starts\"\n","type":"Normal""#))
            let time = try #require(node.body.firstMatch(of: #/"eventTime":"([^"]*)"/#)).1
            #expect(time.wholeMatch(of: #/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/#) != nil)
            let service = server.requests[1]
            #expect(service.path == "/apis/events.k8s.io/v1/namespaces/shop/events")
            #expect(
                service.body.contains(
                    #""regarding":{"apiVersion":"v1","kind":"Service","namespace":"shop","name":"web","uid":"shop/web"}"#
                ))
            #expect(service.body.contains(#""note":"\#(String(repeating: "ä", count: 512))","type":"Warning""#))
        }
    }

    @Test func theSameEventIsSentOnce() async throws {
        try await LoopbackServer.with({ _ in .answer(201, [:], "{}") }) { server async throws in
            let recorder = recorder(server)
            for number in 0..<50 {
                recorder.record(.warning, .node, reason: "Failed", action: "Listen", note: "attempt \(number)")
            }
            recorder.record(.warning, .node, reason: "Other", action: "Listen", note: "")
            #expect(await eventually { server.requests.last?.body.contains(#""reason":"Other""#) == true })
            #expect(server.requests.count == 2)
        }
    }

    @Test func whatTheServerRefusesIsNotTriedAgain() async throws {
        let answers = FakeCollection([.status(403), .status(503), .answer(201, [:], "{}")])
        try await LoopbackServer.with({ answers.reply($0.query) }) { server async throws in
            let recorder = recorder(server)
            recorder.record(.normal, .node, reason: "One", action: "A", note: "")
            recorder.record(.normal, .node, reason: "Two", action: "A", note: "")
            #expect(await eventually { server.requests.count == 3 })
            #expect(server.requests.map { $0.body.contains(#""reason":"One""#) } == [true, false, false])
        }
    }
}
