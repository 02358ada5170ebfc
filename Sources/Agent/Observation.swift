internal import Dataplane
internal import KubernetesAPI
internal import Logging
internal import NetTypes
internal import Observability
internal import ServiceModel
internal import Synchronization

/// What others can see of the agent, and whom it tells: health, metrics, Events. Any thread may use it.
final class Observation: Sendable {
    /// What is counted as it happens.
    let metrics = AgentMetrics()
    /// Whether the datapath is in step.
    let health: HealthState
    /// The thread of all servers.
    let thread = ServerThread()
    private let source: ClusterSource?
    private let logger: Logger
    private let serviceServers: ServiceHealthServers
    private let state = Mutex(State())
    /// What Services have counted. Held while ids of service ports are given back, with what was counted for them.
    private let series: Mutex<ServiceSeries>

    private struct State {
        var isReady = false
        var audit = MetricsSnapshot.Audit()
        var flows: [FlowTable.Kind: Int]?
    }

    init(_ configuration: AgentConfiguration, source: ClusterSource?, _ logger: Logger) {
        self.source = source
        self.logger = logger
        series = Mutex(ServiceSeries(limit: configuration.maxServiceSeries))
        let health = HealthState(syncPeriod: configuration.syncPeriod, needsNode: source != nil)
        self.health = health
        serviceServers = ServiceHealthServers(on: thread, isProxyHealthy: { health.isHealthy }) { report in
            guard let failure = report.failure else {
                logger.info(
                    "listening for health checks after all",
                    metadata: ["service": "\(report.service)", "address": "\(report.address)"])
                return
            }
            logger.error(
                "cannot listen for health checks; it is tried again",
                metadata: ["service": "\(report.service)", "reason": "\(failure)"])
            // kube-proxy's words for it.
            source?.events.record(
                .warning, .service(report.service), reason: "FailedToStartServiceHealthcheck", action: "Listen",
                note: "node \(configuration.nodeName): \(failure)")
        }
        health.describe { [weak self] in self?.details ?? HealthDetails() }
    }

    /// Something has changed that must be programmed.
    func queued() {
        health.queuedUpdate()
        metrics.queued()
    }

    /// Everything that has changed is programmed.
    func synced(_ record: SyncRecord) {
        health.updated()
        metrics.synced(record)
        state.withLock { $0.isReady = true }
    }

    /// Serves these `healthCheckNodePort`s from now on.
    func serve(_ checks: [UInt16: ServiceHealth], on addresses: ServiceHealthAddresses) {
        serviceServers.reconcile(checks, on: addresses)
    }

    /// Whether everything that there was at the start has been programmed.
    var isReady: Bool { state.withLock { $0.isReady } }

    /// What audits have found.
    var audit: MetricsSnapshot.Audit { state.withLock { $0.audit } }

    /// Notes entries that differed, and were put right.
    func audited(_ differences: Int) {
        state.withLock {
            $0.audit.differences += UInt64(differences)
            $0.audit.repairs += UInt64(differences)
        }
    }

    /// Notes that everything has been looked through, and what differed meanwhile.
    func finishedAudit(_ differences: Int) {
        state.withLock {
            $0.audit.runs += 1
            $0.audit.lastDifferences = differences
            $0.audit.lastRun = .now
        }
    }

    /// The flow table, when it was last looked through; `nil` before that.
    var flows: [FlowTable.Kind: Int]? { state.withLock { $0.flows } }

    /// Notes a pass over the flow table.
    func collected(_ pass: FlowTable.Pass, took duration: Duration) {
        metrics.collectorPass.observe(duration)
        metrics.collectorExpired.add(UInt64(pass.expired))
        state.withLock { $0.flows = pass.kinds }
    }

    /// How many sockets there are for health checks of Services.
    func serviceSockets() async -> (listening: Int, failed: Int) { await serviceServers.sockets() }

    /// Frees ids of service ports, and takes over what was counted for them: nobody can ask for it afterwards.
    func freeServices(_ counted: [ServiceReading], _ free: () throws -> Void) rethrows {
        // Not before they are gone for whoever reads all service ports.
        try series.withLock {
            try free()
            $0.close(counted)
        }
    }

    /// What Services have counted by now; `read` reads all service ports.
    ///
    /// Nobody waits for that. When ids are given back meanwhile, which is rare, nobody knows whether they are among what
    /// was read: it is read again, or in the end told as it was before.
    func services(_ read: () throws -> [ServiceReading]) rethrows -> ServiceSeries {
        for _ in 0..<5 {
            let closings = series.withLock { $0.closings }
            let readings = try read()
            let updated: ServiceSeries? = series.withLock {
                guard $0.closings == closings else { return nil }
                $0.update(readings)
                return $0
            }
            if let updated { return updated }
        }
        return series.withLock { $0 }
    }

    /// Closes everything.
    func close() async {
        serviceServers.close()
        await thread.shutdown()
    }

    private var details: HealthDetails {
        let audit = audit
        return HealthDetails(
            watches: (source?.status.watches ?? []).map {
                HealthDetails.Watch(kind: $0.kind, age: $0.age, isHealthy: $0.isHealthy)
            },
            // What cannot be put right is no finished audit.
            audit: audit.lastRun.map {
                HealthDetails.Audit(lastRun: $0, differences: audit.lastDifferences, repaired: audit.lastDifferences)
            })
    }
}

extension SourceStatus {
    /// A watch as it is told of.
    struct Watch {
        let kind: String
        /// Since the server was last heard of.
        let age: Duration?
        /// Whether everything is known, and nothing can have been missed for long.
        let isHealthy: Bool
        let phase: String
        let figures: Kind
    }

    /// The server sends a bookmark each minute: who has heard nothing for longer than this may have missed changes
    /// (kubernetes/kubernetes 56720).
    private static let healthyAge = Duration.seconds(180)

    var watches: [Watch] {
        kinds.sorted { $0.key.rawValue < $1.key.rawValue }.map { kind, figures in
            let age = figures.heard.map { $0.duration(to: .now) }
            // Not by the phase: every few minutes a watch ends and is renewed, which is no sign of illness.
            let isHealthy = figures.synced != nil && (age.map { $0 < Self.healthyAge } ?? false)
            return Watch(
                kind: kind.resource, age: age, isHealthy: isHealthy, phase: figures.phase.name, figures: figures)
        }
    }
}

extension ObjectKind {
    /// As it is in the API's paths.
    fileprivate var resource: String {
        switch self {
        case .service: "services"
        case .endpointSlice: "endpointslices"
        case .node: "nodes"
        case .serviceCIDR: "servicecidrs"
        }
    }
}

extension SourceStatus.Phase {
    fileprivate var name: String {
        switch self {
        case .connecting: "connecting"
        case .listing: "listing"
        case .watching: "watching"
        case .waiting: "waiting"
        }
    }
}
