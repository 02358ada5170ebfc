internal import BPF
internal import Dataplane
public import Logging
internal import Manifests
internal import Netlink
internal import Planning
public import ServiceLifecycle
internal import ServiceModel

/// The node agent: loads or adopts the datapath, follows its sources, and reconciles until it is told to stop. The
/// datapath stays attached and forwarding when it ends, however it ends.
public struct AgentService: ServiceLifecycle.Service {
    private let configuration: AgentConfiguration
    private let logger: Logger

    /// An agent that has not begun.
    public init(_ configuration: AgentConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    /// Runs until the task is cancelled or a graceful shutdown begins.
    ///
    /// - Throws: what keeps it from starting: `DatapathError`, `BPFError` with the kernel's log, `NetlinkError`.
    public func run() async throws {
        try configuration.pins.create()
        let lock = try AgentLock(configuration.pins)
        let nodeLock = try NodeLock()
        let datapath = try Datapath.load(configuration.datapath, pins: configuration.pins)
        // Before the devices are listed, so that none is missed in between.
        let monitor = try NetlinkMonitor()
        let objects = try objects()
        let endings = Inbox<FlowEnding>()
        let socketEndings = Inbox<EndedFlows>()
        // Rounds of the collector: every so often, and at once when a map is full.
        let (rounds, round) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let reconciler = try Reconciler(
            configuration, datapath, logger,
            endFlows: {
                endings.put(FlowEnding($0))
                socketEndings.put($0)
            }, mapsChanged: { socketEndings.put(.of([])) }, makeRoom: { round.yield() })
        try await reconciler.start()

        let collector = CollectorThread(FlowCollector(datapath, configuration.datapath.timeouts))
        let cleaner = datapath.ledSockets.map { SocketCleaner($0, logger) }
        let inbox = Inbox<Reconciler.Input>()
        let interval = configuration.collectInterval
        await withTaskGroup { group in
            group.addTask { await pinTraceTwins() }
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
                    let begun = ContinuousClock.now
                    await cleaner?.passAgain()
                    do {
                        let candidates = await reconciler.beginCollection()
                        let pass = try await collector.pass(candidates)
                        if pass.expired > 0 { logger.debug("flows expired", metadata: ["entries": "\(pass.expired)"]) }
                        if !candidates.isEmpty { await reconciler.endCollection(inUse: pass.usage) }
                    } catch {
                        logger.error("cannot look through the flow table", metadata: ["reason": "\(error)"])
                    }
                    // However large the table is, going through it is a small part of what the node does.
                    try? await Task.sleep(for: (ContinuousClock.now - begun) * 9)
                }
            }
            group.addTask { await inbox.forEachBatch { await reconciler.handle($0) } }
            group.addTask { await endings.forEachBatch { await end($0, collector, endings) } }
            if let cleaner {
                group.addTask {
                    await socketEndings.forEachBatch { await cleaner.pass($0.reduce(.of([])) { $0.union($1) }) }
                }
            }
            try? await gracefulShutdown()
            logger.info("stopping; the datapath goes on forwarding")
            inbox.finish()
            endings.finish()
            socketEndings.finish()
            group.cancelAll()
        }
        nodeLock.release()
        lock.release()
    }

    /// On the collector's thread: changes of endpoints do not wait for it.
    private func end(
        _ flows: [FlowEnding], _ collector: CollectorThread, _ endings: Inbox<FlowEnding>
    ) async {
        // A burst of changes costs as many comparisons for each entry as it lasts ticks.
        var ended: [FlowEnding] = []
        for next in flows {
            if let both = ended.last?.union(next) { ended[ended.count - 1] = both } else { ended.append(next) }
        }
        do {
            let ending = try await collector.end(ended)
            if ending.removed > 0 { logger.debug("UDP flows ended", metadata: ["entries": "\(ending.removed)"]) }
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

    /// What the source tells, from the start.
    private func objects() throws -> AsyncStream<ObjectBatch> {
        let (stream, continuation) = AsyncStream.makeStream(of: ObjectBatch.self)
        switch configuration.source {
        case .manifests(let path):
            let batches = try ManifestDirectory(path: path).follow()
            let task = Task {
                for await batch in batches { continuation.yield(ObjectBatch(batch)) }
                continuation.finish()
            }
            continuation.onTermination = { _ in task.cancel() }
        case .cluster: continuation.finish()
        }
        return stream
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
