public import NetTypes
public import ServiceModel

/// What a change of Services does to the desired state: all that a planner has to look at.
public struct DesiredChanges: Sendable {
    /// Frontends that are new or other than before; `nil` where there is none any more.
    public private(set) var frontends: [TransportEndpoint: Frontend?] = [:]
    /// How many more, or fewer, service ports each endpoint serves.
    public private(set) var serving: [TransportEndpoint: Int] = [:]
    /// Endpoints that serve a UDP port no more, or whose port is gone: the flows of that port to them have to end.
    public private(set) var ended: Set<ServingEndpoint> = []
    /// Of everything there is, instead of a change: what flows of UDP ports may be on; all others have to end.
    public private(set) var lasting: Set<ServingEndpoint>?

    /// No change.
    public init() {}

    /// Everything there is in a state, as a change from nothing.
    public init(all desired: DesiredState) {
        frontends = desired.frontends.mapValues { Optional($0) }
        noteAll(desired.serving)
    }

    /// Everything there is in a tracker, as a change from nothing.
    public init(all desired: DesiredTracker) {
        lasting = []
        frontends.reserveCapacity(desired.frontendCount)
        desired.forEachFrontend { frontends.updateValue($1, forKey: $0) }
        serving.reserveCapacity(
            desired.services.values.reduce(0) { $0 + $1.serving.values.reduce(0) { $0 + $1.count } })
        for service in desired.services.values { noteAll(service.serving) }
    }

    private mutating func noteAll(_ served: [ServicePortName: Set<TransportEndpoint>]) {
        var lasting = self.lasting ?? []
        self.lasting = nil
        for (port, endpoints) in served {
            for endpoint in endpoints {
                serving[endpoint, default: 0] += 1
                if port.transport == .udp { lasting.insert(ServingEndpoint(port: port, endpoint: endpoint)) }
            }
        }
        self.lasting = lasting
    }

    /// Whether there is nothing to do.
    public var isEmpty: Bool { frontends.isEmpty && serving.isEmpty && ended.isEmpty && lasting == nil }

    fileprivate mutating func note(_ key: TransportEndpoint, _ frontend: Frontend?) {
        frontends.updateValue(frontend, forKey: key)
    }

    fileprivate mutating func note(_ endpoint: TransportEndpoint, serves difference: Int, _ port: ServicePortName) {
        let sum = serving[endpoint, default: 0] + difference
        serving[endpoint] = sum == 0 ? nil : sum
        guard port.transport == .udp else { return }
        // One that comes back before anything was planned has never been away.
        let served = ServingEndpoint(port: port, endpoint: endpoint)
        if difference < 0 { ended.insert(served) } else { ended.remove(served) }
    }
}

/// The desired state, kept Service by Service: the work of an update is that of the Service's own frontends and
/// endpoints, however many Services there are.
public struct DesiredTracker: Sendable {
    /// Each Service by itself.
    public private(set) var services: [ObjectName: ResolvedService] = [:]
    /// Who has each frontend.
    private var holders: [TransportEndpoint: ObjectName] = [:]
    /// Frontends that several Services claim, with all of them.
    private var contested: [TransportEndpoint: Set<ObjectName>] = [:]
    /// Services that have something to report.
    private var notable: Set<ObjectName> = []

    /// Nothing is desired.
    public init() {}

    /// The number of frontends.
    public var frontendCount: Int { holders.count }

    /// Replaces a Service, or takes it away.
    public mutating func update(_ name: ObjectName, _ service: ResolvedService?) {
        replace(name, service) { _, _ in }
    }

    /// Replaces a Service, or takes it away, and adds to `changes` what that changes.
    public mutating func update(_ name: ObjectName, _ service: ResolvedService?, _ changes: inout DesiredChanges) {
        let before = replace(name, service) { changes.note($0, $1) }
        let (was, serves) = (before?.serving ?? [:], service?.serving ?? [:])
        for (port, endpoints) in was where serves[port] != endpoints {
            for endpoint in endpoints.subtracting(serves[port] ?? []) { changes.note(endpoint, serves: -1, port) }
        }
        for (port, endpoints) in serves where was[port] != endpoints {
            for endpoint in endpoints.subtracting(was[port] ?? []) { changes.note(endpoint, serves: 1, port) }
        }
    }

    /// Tells `note` of each frontend that is new or other, or gone. Returns what the Service was before.
    @discardableResult
    private mutating func replace(
        _ name: ObjectName, _ service: ResolvedService?, _ note: (TransportEndpoint, Frontend?) -> Void
    ) -> ResolvedService? {
        let before = services.removeValue(forKey: name)
        services[name] = service
        let isNotable = service.map { !$0.conflicts.isEmpty || !$0.problems.isEmpty } ?? false
        if isNotable { notable.insert(name) } else { notable.remove(name) }
        let samePlace = before?.creationTimestamp == service?.creationTimestamp
        for old in before?.frontends ?? [] where service?.frontend(old.key) == nil {
            note(old.key, reassign(old.key, name, claims: false))
        }
        for new in service?.frontends ?? [] where !samePlace || before?.frontend(new.key) != new {
            note(new.key, reassign(new.key, name, claims: true))
        }
        return before
    }

    /// Who has a frontend, now that a Service claims it, or does so no more.
    private mutating func reassign(_ key: TransportEndpoint, _ name: ObjectName, claims: Bool) -> Frontend? {
        // Mostly, nobody else is concerned.
        if contested[key] == nil, holders[key].map({ $0 == name }) ?? true {
            let frontend = claims ? services[name]?.frontend(key) : nil
            holders[key] = frontend.map { _ in name }
            return frontend
        }
        var claimants = contested[key] ?? Set(holders[key].map { [$0] } ?? [])
        if claims { claimants.insert(name) } else { claimants.remove(name) }
        contested[key] = claimants.count > 1 ? claimants : nil
        let winner = claimants.compactMap { claim(key, $0) }.min { $0.0 < $1.0 }?.1
        holders[key] = winner?.servicePort.service
        return winner
    }

    private func claim(_ key: TransportEndpoint, _ name: ObjectName) -> (Precedence, Frontend)? {
        guard let service = services[name], let frontend = service.frontend(key) else { return nil }
        return (Precedence(frontend, service), frontend)
    }

    /// Frontends wanted twice, in order.
    public var conflicts: [FrontendConflict] {
        var conflicts = notable.flatMap { services[$0]?.conflicts ?? [] }
        for (key, claimants) in contested {
            guard let holder = holders[key], let winner = services[holder]?.frontend(key) else { continue }
            for name in claimants where name != holder {
                if let loser = services[name]?.frontend(key) {
                    conflicts.append(FrontendConflict(winner: winner, loser: loser))
                }
            }
        }
        return conflicts.sorted()
    }

    /// Values that could not be used, in order.
    public var problems: [ObjectProblem] {
        notable.flatMap { services[$0]?.problems ?? [] }.sorted()
    }

    fileprivate func forEachFrontend(_ body: (TransportEndpoint, Frontend) -> Void) {
        for (key, name) in holders {
            if let frontend = services[name]?.frontend(key) { body(key, frontend) }
        }
    }

    /// The whole of it.
    public var state: DesiredState {
        var state = DesiredState()
        state.services = services
        for service in services.values { state.serving.merge(service.serving) { $0.union($1) } }
        forEachFrontend { state.frontends[$0] = $1 }
        state.conflicts = conflicts
        state.problems = problems
        return state
    }
}

extension ResolvedService {
    /// The frontend of a key; they are in the order of their keys.
    fileprivate func frontend(_ key: TransportEndpoint) -> Frontend? {
        var (low, high) = (0, frontends.count)
        while low < high {
            let middle = (low + high) / 2
            if frontends[middle].key < key { low = middle + 1 } else { high = middle }
        }
        return low < frontends.count && frontends[low].key == key ? frontends[low] : nil
    }
}
