public import NetTypes

/// One of a thing for each family.
public struct ByFamily<Element: Sendable>: Sendable {
    private let v4: Element
    private let v6: Element

    /// Makes both.
    public init(_ make: () -> Element) {
        v4 = make()
        v6 = make()
    }

    /// That of a family.
    public subscript(family: IPFamily) -> Element { family == .v4 ? v4 : v6 }

    func samples(_ value: (Element) -> MetricsText.Value) -> [MetricsText.Sample] {
        IPFamily.allCases.map { MetricsText.Sample([$0.label], value(self[$0])) }
    }
}

/// A sync that has succeeded.
public struct SyncRecord: Sendable, Hashable {
    /// From its begin until the maps held what is wanted.
    public var duration: Duration
    /// Whether everything was compared, and not only what had changed.
    public var isFull: Bool
    /// Of this, finding out what objects mean.
    public var resolve: Duration
    /// Of this, finding out what is to be written.
    public var plan: Duration
    /// Of this, writing it.
    public var write: Duration
    /// How many writes.
    public var writes: Int

    /// Puts them together.
    public init(
        duration: Duration, isFull: Bool, resolve: Duration = .zero, plan: Duration = .zero, write: Duration = .zero,
        writes: Int = 0
    ) {
        self.duration = duration
        self.isFull = isFull
        self.resolve = resolve
        self.plan = plan
        self.write = write
        self.writes = writes
    }
}

/// What the agent counts as it happens. Any thread may add to it.
///
/// One sync programs both families, so its figures are counted for each, as kube-proxy's two proxiers would.
public final class AgentMetrics: Sendable {
    /// From an EndpointSlice's `last-change-trigger-time` until it is programmed, once for each slice that changed.
    public let networkProgramming = ByFamily { Histogram(Buckets.networkProgramming) }
    /// EndpointSlices that changed.
    public let endpointChanges = Counter()
    /// Of these, not programmed yet.
    public let endpointChangesPending = Gauge()
    /// Services that changed.
    public let serviceChanges = Counter()
    /// Of these, not programmed yet.
    public let serviceChangesPending = Gauge()
    /// Syncs that failed.
    public let syncFailures = Counter()
    /// Computing the Maglev table of one set.
    public let maglevBuild = Histogram(Buckets.work)
    /// Passes over the flow table.
    public let collectorPass = Histogram(Buckets.sync)
    /// Entries that these removed.
    public let collectorExpired = Counter()
    /// Passes over the UDP flows.
    public let udpCleanup = ByFamily { Histogram(Buckets.sync) }
    /// Entries that these removed.
    public let udpCleanupDeleted = ByFamily { Counter() }

    private let sync = ByFamily { Histogram(Buckets.sync) }
    private let fullSync = ByFamily { Histogram(Buckets.sync) }
    private let partialSync = ByFamily { Histogram(Buckets.sync) }
    private let lastSync = ByFamily { Gauge() }
    private let lastQueued = ByFamily { Gauge() }
    private let resolve = Histogram(Buckets.work)
    private let plan = Histogram(Buckets.work)
    private let write = Histogram(Buckets.work)
    private let writes = Counter()
    private let clock: @Sendable () -> WallTime

    /// Nothing has happened. `clock` is for a test to replace.
    public init(clock: @escaping @Sendable () -> WallTime = { .now }) {
        self.clock = clock
    }

    /// Something has changed that must be programmed.
    public func queued() {
        let now = clock().timestamp
        for family in IPFamily.allCases { lastQueued[family].value = now }
    }

    /// A sync has succeeded.
    public func synced(_ record: SyncRecord) {
        let now = clock().timestamp
        for family in IPFamily.allCases {
            sync[family].observe(record.duration)
            (record.isFull ? fullSync : partialSync)[family].observe(record.duration)
            lastSync[family].value = now
        }
        resolve.observe(record.resolve)
        plan.observe(record.plan)
        write.observe(record.write)
        writes.add(UInt64(max(0, record.writes)))
    }

    func write(to text: inout MetricsText) {
        func histograms(_ all: ByFamily<Histogram>) -> [MetricsText.Sample] { all.samples { .histogram($0.value) } }
        func gauges(_ all: ByFamily<Gauge>) -> [MetricsText.Sample] { all.samples { .number($0.value) } }
        text.add(Metrics.syncDuration, histograms(sync))
        text.add(Metrics.fullSyncDuration, histograms(fullSync))
        text.add(Metrics.partialSyncDuration, histograms(partialSync))
        text.add(Metrics.lastSync, gauges(lastSync))
        text.add(Metrics.lastQueued, gauges(lastQueued))
        text.add(Metrics.networkProgramming, histograms(networkProgramming))
        text.add(Metrics.endpointChanges, .count(endpointChanges.value))
        text.add(Metrics.endpointChangesPending, .number(endpointChangesPending.value))
        text.add(Metrics.serviceChanges, .count(serviceChanges.value))
        text.add(Metrics.serviceChangesPending, .number(serviceChangesPending.value))
        text.add(
            Metrics.syncPhase,
            [("resolve", resolve), ("plan", plan), ("write", write)].map { .init([$0], .histogram($1.value)) })
        text.add(Metrics.syncFailures, .count(syncFailures.value))
        text.add(Metrics.mapWrites, .count(writes.value))
        text.add(Metrics.maglevBuild, .histogram(maglevBuild.value))
        text.add(Metrics.collectorPass, .histogram(collectorPass.value))
        text.add(Metrics.collectorExpired, .count(collectorExpired.value))
        text.add(Metrics.udpCleanupDuration, histograms(udpCleanup))
        text.add(Metrics.udpCleanupDeleted, udpCleanupDeleted.samples { .count($0.value) })
    }
}
