internal import BPF
internal import Dataplane
internal import KubernetesAPI
public import Logging
internal import Manifests
internal import NetTypes
internal import Netlink
internal import Observability
internal import Planning
internal import Resolver
public import ServiceLifecycle
internal import ServiceModel

/// The node agent: loads or adopts the datapath, follows its sources, and reconciles until it is told to stop. The
/// datapath stays attached and forwarding when it ends, however it ends.
public struct AgentService: ServiceLifecycle.Service {
    private let configuration: AgentConfiguration
    private let description: String
    private let logger: Logger

    /// An agent that has not begun.
    ///
    /// - Parameter description: the configuration in JSON, for `/configz`.
    public init(_ configuration: AgentConfiguration, description: String = "{}", logger: Logger) {
        self.configuration = configuration
        self.description = description
        self.logger = logger
    }

    /// Runs until the task is cancelled or a graceful shutdown begins.
    ///
    /// - Throws: what keeps it from starting: `DatapathError`, `BPFError` with the kernel's log, `NetlinkError`.
    public func run() async throws {
        try refuseBesideKubeProxy()
        try configuration.pins.create()
        let lock = try AgentLock(configuration.pins)
        let nodeLock = try NodeLock()
        let datapath = try Datapath.load(configuration.datapath, pins: configuration.pins)
        // Before the devices are listed, so that none is missed in between.
        let monitor = try NetlinkMonitor()
        let cluster = try clusterSource()
        let objects = try objects(cluster)
        let observation = Observation(configuration, source: cluster, logger)
        let endings = Inbox<FlowEnding>()
        let socketEndings = Inbox<EndedFlows>()
        // Rounds of the collector: every so often, and at once when a map is full.
        let (rounds, round) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let reconciler = try Reconciler(
            configuration, datapath, observation, logger,
            endFlows: {
                endings.put(FlowEnding($0))
                socketEndings.put($0)
            }, mapsChanged: { socketEndings.put(.of([])) }, makeRoom: { round.yield() })
        try await reconciler.start()
        let metrics = MetricsReader(configuration, datapath.maps, reconciler, observation, cluster, logger)
        let servers = try servers(observation, metrics, cluster)

        let collector = CollectorThread(FlowCollector(datapath, configuration.datapath.timeouts))
        let cleaner = datapath.ledSockets.map { SocketCleaner($0, logger) }
        let inbox = Inbox<Reconciler.Input>()
        let interval = configuration.collectInterval
        // Told once, by whatever comes first: nothing, when the agent is to stop, or what keeps it from going on.
        let (ends, end) = AsyncStream.makeStream(of: BindFailure?.self)
        let failure = await withTaskGroup { group in
            for server in servers {
                group.addTask {
                    do throws(BindFailure) { try await server.run() } catch { end.yield(error) }
                }
            }
            group.addTask { await pinTraceTwins() }
            if let watcher = kubeProxyWatcher() {
                group.addTask {
                    repeat { await watcher.look() } while (try? await Task.sleep(for: .seconds(60))) != nil
                }
            }
            group.addTask { for await batch in objects { inbox.put(.objects(batch)) } }
            group.addTask { for await event in monitor.events { inbox.put(.network(event)) } }
            group.addTask {
                while (try? await Task.sleep(for: .seconds(interval))) != nil {
                    inbox.put(.tick)
                    round.yield()
                }
            }
            group.addTask {
                for await _ in rounds {
                    await cleaner?.passAgain()
                    let begun = ContinuousClock.now
                    do {
                        let candidates = await reconciler.beginCollection()
                        let pass = try await collector.pass(candidates)
                        observation.collected(pass, took: .now - begun)
                        if pass.expired > 0 { logger.debug("flows expired", metadata: ["entries": "\(pass.expired)"]) }
                        if !candidates.isEmpty { await reconciler.endCollection(inUse: pass.usage) }
                    } catch {
                        logger.error("cannot look through the flow table", metadata: ["reason": "\(error)"])
                    }
                    // However large the table is, going through it is a small part of what the node does.
                    try? await Task.sleep(for: (ContinuousClock.now - begun) * 9)
                }
            }
            group.addTask {
                await inbox.forEachBatch {
                    await reconciler.handle($0)
                    // What arrives meanwhile is taken together.
                    if configuration.minSyncPeriod > .zero { try? await Task.sleep(for: configuration.minSyncPeriod) }
                }
            }
            group.addTask { await endings.forEachBatch { await endFlows($0, collector, endings, observation.metrics) } }
            if let cleaner {
                group.addTask {
                    await socketEndings.forEachBatch { await cleaner.pass($0.reduce(.of([])) { $0.union($1) }) }
                }
            }
            group.addTask {
                try? await gracefulShutdown()
                end.yield(nil)
            }
            cluster?.events.record(
                .normal, .node, reason: "Starting", action: "StartNeedletail",
                note: "needletail \(NeedletailVersion.current)")
            let failure = await ends.first { _ in true } ?? nil
            logger.info("stopping; the datapath goes on forwarding")
            inbox.finish()
            endings.finish()
            socketEndings.finish()
            group.cancelAll()
            return failure
        }
        await observation.close()
        nodeLock.release()
        lock.release()
        if let failure { throw failure }
    }

    /// On the collector's thread: changes of endpoints do not wait for it.
    private func endFlows(
        _ flows: [FlowEnding], _ collector: CollectorThread, _ endings: Inbox<FlowEnding>, _ metrics: AgentMetrics
    ) async {
        let begun = ContinuousClock.now
        // A burst of changes costs as many comparisons for each entry as it lasts ticks.
        var ended: [FlowEnding] = []
        for next in flows {
            if let both = ended.last?.union(next) { ended[ended.count - 1] = both } else { ended.append(next) }
        }
        do {
            let ending = try await collector.end(ended)
            for family in IPFamily.allCases {
                metrics.udpCleanup[family].observe(.now - begun)
                metrics.udpCleanupDeleted[family].add(UInt64(ending.removed[family] ?? 0))
            }
            let removed = ending.removed.values.reduce(0, +)
            if removed > 0 { logger.debug("UDP flows ended", metadata: ["entries": "\(removed)"]) }
            if ending.remaining == 0 { return }
        } catch {
            logger.error(
                "cannot end UDP flows of endpoints that are gone; it is tried again", metadata: ["reason": "\(error)"])
        }
        // Others are not to wait for these.
        Task { [ended] in
            try? await Task.sleep(for: .seconds(1))
            for ending in ended { endings.put(ending) }
        }
    }

    /// The cluster that objects come from, if they do.
    private func clusterSource() throws -> ClusterSource? {
        guard case .cluster(let settings) = configuration.source else { return nil }
        return try ClusterSource(
            settings, nodeName: configuration.nodeName, serviceProxyName: configuration.resolver.serviceProxyName,
            version: AgentConfiguration.version, logger: logger)
    }

    /// What the source tells, from the start.
    private func objects(_ cluster: ClusterSource?) throws -> AsyncStream<ObjectBatch> {
        guard case .manifests(let path) = configuration.source else {
            return cluster?.follow() ?? AsyncStream { $0.finish() }
        }
        let batches = try ManifestDirectory(path: path).follow()
        return AsyncStream { continuation in
            let task = Task {
                for await batch in batches { continuation.yield(ObjectBatch(batch)) }
                continuation.finish()
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    private func refuseBesideKubeProxy() throws {
        guard configuration.kubeProxyPolicy == .refuse else { return }
        let findings = KubeProxyDetector().findings()
        if !findings.isEmpty { throw KubeProxyPresent(findings: findings) }
    }

    private func kubeProxyWatcher() -> KubeProxyWatcher? {
        guard configuration.kubeProxyPolicy != .ignore else { return nil }
        let own = [configuration.healthBindAddress, configuration.metricsBindAddress]
        return KubeProxyWatcher(ownPorts: Set(own.compactMap { try? ListenAddress($0).port }), logger)
    }

    /// Those of health and metrics, where they are wanted.
    private func servers(
        _ observation: Observation, _ metrics: MetricsReader, _ cluster: ClusterSource?
    ) throws -> [HTTPServer] {
        func report(_ name: String, _ reason: String) -> @Sendable (BindReport) -> Void {
            { [logger] in
                switch $0 {
                case .listening(let address):
                    logger.info("listening", metadata: ["for": "\(name)", "address": "\(address)"])
                case .failed(let failure):
                    logger.error("no \(name) can be told; it is tried again", metadata: ["reason": "\(failure)"])
                    cluster?.events.record(.warning, .node, reason: reason, action: "Listen", note: "\(failure)")
                }
            }
        }
        var servers: [HTTPServer] = []
        if !configuration.healthBindAddress.isEmpty {
            servers.append(
                .health(
                    try ListenAddress(configuration.healthBindAddress), on: observation.thread, observation.health,
                    failsHard: configuration.bindAddressHardFail,
                    report: report("health", "FailedToStartProxierHealthcheck")))
        }
        if !configuration.metricsBindAddress.isEmpty {
            let sources = MetricsSources(
                snapshot: { await metrics.snapshot() }, configuration: { [description] in description },
                unreadiness: { observation.isReady ? nil : "not everything is programmed yet" })
            servers.append(
                .metrics(
                    try ListenAddress(configuration.metricsBindAddress), on: observation.thread, observation.health,
                    sources, failsHard: configuration.bindAddressHardFail,
                    report: report("metrics", "FailedToStartMetricServer")))
        }
        return servers
    }

    /// Beside everything else: the verifier takes its time, and the datapath does without.
    private func pinTraceTwins() async {
        let loader = TraceLoader()
        let begun = ContinuousClock.now
        do {
            try await loader.load(configuration)
            logger.debug("packets can be traced", metadata: ["after": "\(ContinuousClock.now - begun)"])
        } catch {
            logger.warning("packets cannot be traced", metadata: ["reason": "\(error)"])
        }
    }
}

/// Loads on a thread of its own.
private actor TraceLoader {
    private let executor = QueueExecutor(label: "needletail.trace")

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    func load(_ configuration: AgentConfiguration) throws {
        try Datapath.pinTraceTwins(configuration.datapath, pins: configuration.pins)
    }
}

extension ObjectBatch {
    init(_ batch: ManifestBatch) {
        self.init(
            events: batch.events, problems: batch.problems.map(\.description), notes: batch.notes.map(\.description),
            isComplete: batch.isComplete)
    }
}
