import NetTypes
import Synchronization
import Testing

@testable import Observability

@Suite struct MetricsServerTests {
    private func asking(
        _ sources: MetricsSources, _ health: HealthState = HealthState(), _ body: (UInt16) async throws -> Void
    ) async throws {
        try await serving({ .metrics(loopback, on: $0, health, sources, report: $1) }, body)
    }

    @Test func metricsAreServedAsText() async throws {
        try await asking(MetricsSources(snapshot: { MetricsSnapshotTests.full })) { port in
            let answer = try await RawClient.get(port, "/metrics")
            #expect(
                answer.head == """
                    HTTP/1.1 200 OK
                    Content-Type: text/plain; version=0.0.4; charset=utf-8
                    X-Content-Type-Options: nosniff
                    Date: DATE
                    Content-Length: \(answer.body.utf8.count)
                    """)
            #expect(try PrometheusText(answer.body)["needletail_map_writes_total"] == 8)
        }
    }

    @Test func otherPathsAreThoseOfKubeProxy() async throws {
        let health = HealthState(syncPeriod: .zero)
        let sources = MetricsSources(snapshot: { MetricsSnapshot() }, configuration: { #"{"nodeName":"n"}"# })
        try await asking(sources, health) { port in
            let mode = try await RawClient.get(port, "/proxyMode")
            #expect(mode.body == "needletail")
            #expect(mode.header("Content-Type") == "text/plain; charset=utf-8")
            #expect(mode.header("X-Content-Type-Options") == "nosniff")
            let configuration = try await RawClient.get(port, "/configz")
            #expect(configuration.body == #"{"nodeName":"n"}"#)
            #expect(configuration.header("Content-Type") == "application/json")
            for path in ["/healthz", "/livez", "/readyz"] {
                let answer = try await RawClient.get(port, path)
                #expect(answer.status == 200 && answer.body == "ok", "\(path)")
            }
            #expect(try await RawClient.get(port, "/debug/pprof/").status == 404)
            // An update that may not wait at all.
            health.updated()
            health.queuedUpdate([.v6])
            #expect(try await RawClient.get(port, "/healthz").status == 200)
            let late = try await RawClient.get(port, "/livez")
            #expect(late.status == 503 && late.body == "livez check failed: changes wait to be programmed: IPv6\n")
            let checks = try PrometheusText(try await RawClient.get(port, "/metrics/slis").body)
            #expect(checks["kubernetes_healthcheck", ["name": "ping", "type": "healthz"]] == 1)
            #expect(checks["kubernetes_healthcheck", ["name": "ping", "type": "livez"]] == 0)
            let counted = "kubernetes_healthchecks_total"
            #expect(checks[counted, ["name": "ping", "type": "healthz", "status": "success"]] == 2)
            #expect(checks[counted, ["name": "ping", "type": "livez", "status": "error"]] == 1)
        }
    }

    @Test func readinessSaysWhatIsMissing() async throws {
        let sources = MetricsSources(snapshot: { MetricsSnapshot() }, unreadiness: { "not synced yet" })
        try await asking(sources) { port in
            let answer = try await RawClient.get(port, "/readyz")
            #expect(answer.status == 503 && answer.body == "readyz check failed: not synced yet\n")
        }
    }

    /// However many ask, readings are made one after the other, and nobody is left waiting.
    @Test func scrapesShareTheWork() async throws {
        let readings = Counter()
        let running = Mutex(0)
        let (gate, open) = AsyncStream.makeStream(of: Void.self)
        let sources = MetricsSources(snapshot: {
            readings.add()
            running.withLock { $0 += 1 }
            for await _ in gate { break }
            #expect(running.withLock { $0 } == 1)
            running.withLock { $0 -= 1 }
            return MetricsSnapshotTests.full
        })
        try await asking(sources) { port in
            let clients = try (0..<10).map { _ in try RawClient(port) }
            for client in clients { try await client.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") }
            #expect(await eventually { readings.value == 1 })
            // Meanwhile, what needs no reading is answered.
            #expect(try await RawClient.get(port, "/proxyMode").body == "needletail")
            open.finish()
            for client in clients { #expect(try await client.receiveAnswer().status == 200) }
            #expect(readings.value < 10)
        }
    }
}
