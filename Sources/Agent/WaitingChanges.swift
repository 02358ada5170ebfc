internal import NetTypes
internal import Observability
internal import ServiceModel

/// What has changed since the last sync that succeeded, as far as metrics want to know.
struct WaitingChanges {
    private var services: Set<ObjectName> = []
    private var slices: Set<ObjectName> = []
    /// When what changed was changed, in nanoseconds since 1970.
    private var triggers: [(family: IPFamily, time: Int64)] = []
    /// Spent on finding out what the objects mean.
    private var resolving = Duration.zero
    /// Nanoseconds since 1970. What was changed before says nothing of how fast this agent is.
    private let started: Int64

    init(started: Int64) {
        self.started = started
    }

    /// Notes what a batch of objects changed.
    mutating func note(
        _ changes: Catalog.Changes, _ events: [CatalogEvent], resolved duration: Duration, _ metrics: AgentMetrics
    ) {
        services.formUnion(changes.serviceObjects)
        slices.formUnion(changes.endpointSlices)
        resolving += duration
        metrics.serviceChanges.add(UInt64(changes.serviceObjects.count))
        metrics.endpointChanges.add(UInt64(changes.endpointSlices.count))
        tell(metrics)
        for case .upsert(.endpointSlice(let slice)) in events where changes.endpointSlices.contains(slice.name) {
            guard let time = slice.lastChangeTriggerTime, time >= started, let family = slice.family else { continue }
            triggers.append((family, time))
        }
    }

    /// All of it is programmed. Returns how long it took to resolve.
    mutating func finish(now: Int64, _ metrics: AgentMetrics) -> Duration {
        for (family, time) in triggers {
            metrics.networkProgramming[family].observe(max(.zero, .nanoseconds(now - time)))
        }
        defer { self = WaitingChanges(started: started) }
        services = []
        slices = []
        tell(metrics)
        return resolving
    }

    private func tell(_ metrics: AgentMetrics) {
        metrics.serviceChangesPending.value = Double(services.count)
        metrics.endpointChangesPending.value = Double(slices.count)
    }
}

extension EndpointSlice {
    fileprivate var family: IPFamily? {
        switch addressType {
        case "IPv4": .v4
        case "IPv6": .v6
        default: nil
        }
    }
}
