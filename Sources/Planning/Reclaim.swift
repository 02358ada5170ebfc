public import NeedletailABI
public import NetTypes

/// The source ranges of a service port in one family.
public struct RangeGroup: Sendable, Hashable {
    /// The service port.
    public let service: ServiceID
    /// The family.
    public let family: IPFamily

    /// Puts the two together.
    public init(service: ServiceID, family: IPFamily) {
        self.service = service
        self.family = family
    }
}

/// What is no longer wanted and may be freed once nobody can be using it.
public struct ReclaimCandidates: Sendable, Equatable {
    /// Sets that no frontend names.
    public var sets: Set<SetID> = []
    /// Backends that are gone.
    public var backends: Set<BackendID> = []
    /// Frontends that are retired.
    public var frontends: Set<TransportEndpoint> = []
    /// Service ports that no frontend names.
    public var services: Set<ServiceID> = []
    /// Source ranges that no frontend asks for.
    public var ranges: Set<RangeGroup> = []

    /// Nothing.
    public init() {}

    /// What an image holds for nothing.
    public init(_ image: MapImage) {
        var namedSets: Set<SetID> = []
        var namedServices: Set<ServiceID> = []
        namedSets.reserveCapacity(image.sets.count)
        namedServices.reserveCapacity(image.services.count)
        for (key, record) in image.frontends {
            if case .set(let id) = record.external { namedSets.insert(id) }
            if case .set(let id) = record.internal { namedSets.insert(id) }
            namedServices.insert(record.service)
            if record.flags.contains(.retired) { frontends.insert(key) }
        }
        for id in image.sets.keys where !namedSets.contains(id) { sets.insert(id) }
        for id in image.services.keys where !namedServices.contains(id) { services.insert(id) }
        for (id, record) in image.backends where record.state == .gone { backends.insert(id) }
        for (id, prefixes) in image.ranges {
            for prefix in prefixes { ranges.insert(RangeGroup(service: id, family: prefix.family)) }
        }
        guard !ranges.isEmpty else { return }
        for (key, record) in image.frontends where record.flags.contains(.sourceRanges) {
            ranges.remove(RangeGroup(service: record.service, family: key.address.family))
        }
    }

    /// Takes off what a write names: it may have been in use again since, also if it is not any more.
    public mutating func keep(namedBy write: MapWrite) {
        if case .range(let id, let prefix, isAllowed: true) = write {
            ranges.remove(RangeGroup(service: id, family: prefix.family))
        }
        guard case .frontend(let key, let record) = write else { return }
        frontends.remove(key)
        if let record {
            services.remove(record.service)
            sets.subtract(record.sets)
            if record.flags.contains(.sourceRanges) {
                ranges.remove(RangeGroup(service: record.service, family: key.address.family))
            }
        }
    }

    /// Whether there is nothing to free.
    public var isEmpty: Bool {
        sets.isEmpty && backends.isEmpty && frontends.isEmpty && services.isEmpty && ranges.isEmpty
    }
}

/// What the flow table names.
public struct FlowUsage: Sendable, Equatable {
    /// Backends.
    public var backends: Set<BackendID> = []
    /// Service ports.
    public var services: Set<ServiceID> = []
    /// What clients address.
    public var frontends: Set<TransportEndpoint> = []

    /// Nothing.
    public init() {}
}

extension Planner {
    /// The writes that free what nobody uses any more.
    ///
    /// The caller takes `candidates` from an image, waits for a grace period (programs that still read an old frontend
    /// have then ended, so no new flow can come to name a candidate), and only then looks through the flow table for
    /// `inUse`. Writes performed meanwhile take candidates off (``ReclaimCandidates/keep(namedBy:)``). An id is freed when
    /// no flow names it.
    ///
    /// If the last plan had problems, a frontend that could not be turned to its new set may still lead to a backend
    /// that is gone: the caller then adds to `inUse` the backends that the tables of the image's sets name.
    public static func reclaim(
        _ image: MapImage, candidates: ReclaimCandidates, inUse: FlowUsage
    ) -> [MapWrite] {
        let now = ReclaimCandidates(image)
        var writes: [MapWrite] = []
        for key in candidates.frontends.intersection(now.frontends).subtracting(inUse.frontends).sorted() {
            writes.append(.frontend(key, nil))
        }
        for id in candidates.sets.intersection(now.sets).sorted(by: { $0.rawValue < $1.rawValue }) {
            writes.append(.set(id, nil))
        }
        // A table that still stands may name a backend; its id waits for the next round.
        if now.sets.isSubset(of: candidates.sets) {
            let free = candidates.backends.intersection(now.backends).subtracting(inUse.backends)
            for id in free.sorted(by: { $0.rawValue < $1.rawValue }) { writes.append(.backend(id, nil)) }
        }
        let unasked = candidates.ranges.intersection(now.ranges)
        for group in unasked.sorted(by: { ($0.service.rawValue, $0.family) < ($1.service.rawValue, $1.family) }) {
            for prefix in (image.ranges[group.service] ?? []).filter({ $0.family == group.family }).sorted() {
                writes.append(.range(group.service, prefix, isAllowed: false))
            }
        }
        // Another service port must not get an id that has ranges.
        let asked = now.ranges.subtracting(unasked).map(\.service)
        let unnamed = candidates.services.intersection(now.services).subtracting(inUse.services).subtracting(asked)
        for id in unnamed.sorted(by: { $0.rawValue < $1.rawValue }) { writes.append(.service(id, nil)) }
        return writes
    }
}
