internal import BPF
internal import Dataplane
internal import Glibc
internal import KubernetesAPI
internal import Logging
internal import NeedletailABI
internal import NetTypes
internal import Observability
internal import Planning
internal import ServiceModel

/// Reads what the metrics are made of, from the maps and from whoever counts. On a thread of its own: reading the maps
/// of thousands of Services takes milliseconds, during which changes must not wait.
actor MetricsReader {
    private let maps: DatapathMaps
    private let reconciler: Reconciler
    private let observation: Observation
    private let source: ClusterSource?
    private let logger: Logger
    private let agent: MetricsSnapshot.Agent
    private var reported: String?
    private let executor = QueueExecutor(label: "needletail.metrics")

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(
        _ configuration: AgentConfiguration, _ maps: DatapathMaps, _ reconciler: Reconciler, _ observation: Observation,
        _ source: ClusterSource?, _ logger: Logger
    ) {
        self.maps = maps
        self.reconciler = reconciler
        self.observation = observation
        self.source = source
        self.logger = logger
        var system = utsname()
        uname(&system)
        agent = MetricsSnapshot.Agent(
            version: AgentConfiguration.version, architecture: text(of: system.machine),
            kernel: text(of: system.release),
            node: configuration.nodeName, source: source == nil ? "manifests" : "cluster")
    }

    /// What the metrics are now. What cannot be read is left out, and the log says why.
    func snapshot() async -> MetricsSnapshot {
        var snapshot = await reconciler.figures()
        snapshot.agent = agent
        snapshot.recorded = observation.metrics
        snapshot.answers = observation.health.answers
        snapshot.audit = observation.audit
        snapshot.healthCheckSockets = await observation.serviceSockets()
        snapshot.process = .read()
        snapshot.flows = (observation.flows ?? [:]).map {
            MetricsSnapshot.Flows(
                family: $0.key.family, transport: $0.key.transport, state: $0.key.state.rawValue, entries: $0.value)
        }
        do {
            try readMaps(&snapshot)
            reported = nil
        } catch {
            if reported != "\(error)" {
                logger.error("cannot read the maps for metrics", metadata: ["reason": "\(error)"])
            }
            reported = "\(error)"
        }
        if let status = source?.status { snapshot.take(status) }
        return snapshot
    }

    private func readMaps(_ snapshot: inout MetricsSnapshot) throws {
        for (program, counters) in try CounterReading(maps).values {
            for (counter, packets) in counters {
                snapshot.counters.append(
                    MetricsSnapshot.DatapathCounter(
                        program: program.name, outcome: counter.outcome.rawValue, counter: counter.name,
                        packets: packets))
            }
        }
        snapshot.services = try observation.services {
            try ServiceReading.read(maps, try ServiceStatistics.names(maps))
        }
        snapshot.maps = try maps.usage(flows: observation.flows ?? [:]).map {
            MetricsSnapshot.Map(
                name: $0.name, unit: $0.unit, used: $0.used, size: $0.size, bytes: $0.info.memlock)
        }
    }
}

extension ServiceReading {
    /// What has been counted for these service ports.
    static func read(_ maps: DatapathMaps, _ names: [ServiceID: ServicePortName]) throws -> [ServiceReading] {
        try ServiceStatistics.read(maps, ids: names.keys).compactMap { id, statistics in
            names[id].map { ServiceReading(id: id.rawValue, name: $0, figures: ServiceFigures(statistics)) }
        }
    }
}

private func text<Buffer>(of buffer: Buffer) -> String {
    withUnsafeBytes(of: buffer) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}

extension ServiceFigures {
    fileprivate init(_ statistics: ServiceStatistics) {
        self.init(
            forward: Traffic(packets: statistics.forward.packets, bytes: statistics.forward.bytes),
            reverse: Traffic(packets: statistics.reverse.packets, bytes: statistics.reverse.bytes),
            newFlows: statistics.newFlows,
            refused: Dictionary(uniqueKeysWithValues: statistics.refused.map { ($0.key.name, $0.value) }))
    }
}

extension MetricsSnapshot {
    fileprivate mutating func take(_ status: SourceStatus) {
        watches = status.watches.map { watch in
            let figures = watch.figures
            return Watch(
                kind: watch.kind, age: watch.age, phase: watch.phase, isSynced: figures.synced != nil,
                objects: figures.objects, lists: UInt64(figures.lists), watches: UInt64(figures.watches),
                events: [
                    "upsert": UInt64(figures.upserts), "delete": UInt64(figures.deletions),
                    "bookmark": UInt64(figures.bookmarks),
                ],
                staleEvents: UInt64(figures.stale),
                errors: Dictionary(
                    uniqueKeysWithValues: figures.failures.map { ($0.key.rawValue, UInt64($0.value)) }))
        }
        restRequests = status.requests.counts.map {
            RestRequests(code: $0.key.code, host: $0.key.host, method: $0.key.method, count: UInt64($0.value))
        }
        restDurations = status.requests.durations.map {
            RestDurations(
                host: $0.key.host, verb: $0.key.verb,
                durations: HistogramValue(
                    bounds: RequestStatistics.buckets, counts: $0.value.counts.map { UInt64($0) }, sum: $0.value.sum))
        }
    }
}
