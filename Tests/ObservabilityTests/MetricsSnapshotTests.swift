import NetTypes
import ServiceModel
import Testing

@testable import Observability

@Suite struct MetricsSnapshotTests {
    /// A snapshot that has something of everything.
    static var full: MetricsSnapshot {
        let recorded = AgentMetrics(clock: { WallTime(seconds: 1000) })
        recorded.queued()
        recorded.synced(
            SyncRecord(
                duration: .milliseconds(3), isFull: true, resolve: .microseconds(10), plan: .milliseconds(1),
                write: .milliseconds(2), writes: 7))
        recorded.synced(SyncRecord(duration: .milliseconds(1), isFull: false, writes: 1))
        recorded.networkProgramming[.v6].observe(.milliseconds(700))
        recorded.endpointChanges.add(3)
        recorded.endpointChangesPending.value = 2
        recorded.syncFailures.add()
        recorded.udpCleanupDeleted[.v4].add(4)
        var snapshot = MetricsSnapshot()
        snapshot.agent = .init(version: "1", architecture: "x86_64", kernel: "6.18", node: "n", source: "cluster")
        snapshot.recorded = recorded
        snapshot.answers.healthz = [200: 5, 503: 1]
        snapshot.answers.livez = [200: 2]
        snapshot.noLocalEndpoints = [.init(family: .v4, internalTraffic: 1, externalTraffic: 2)]
        snapshot.restRequests = [.init(code: "200", host: "192.0.2.1:6443", method: "GET", count: 9)]
        snapshot.restDurations = [
            .init(host: "192.0.2.1:6443", verb: "GET", durations: HistogramValue(bounds: Buckets.restClient))
        ]
        snapshot.counters = [
            .init(program: "external_xdp", outcome: "translated", counter: "forward-new", packets: 12),
            .init(program: "socket", outcome: "dropped", counter: "no-endpoints", packets: 1),
        ]
        let name = ServicePortName(
            service: ObjectName(namespace: "default", name: "web"), port: "http", transport: .tcp)
        var services = ServiceSeries(limit: 1)
        for factor: UInt64 in 1...2 {
            let figures = ServiceFigures(
                forward: .init(packets: 10 * factor, bytes: 1000 * factor), newFlows: factor,
                refused: ["source-range": 2 * factor])
            services.update([ServiceReading(id: 1, name: name, figures: figures)])
        }
        snapshot.services = services
        snapshot.maps = [.init(name: "nt_slots", unit: "slots", used: 10, size: 100, bytes: 4096)]
        snapshot.flows = [.init(family: .v4, transport: .udp, state: "opening", entries: 6)]
        snapshot.watches = [
            .init(
                kind: "services", age: .seconds(2), phase: "watching", isSynced: true, objects: 3, lists: 1, watches: 2,
                events: ["ADDED": 3], staleEvents: 1, errors: ["410 Expired": 1]),
            .init(kind: "nodes", age: nil, phase: "connecting", isSynced: false),
        ]
        snapshot.audit = .init(
            runs: 3, lastDifferences: 0, differences: 1, repairs: 1, lastRun: WallTime(seconds: 990))
        snapshot.programmed = ["frontends": 4]
        snapshot.problems = ["conflicts": 1]
        snapshot.devices = [.init(role: "external", hook: "xdp", count: 1)]
        snapshot.healthCheckSockets = (listening: 2, failed: 0)
        snapshot.process = .read()
        return snapshot
    }

    static func text(_ snapshot: MetricsSnapshot) -> String {
        var text = MetricsText()
        snapshot.write(to: &text)
        return text.render()
    }

    @Test func everyMetricIsWrittenAndCanBeRead() throws {
        let parsed = try PrometheusText(Self.text(Self.full))
        let declared = Dictionary(uniqueKeysWithValues: Metrics.all.map { ($0.name, $0) })
        for family in parsed.families {
            let declaration = try #require(declared[family.name])
            #expect(family.type == declaration.kind.rawValue && family.help == declaration.help)
            for series in family.series {
                #expect(series.labels.keys.filter { $0 != "le" }.sorted() == declaration.labels, "\(family.name)")
            }
        }
        let elsewhere: Set = ["kubernetes_healthcheck", "kubernetes_healthchecks_total"]
        #expect(Set(parsed.families.map(\.name)) == Set(declared.keys).subtracting(elsewhere))
    }

    @Test func figuresAreWhereTheyBelong() throws {
        let parsed = try PrometheusText(Self.text(Self.full))
        let web = ["namespace": "default", "service": "web", "port": "http", "protocol": "TCP"]
        #expect(parsed["needletail_service_bytes_total", web.merging(["direction": "forward"]) { $1 }] == 2000)
        #expect(parsed["needletail_service_new_flows_total", web] == 2)
        #expect(parsed["needletail_service_refused_packets_total", web.merging(["reason": "source-range"]) { $1 }] == 4)
        #expect(
            parsed[
                "needletail_service_new_flows_total",
                ["namespace": "", "service": "", "port": "_other", "protocol": ""]]
                == 0)
        #expect(parsed["needletail_traffic_packets_total", ["direction": "forward"]] == 10)
        for family in ["IPv4", "IPv6"] {
            let labels = ["ip_family": family]
            #expect(parsed["kubeproxy_sync_proxy_rules_duration_seconds_count", labels] == 2)
            #expect(parsed["kubeproxy_sync_full_proxy_rules_duration_seconds_count", labels] == 1)
            #expect(parsed["kubeproxy_sync_partial_proxy_rules_duration_seconds_count", labels] == 1)
            #expect(parsed["kubeproxy_sync_proxy_rules_last_timestamp_seconds", labels] == 1000)
            #expect(parsed["kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", labels] == 1000)
        }
        #expect(
            parsed["kubeproxy_network_programming_duration_seconds_bucket", ["ip_family": "IPv6", "le": "0.5"]] == 0)
        #expect(parsed["kubeproxy_network_programming_duration_seconds_bucket", ["ip_family": "IPv6", "le": "1"]] == 1)
        #expect(
            parsed[
                "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                ["ip_family": "IPv4", "traffic_policy": "external"]] == 2)
        #expect(parsed["kubeproxy_proxy_healthz_total", ["code": "503"]] == 1)
        #expect(parsed["needletail_sync_phase_duration_seconds_count", ["phase": "write"]] == 2)
        #expect(parsed["needletail_map_writes_total"] == 8)
        #expect(
            parsed[
                "rest_client_requests_total", ["code": "200", "host": "192.0.2.1:6443", "method": "GET"]] == 9)
        #expect(parsed["needletail_watch_age_seconds", ["kind": "services"]] == 2)
        #expect(parsed["needletail_watch_age_seconds", ["kind": "nodes"]] == nil)
    }

    @Test func anEmptySnapshotIsAnEmptyText() {
        #expect(Self.text(MetricsSnapshot()) == "")
    }

    @Test func theProcessIsAlive() throws {
        let process = ProcessFigures.read()
        #expect(try #require(process.cpuSeconds) >= 0)
        #expect(try #require(process.residentMemory) > 1_000_000)
        #expect(try #require(process.virtualMemory) >= process.residentMemory ?? 0)
        #expect(try #require(process.threads) >= 1)
        #expect(try #require(process.openDescriptors) >= 3)
        #expect(try #require(process.maxDescriptors) >= 3)
        let started = try #require(process.startTime)
        #expect(started > 1_600_000_000 && started <= WallTime.now.timestamp + 1)
    }

    @Test func aProgramsNameMayHoldAnything() {
        var process = ProcessFigures()
        process.readStatus(
            "12 (a) b (c) 1) S 1 12 12 0 -1 4194560 100 0 0 0 300 100 0 0 20 0 5 0 2000 8192 3 1 0", bootTime: 1000)
        #expect(process.threads == 5)
        #expect(process.cpuSeconds == 4)
        #expect(process.startTime == 1020)
        #expect(process.virtualMemory == 8192)
        #expect(process.residentMemory == 12_288)
        process = ProcessFigures()
        process.readStatus("12 (a) S 1", bootTime: 1000)
        process.readStatus("", bootTime: nil)
        #expect(process == ProcessFigures())
    }

    @Test func reasonsOfErrorsAreBounded() throws {
        var snapshot = MetricsSnapshot()
        let errors = Dictionary(uniqueKeysWithValues: (1...100).map { ("reason \($0)", UInt64($0)) })
        snapshot.watches = [.init(kind: "services", age: nil, phase: "waiting", isSynced: false, errors: errors)]
        let parsed = try PrometheusText(Self.text(snapshot))
        let series = try #require(parsed.families.first { $0.name == "needletail_watch_errors_total" }).series
        #expect(series.count == MetricsSnapshot.Watch.maxReasons + 1)
        #expect(series.map(\.value).reduce(0, +) == 5050)
        #expect(parsed["needletail_watch_errors_total", ["kind": "services", "reason": "reason 100"]] == 100)
    }

    @Test func namesFollowTheConventions() {
        #expect(Set(Metrics.all.map(\.name)).count == Metrics.all.count)
        for family in Metrics.all {
            #expect(family.labels == family.labels.sorted(), "\(family.name)")
            #expect(family.kind != .counter || family.name.hasSuffix("_total"), "\(family.name)")
            #expect(family.kind != .histogram || family.name.hasSuffix("_seconds"), "\(family.name)")
            #expect(!family.help.isEmpty && !family.labels.contains("le"))
        }
    }
}
