internal import BPF
internal import Dataplane
public import Logging
internal import Manifests
internal import Netlink
public import ServiceLifecycle

/// The node agent: loads or adopts the datapath, follows its sources, and reconciles until it is told to stop. The
/// datapath stays attached and forwarding when it ends, however it ends.
public struct AgentService: Service {
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
        let manifests = try ManifestDirectory(path: configuration.manifests).follow()
        let changedMaps = Inbox<Void>()
        let reconciler = try Reconciler(configuration, datapath, logger) { changedMaps.put(()) }
        try await reconciler.start()

        let collector = CollectorThread(FlowCollector(datapath, configuration.datapath.timeouts))
        let cleaner = datapath.ledSockets.map { SocketCleaner($0, logger) }
        let inbox = Inbox<Reconciler.Input>()
        let interval = configuration.collectInterval
        await withTaskGroup { group in
            group.addTask { await pinTraceTwins() }
            group.addTask { for await batch in manifests { inbox.put(.manifests(batch)) } }
            group.addTask { for await event in monitor.events { inbox.put(.network(event)) } }
            group.addTask {
                while (try? await Task.sleep(for: .seconds(interval))) != nil {
                    inbox.put(.tick)
                    await cleaner?.passAgain()
                    do {
                        let hasCandidates = await reconciler.beginCollection()
                        let pass = try await collector.pass(afterGracePeriod: hasCandidates)
                        if pass.expired > 0 { logger.debug("flows expired", metadata: ["entries": "\(pass.expired)"]) }
                        if hasCandidates { await reconciler.endCollection(inUse: pass.usage) }
                    } catch {
                        logger.error("cannot look through the flow table", metadata: ["reason": "\(error)"])
                    }
                }
            }
            group.addTask { await inbox.forEachBatch { await reconciler.handle($0) } }
            if let cleaner { group.addTask { await changedMaps.forEachBatch { _ in await cleaner.pass() } } }
            try? await gracefulShutdown()
            logger.info("stopping; the datapath goes on forwarding")
            inbox.finish()
            changedMaps.finish()
            group.cancelAll()
        }
        nodeLock.release()
        lock.release()
    }

    /// Beside everything else: the verifier takes its time, and the datapath does without.
    private func pinTraceTwins() async {
        let loader = TraceLoader()
        do {
            try await loader.load(configuration)
            logger.debug("packets can be traced")
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
