internal import CLinux
internal import Dataplane
internal import Glibc
internal import Logging
internal import NeedletailABI
internal import NetTypes
internal import Netlink
internal import Observability
internal import Planning
internal import Resolver
internal import ServiceModel

/// Keeps the maps equal to what the objects and the node ask for. The only writer of the maps of the control plane.
///
/// Everything that can change the desired state arrives by ``handle(_:)``; each call ends with maps that are in step,
/// or with a failure that is logged and tried again at the next call or tick.
actor Reconciler {
    /// What there is to react to.
    enum Input: Sendable {
        case objects(ObjectBatch)
        case network(NetlinkMonitor.Event)
        /// Time to try again what has failed.
        case tick
    }

    /// A sync that writes more has read a list, not a change.
    private static let manyWrites = 1000

    private let configuration: AgentConfiguration
    private let datapath: Datapath
    private let logger: Logger
    private let executor = QueueExecutor(label: "needletail.reconciler")
    /// Who ends the UDP flows that must not go on; not to be waited for.
    private let end: @Sendable (EndedFlows) -> Void
    /// Called when the maps have changed, for whoever must follow.
    private let mapsChanged: @Sendable () -> Void

    private var devices: Devices
    private var hooks: HookKeeper
    private var kernelMaps: KernelMaps
    private var planner: Planner
    private var catalog = Catalog()
    private let resolver: Resolver
    private var context: NodeContext
    private var desired = DesiredTracker()
    /// What has become of the desired state since the last plan.
    private var changes = DesiredChanges()
    private var reported = ReportedProblems()
    private var journal = SyncJournal()
    private let observation: Observation
    private var waiting: WaitingChanges
    private var roll = ServiceRoll()
    private var auditor: MapAuditor
    /// Something changed, or a sync failed, since the last one that succeeded.
    private var isDirty = true
    /// Every manifest has been read once. Until then, what an earlier agent programmed and nobody asks for now is kept:
    /// it may be in the one that is broken.
    private var knowsAll = false
    /// The planner has planned all that is desired, and its image is what the maps hold.
    private var isPlannerCurrent = false
    /// What may be freed when the flow table has been looked through.
    private var candidates = ReclaimCandidates()
    /// Changes of devices were missed and have not been listed since.
    private var devicesAreStale = false
    /// Has the flow table looked through soon, so that there is room again.
    private let makeRoom: @Sendable () -> Void
    private var lastCallForRoom: ContinuousClock.Instant?
    private var meta: nt_meta
    /// What the programs know of the node.
    private var node: NodeState
    /// ClusterIPs, or the prefixes they are taken from, may be others than ``node`` says.
    private var isRangeStale = true

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(
        _ configuration: AgentConfiguration, _ datapath: Datapath, _ observation: Observation, _ logger: Logger,
        endFlows end: @escaping @Sendable (EndedFlows) -> Void, mapsChanged: @escaping @Sendable () -> Void,
        makeRoom: @escaping @Sendable () -> Void
    ) throws {
        self.mapsChanged = mapsChanged
        self.makeRoom = makeRoom
        hooks = HookKeeper(configuration, datapath, logger)
        self.configuration = configuration
        self.datapath = datapath
        self.observation = observation
        self.logger = logger
        self.end = end
        waiting = WaitingChanges(started: Int64(NodeRecord.now()))
        auditor = MapAuditor(every: configuration.auditInterval, observation, logger)
        resolver = Resolver(options: configuration.resolver)
        devices = Devices(
            configuration, Attachments(datapath, pins: configuration.pins, options: configuration.attachment),
            try DeviceTable(datapath.maps), logger)
        node = try datapath.maps.nodeState()
        kernelMaps = KernelMaps(datapath.maps) { observation.metrics.maglevBuild.observe($0) }
        planner = try Planner(kernelMaps.read())
        context = NodeContext(nodeName: configuration.nodeName)
        meta = NodeRecord.starting(configuration)
    }

    /// Attaches to the devices there are. Programs of an earlier agent are replaced in place.
    func start() throws {
        observation.health.updated()
        try NodeRecord.store(meta, in: datapath.maps)
        // As this agent writes it, though it means the same: what an audit expects.
        try datapath.maps.store(node)
        try devices.reload()
        hooks.attach()
        updateContext()
        try describeNode()
        logger.info(
            datapath.adopted ? "adopted the datapath of an earlier agent" : "loaded the datapath",
            metadata: [
                "pins": "\(configuration.pins.root)", "frontends": "\(planner.image.frontends.count)",
                "external": "\(devices.count(.external))", "workload": "\(devices.count(.workload))",
            ])
        for name in devices.missing {
            logger.warning(
                "there is no such device; it is attached to when it appears", metadata: ["device": "\(name)"])
        }
        if devices.count(.external) + devices.count(.workload) == 0 {
            logger.warning(
                "no device carries the datapath yet",
                metadata: [
                    "external": "\(configuration.externalDevices)", "workload": "\(configuration.workloadDevices)",
                ])
        }
    }

    /// Takes in what has arrived, and brings the maps in step.
    func handle(_ inputs: [Input]) {
        for input in inputs {
            switch input {
            case .objects(let batch): take(batch)
            case .network(let event): take(event)
            case .tick:
                if reloadDevices() { updateContext() }
                devices.retry()
                hooks.retry()
                journal.summarize(logger)
                audit()
            }
        }
        if isDirty {
            if catalog.isSynced { observation.queued() }
            sync()
        }
        do {
            try describeNode()
        } catch {
            logger.error("cannot tell the programs of the node; it is tried again", metadata: ["reason": "\(error)"])
        }
    }

    // MARK: Node

    /// Tells the programs of the node's addresses, and where ClusterIPs are. Before the first sync nobody knows which
    /// addresses Services have: until then nothing is refused for having none.
    private func describeNode() throws {
        let addresses = devices.nodeAddresses(preferring: context.nodeAddresses)
        var state = node
        if meta.syncs > 0, isRangeStale {
            isRangeStale = false
            let bounds = IPFamily.allCases.compactMap { planner.clusterIPs($0) }
            state = NodeState(
                clusterIPs: bounds.flatMap { [$0.lowerBound, $0.upperBound] }, serviceCIDRs: serviceCIDRs)
        }
        state.addresses = addresses
        state.podPrefixes = configuration.localDetection.prefixes(catalog.nodes[configuration.nodeName])
        guard state != node else { return }
        try datapath.maps.store(state)
        node = state
    }

    /// All prefixes that ClusterIPs are taken from.
    private var serviceCIDRs: [CIDR] { configuration.serviceCIDRs + catalog.clusterIPRanges }

    // MARK: Input

    private func take(_ batch: ObjectBatch) {
        if let problems = batch.problems { reported.report(problems, as: .source, logger) }
        for note in batch.notes { logger.debug("ignored", metadata: ["object": "\(note)"]) }
        if batch.isComplete, !knowsAll {
            // What was kept because it might have been in a file that could not be read can be judged now.
            knowsAll = true
            isPlannerCurrent = false
            isDirty = true
        }
        let begun = ContinuousClock.now
        let changes = catalog.apply(batch.events)
        journal.note(changes)
        if changes.nodes.contains(configuration.nodeName) {
            if let node = catalog.nodes[configuration.nodeName] { observation.health.update(node) }
            updateContext()
        }
        if !changes.serviceCIDRs.isEmpty { isRangeStale = true }
        for name in changes.services { resolve(name) }
        if !changes.isEmpty { isDirty = true }
        waiting.note(changes, batch.events, resolved: .now - begun, observation.metrics)
    }

    private func take(_ event: NetlinkMonitor.Event) {
        var addressesChanged = false
        switch event {
        case .changed(let changes):
            for change in changes where devices.apply(change) { addressesChanged = true }
        case .overrun:
            devicesAreStale = true
            addressesChanged = reloadDevices()
        }
        if addressesChanged { updateContext() }
    }

    /// Lists devices and addresses anew when changes were missed; returns whether it has. Tried until it succeeds.
    private func reloadDevices() -> Bool {
        guard devicesAreStale else { return false }
        do {
            try devices.reload()
            devicesAreStale = false
            return true
        } catch {
            logger.error("cannot list the devices; it is tried again", metadata: ["reason": "\(error)"])
            return false
        }
    }

    private func updateContext() {
        let node = catalog.nodes[configuration.nodeName]
        // An address that the configuration names comes before those of the Node object.
        let addresses =
            (configuration.nodeAddress.map { [$0] } ?? [])
            + ((node?.internalIPs ?? []) + (node?.externalIPs ?? [])).compactMap { IPAddress($0) }
        let updated = NodeContext(
            nodeName: configuration.nodeName, zone: node?.zone, nodePortAddresses: nodePortAddresses(addresses),
            nodeAddresses: addresses)
        guard updated != context else { return }
        if updated.nodePortAddresses != context.nodePortAddresses {
            logger.info(
                "NodePort addresses changed",
                metadata: ["addresses": "\(updated.nodePortAddresses.map(\.description).joined(separator: " "))"])
            roll.placesChanged()
        }
        context = updated
        journal.note("the node's addresses or zone")
        for name in catalog.services.keys { resolve(name) }
        isDirty = true
    }

    /// Addresses NodePorts are served on. The hooks that protect NodePorts look for those of the unspecified addresses,
    /// which a process binds to listen on all.
    private func nodePortAddresses(_ node: [IPAddress]) -> [IPAddress] {
        let unspecified = configuration.datapath.protectsNodePorts ? [IPAddress(v4: 0), IPAddress(v6: 0)] : []
        return unspecified + devices.nodePortAddresses(node: node)
    }

    private func resolve(_ name: ObjectName) {
        let service = catalog.services[name].map {
            resolver.resolve($0, slices: catalog.slices(of: name), context: context)
        }
        for note in service?.notes ?? [] {
            logger.debug("resolved", metadata: ["service": "\(name)", "note": "\(note)"])
        }
        // Until there is a planner to tell, everything will be.
        if isPlannerCurrent { desired.update(name, service, &changes) } else { desired.update(name, service) }
        roll.update(name, service)
    }

    // MARK: Sync

    /// Programs what is desired. Before the source has told everything there is nothing to compare with: what an
    /// earlier agent left goes on working.
    private func sync() {
        guard catalog.isSynced else { return }
        let started = ContinuousClock.now
        let isFull = !isPlannerCurrent
        do {
            reported.report(desired.conflicts.map(\.description), as: .conflicts, logger)
            reported.report(desired.problems.map(\.description), as: .objects, logger)
            let plan = try nextPlan()
            let planned = ContinuousClock.now
            let writes = plan.writes.count
            try perform(plan.writes)
            let written = ContinuousClock.now
            if !plan.endedFlows.isEmpty { end(plan.endedFlows) }
            // What there may be room for soon need not be told of, but tried again.
            isDirty = callForRoom()
            if !isDirty { reported.report(plan.problems.map(\.description), as: .capacity, logger) }
            try noteSync(failed: false)
            // Before it is told of: who reads of the sync may count on the refusals that belong to it.
            try describeNode()
            let resolving = waiting.finish(now: Int64(NodeRecord.now()), observation.metrics)
            let record = SyncRecord(
                duration: resolving + (written - started), isFull: isFull, resolve: resolving, plan: planned - started,
                write: written - planned, writes: writes)
            observation.synced(record)
            serveHealthChecks()
            if writes > 0 {
                mapsChanged()
                journal.synced(
                    writes: writes, services: desired.services.count, frontends: desired.frontendCount,
                    took: record.duration, logger)
            } else {
                journal.forget()
            }
            // A list of everything leaves behind much that was needed only while it was read.
            if writes > Self.manyWrites { malloc_trim(0) }
        } catch {
            logger.error(
                "sync failed; the maps keep what they have, and it is tried again", metadata: ["reason": "\(error)"])
            observation.metrics.syncFailures.add()
            try? noteSync(failed: true)
        }
    }

    /// Looks for what somebody else has changed in the maps.
    private func audit() {
        guard catalog.isSynced, isPlannerCurrent, !isDirty else { return }
        do {
            try auditor.tick(&kernelMaps, planner, NodeRecords(state: node, devices: devices.records))
        } catch {
            logger.error("the audit of the maps failed; they are read anew", metadata: ["reason": "\(error)"])
            isPlannerCurrent = false
            isDirty = true
        }
    }

    /// Health checks are served on all addresses, unless NodePorts are served in certain prefixes: then there.
    private func serveHealthChecks() {
        guard let checks = roll.takeHealthChecks() else { return }
        var addresses = ServiceHealthAddresses.all
        if case .prefixes = configuration.nodePortAddresses { addresses = .only(context.nodePortAddresses) }
        observation.serve(checks, on: addresses)
    }

    /// What the metrics are to know of the state of things.
    func figures() -> MetricsSnapshot {
        var figures = MetricsSnapshot()
        figures.noLocalEndpoints = roll.noLocalEndpoints
        figures.programmed = [
            "service_ports": planner.image.services.count, "frontends": planner.image.frontends.count,
            "sets": planner.image.sets.count, "backends": planner.image.backends.count,
        ]
        figures.problems = reported.counts
        figures.devices = devices.figures
        return figures
    }

    /// What is to be written: for what has changed, or for everything, the first time and after a failure.
    private func nextPlan() throws -> Plan {
        defer { changes = DesiredChanges() }
        guard !isPlannerCurrent else { return planner.plan(changes) }
        planner = try Planner(kernelMaps.read())
        isPlannerCurrent = true
        if !knowsAll {
            logger.warning("some manifests cannot be read: what was programmed before and is in no other is kept")
        }
        return planner.plan(all: DesiredChanges(all: desired), keepsOthers: !knowsAll)
    }

    /// Performs writes and keeps the planner's image in step. After a failure only the kernel knows what the maps hold,
    /// and any candidate may have been in use again.
    private func perform(_ writes: [MapWrite]) throws {
        do {
            try kernelMaps.perform(writes)
        } catch {
            isPlannerCurrent = false
            isDirty = true
            candidates = ReclaimCandidates()
            throw error
        }
        for write in writes {
            planner.performed(write)
            candidates.keep(namedBy: write)
            if case .address = write { isRangeStale = true }
        }
    }

    private func noteSync(failed: Bool) throws {
        if failed {
            meta.sync_failures += 1
        } else {
            meta.syncs += 1
            meta.last_sync = NodeRecord.now()
        }
        try NodeRecord.store(meta, in: datapath.maps)
    }

    // MARK: Collection

    /// Notes what is named by no frontend, before the flow table is looked through.
    func beginCollection() -> ReclaimCandidates {
        candidates = isPlannerCurrent ? ReclaimCandidates(planner.image) : ReclaimCandidates()
        return candidates
    }

    /// Frees what neither a frontend nor a flow has named since ``beginCollection()``.
    func endCollection(inUse: FlowUsage) {
        do {
            try reclaim(inUse: inUse)
        } catch {
            logger.error("cannot free what is unused; it is tried again", metadata: ["reason": "\(error)"])
        }
        if isDirty { sync() }
    }

    /// The same soon, when a map is full; but a shortage that lasts must not cost a look through the flow table at
    /// every change. Returns whether there may be room soon.
    private func callForRoom() -> Bool {
        let interval = Duration.seconds(configuration.collectInterval)
        guard planner.hasShortage, lastCallForRoom.map({ .now - $0 >= interval }) ?? true,
            !ReclaimCandidates(planner.image).isEmpty
        else { return false }
        lastCallForRoom = .now
        makeRoom()
        return true
    }

    private func reclaim(inUse: FlowUsage) throws {
        guard isPlannerCurrent, !candidates.isEmpty else { return }
        var inUse = inUse
        // A frontend that kept its previous answer may lead to backends that are gone; the other ids must come free, or
        // a map that was full once stays full.
        if planner.hasShortage { inUse.backends.formUnion(try kernelMaps.backends(namedBy: planner.image.sets.values)) }
        let writes = Planner.reclaim(planner.image, candidates: candidates, inUse: inUse)
        candidates = ReclaimCandidates()
        try free(writes)
        // There may be room now for what did not fit.
        if planner.hasShortage, !writes.isEmpty { isDirty = true }
        if !writes.isEmpty { logger.debug("reclaimed", metadata: ["entries": "\(writes.count)"]) }
    }

    /// Performs writes that free something.
    private func free(_ writes: [MapWrite]) throws {
        var names: [ServiceID: ServicePortName] = [:]
        for case .service(let id, nil) in writes { names[id] = planner.image.services[id] }
        guard !names.isEmpty else { return try perform(writes) }
        let counted = try ServiceReading.read(datapath.maps, names)
        try observation.freeServices(counted) { try perform(writes) }
    }
}
