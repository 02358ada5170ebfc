internal import KubernetesWire
public import Logging
public import ServiceModel
internal import Synchronization

/// Services, EndpointSlices, this Node and ServiceCIDRs of a cluster, by list and watch.
///
/// What is told is what the server said, in order, for each object: never an older state after a newer one. Nothing that
/// is known is taken back because the server fails, falls silent or talks nonsense; it is tried again until it is well. A
/// list that follows such a failure tells of what changed and deletes what vanished, in one batch.
public final class ClusterSource: Sendable {
    private struct State {
        var hasBegun = false
        var isNodeKnown = false
        /// The kinds whose first list is complete.
        var complete: Set<ObjectKind> = []
        var synced: ContinuousClock.Instant?
    }

    private let reflectors: [(kind: ObjectKind, record: Reflector.Record, make: Maker)]
    private let transport: Transport
    private let problems: ProblemLog
    private let queue: EventQueue
    private let logger: Logger
    private let nodeName: String
    private let state = Mutex(State())
    /// Told when there is nothing to wait for but the Node.
    private let ready = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    private typealias Maker = @Sendable (@escaping @Sendable (Reflector.Delivery) -> Void) -> Reflector

    /// A source that has not begun.
    ///
    /// - Parameters:
    ///   - nodeName: This node's name; only its Node object is watched.
    ///   - serviceProxyName: Services with the label `service.kubernetes.io/service-proxy-name` of this value are told of;
    ///     `nil` or empty: those without that label.
    ///   - version: The agent's version, for the user agent.
    ///   - pod: Where the service account is, when the settings name no kubeconfig.
    ///   - timing: Times to keep.
    /// - Throws: What cannot heal by itself: a kubeconfig that is not readable or names what is not there, a key or
    ///   certificate that is none. A token that is not there yet, or a server that does not answer, is waited for.
    public init(
        _ settings: ClusterSettings, nodeName: String, serviceProxyName: String? = nil, version: String,
        pod: PodEnvironment = .current, timing: ClusterTiming = ClusterTiming(), logger: Logger
    ) throws(ClusterError) {
        let access = try ClusterAccess.from(settings, pod: pod)
        if settings.kubeconfig != nil { try access.check() }
        let transport = Transport(access, settings, version: version, timing: timing)
        let problems = ProblemLog(logger, server: access.server.text, reminder: timing.reminder)
        let format = settings.contentType.wireFormat
        let kinds = [
            WatchedKind.services(proxyName: serviceProxyName), .endpointSlices, .node(nodeName), .serviceCIDRs,
        ]
        reflectors = kinds.map { watched in
            let record = Reflector.Record()
            return (
                watched.kind, record,
                { deliver in
                    Reflector(watched, transport, format: format, record, problems: problems, deliver: deliver)
                }
            )
        }
        self.transport = transport
        self.problems = problems
        self.logger = logger
        self.nodeName = nodeName
        queue = EventQueue(transport, nodeName: nodeName, logger: logger)
    }

    /// Begins, and tells what it learns, until the stream is dropped or its task is cancelled. To be called once; a
    /// second stream is empty.
    ///
    /// `synced` is told once: when Services and EndpointSlices are complete, and the Node is known or has been waited
    /// for (``ClusterTiming/node``). Batches before that are not complete.
    public func follow() -> AsyncStream<ObjectBatch> {
        let (stream, continuation) = AsyncStream.makeStream(of: ObjectBatch.self)
        let isFirst = state.withLock { state in
            defer { state.hasBegun = true }
            return !state.hasBegun
        }
        guard isFirst else {
            continuation.finish()
            return stream
        }
        let task = Task {
            await withTaskGroup { group in
                for (_, _, make) in reflectors {
                    let reflector = make { [self] in take($0, continuation) }
                    group.addTask { await reflector.run() }
                }
                group.addTask { [self] in await waitForNode(continuation) }
            }
            continuation.finish()
        }
        continuation.onTermination = { _ in task.cancel() }
        return stream
    }

    /// How it is going.
    public var status: SourceStatus {
        var kinds: [ObjectKind: SourceStatus.Kind] = [:]
        for (kind, record, _) in reflectors { kinds[kind] = record.status.withLock { $0 } }
        return SourceStatus(
            kinds: kinds, synced: state.withLock { $0.synced }, requests: transport.statistics)
    }

    /// Sends Events by the same connection.
    public var events: EventRecorder { EventRecorder(queue) }

    /// Passes on what a reflector has learned. Under the lock, so that `synced` follows what it speaks of.
    private func take(_ delivery: Reflector.Delivery, _ continuation: AsyncStream<ObjectBatch>.Continuation) {
        state.withLock { state in
            if delivery.isSynced { state.complete.insert(delivery.kind) }
            if Self.needed.isSubset(of: state.complete) { ready.continuation.yield() }
            if delivery.kind == .node, !state.isNodeKnown {
                state.isNodeKnown = delivery.events.contains { if case .upsert = $0 { true } else { false } }
            }
            tell(delivery.events, received: delivery.received, &state, continuation, isWaitOver: false)
        }
    }

    private func tell(
        _ events: [CatalogEvent], received: ContinuousClock.Instant, _ state: inout State,
        _ continuation: AsyncStream<ObjectBatch>.Continuation, isWaitOver: Bool
    ) {
        var events = events
        if state.synced == nil, Self.needed.isSubset(of: state.complete), state.isNodeKnown || isWaitOver {
            state.synced = .now
            events.append(.synced)
        }
        guard !events.isEmpty else { return }
        continuation.yield(ObjectBatch(events: events, isComplete: state.synced != nil, received: received))
    }

    /// Without these nothing can be programmed.
    private static let needed: Set<ObjectKind> = [.service, .endpointSlice]

    /// Tells `synced` without the Node when it has been waited for long enough.
    private func waitForNode(_ continuation: AsyncStream<ObjectBatch>.Continuation) async {
        for await _ in ready.stream { break }
        try? await Task.sleep(for: transport.timing.node)
        guard !Task.isCancelled else { return }
        let isLate = state.withLock { state in
            guard state.synced == nil else { return false }
            tell([], received: .now, &state, continuation, isWaitOver: true)
            return true
        }
        guard isLate else { return }
        logger.warning(
            "this node has no Node object that the API server shows; going on without its zone and addresses",
            metadata: ["node": "\(nodeName)", "waited": "\(transport.timing.node)"])
    }
}

extension ClusterAccess {
    /// Looks at what is in files beside the configuration, so that an error in it is told at the start.
    func check() throws(ClusterError) {
        let sources = try TLSMaterial.sources(self, certificate: nil, privateKey: nil)
        _ = try TLSMaterial(self, certificate: nil, privateKey: nil, sources: sources)
    }
}

extension ClusterSettings.ContentType {
    var wireFormat: WireFormat {
        switch self {
        case .protobuf: .protobuf
        case .json: .json
        }
    }
}
