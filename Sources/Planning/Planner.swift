public import Maglev
internal import NeedletailABI
internal import NetTypes
public import Resolver
internal import ServiceModel

/// The writes that take the maps to the desired state, in an order that is safe to be cut anywhere.
public struct Plan: Sendable {
    /// In this order.
    public internal(set) var writes: [MapWrite] = []
    /// What does not fit.
    public internal(set) var problems: [CapacityProblem] = []

    /// Whether the maps are as desired already.
    public var isEmpty: Bool { writes.isEmpty }
}

/// Decides which map writes lead from what the maps hold to what is desired. Pure.
///
/// Order, and why a crash between any two writes is harmless:
/// 1. names, backends, tables, set records, each kind after what it names: nothing that a packet can reach names them
///    yet;
/// 2. frontends, one atomic write each: the old set or the new;
/// 3. frontends no longer wanted are retired: their flows go on, new ones are not theirs any more;
/// 4. backends that no set has any more change state.
///
/// Nothing is freed here: see ``Planner/reclaim(_:candidates:inUse:)``.
public enum Planner {
    /// The plan from `image` to `desired`.
    ///
    /// - Throws: when the image's extents contradict each other, as no writes of this planner can make them.
    public static func plan(from image: MapImage, to desired: DesiredState) throws(ExtentError) -> Plan {
        var pass = try PlanningPass(image)
        pass.program(desired)
        return pass.plan
    }
}

/// One run of the planner: the image, what has been allocated on top of it, and the writes so far.
private struct PlanningPass {
    let image: MapImage
    var plan = Plan()

    private var serviceIDs: [ServicePortName: ServiceID] = [:]
    private var backendIDs: [TransportEndpoint: BackendID] = [:]
    private var setIDs: [UInt64: SetID] = [:]
    private var answered: [BackendSet: SetID] = [:]
    private var decided: Set<BackendID> = []

    // What the frontends in turn need, by kind: kernel maps are written a run of one kind at a time.
    private var names: [MapWrite] = []
    private var backends: [MapWrite] = []
    private var tables: [MapWrite] = []
    private var sets: [MapWrite] = []
    private var flips: [MapWrite] = []
    // What the frontend whose turn it is needs, until it is known that all of it fits.
    private var pending: [MapWrite] = []
    private var newAnswers: [BackendSet] = []

    private var freeServices: IDAllocator
    private var freeBackends: IDAllocator
    private var freeSets: IDAllocator
    private var extents: ExtentAllocator
    private var freeFrontends: [IPFamily: Int] = [:]
    private var shortages: [CapacityProblem.Resource: Int] = [:]

    init(_ image: MapImage) throws(ExtentError) {
        self.image = image
        let capacity = image.capacity
        freeServices = IDAllocator(used: Set(image.services.keys.map(\.rawValue)), limit: capacity.services + 1)
        freeBackends = IDAllocator(used: Set(image.backends.keys.map(\.rawValue)), limit: capacity.backends)
        freeSets = IDAllocator(used: Set(image.sets.keys.map(\.rawValue)), limit: capacity.sets)
        extents = try image.extents()
        for family in IPFamily.allCases {
            freeFrontends[family] = capacity.frontends - image.frontends.keys.count { $0.address.family == family }
        }
        for (id, name) in image.services { serviceIDs[name] = id }
        // A backend that was gone and comes back is a new one: the flows that name the old id have ended.
        for (id, record) in image.backends where record.state != .gone { backendIDs[record.endpoint] = id }
        for (id, record) in image.sets { setIDs[record.digest] = id }
    }

    mutating func program(_ desired: DesiredState) {
        for (key, frontend) in desired.frontends.sorted(by: { $0.key < $1.key }) {
            do {
                let record = try record(for: frontend)
                commit(key, record)
            } catch {
                rollBack()
                shortages[error.resource, default: 0] += 1
            }
        }
        plan.writes = names + backends + tables + sets + flips
        retire(wanted: desired.frontends)
        changeStates(serving: desired.backends, inSets: desired.members)
        plan.problems = shortages.map {
            CapacityProblem(resource: $0.key, size: image.size(of: $0.key), affected: $0.value)
        }
        .sorted { $0.resource.rawValue < $1.resource.rawValue }
    }

    private mutating func commit(_ key: TransportEndpoint, _ record: FrontendRecord) {
        for write in pending {
            switch write {
            case .service: names.append(write)
            case .backend: backends.append(write)
            case .table: tables.append(write)
            case .set: sets.append(write)
            case .frontend: break
            }
        }
        pending.removeAll(keepingCapacity: true)
        newAnswers.removeAll(keepingCapacity: true)
        let present = image.frontends[key]
        if present == nil { freeFrontends[key.address.family, default: 0] -= 1 }
        if present != record { flips.append(.frontend(key, record)) }
    }

    /// Gives back what a frontend that does not fit as a whole has taken, for others that may fit.
    private mutating func rollBack() {
        for write in pending.reversed() {
            switch write {
            case .service(let id, let name?):
                serviceIDs[name] = nil
                freeServices.release(id.rawValue)
            case .backend(let id, let record?):
                decided.remove(id)
                guard image.backends[id] == nil else { continue }
                backendIDs[record.endpoint] = nil
                freeBackends.release(id.rawValue)
            case .set(let id, let record?):
                setIDs[record.digest] = nil
                freeSets.release(id.rawValue)
                extents.release(Extent(base: Int(record.line), lines: record.lines))
            case .service, .backend, .set, .table, .frontend: break
            }
        }
        for set in newAnswers { answered[set] = nil }
        pending.removeAll(keepingCapacity: true)
        newAnswers.removeAll(keepingCapacity: true)
    }

    private struct Shortage: Error {
        let resource: CapacityProblem.Resource
    }

    private mutating func record(for frontend: Frontend) throws(Shortage) -> FrontendRecord {
        let family = frontend.key.address.family
        if image.frontends[frontend.key] == nil {
            guard freeFrontends[family, default: 0] > 0 else {
                throw Shortage(resource: family == .v4 ? .frontends4 : .frontends6)
            }
        }
        return FrontendRecord(
            flags: FrontendFlags(frontend.kind), service: try service(frontend.servicePort),
            external: try scope(frontend.external), internal: try scope(frontend.internal))
    }

    private mutating func service(_ name: ServicePortName) throws(Shortage) -> ServiceID {
        if let id = serviceIDs[name] { return id }
        guard let free = freeServices.allocate() else { throw Shortage(resource: .services) }
        let id = ServiceID(rawValue: free)
        serviceIDs[name] = id
        pending.append(.service(id, name))
        return id
    }

    private mutating func scope(_ answer: ScopeAnswer) throws(Shortage) -> ScopeRecord {
        switch answer {
        case .refused(let refusal): .refuse(RefusalCode(refusal))
        case .backends(let set): set.isEmpty ? .refuse(.noEndpoints) : .set(try self.set(set))
        }
    }

    private mutating func set(_ wanted: BackendSet) throws(Shortage) -> SetID {
        if let id = answered[wanted] { return id }
        var ids: [BackendID] = []
        ids.reserveCapacity(wanted.members.count)
        for member in wanted.members { ids.append(try backend(member)) }
        let digest = SetDigest.digest(ids: ids, weights: wanted.members.map(\.weight))
        if let id = setIDs[digest] {
            remember(wanted, id)
            return id
        }
        let slots = MaglevSize.tableSize(forWeights: wanted.members.lazy.map(\.weight))
        guard let free = freeSets.allocate() else { throw Shortage(resource: .sets) }
        guard let line = extents.allocate(lines: SetRecord.lines(forSlots: slots)) else {
            throw Shortage(resource: .slots)
        }
        let id = SetID(rawValue: free)
        pending.append(
            .table(
                SlotTable(
                    line: UInt32(line), slots: UInt32(slots),
                    members: wanted.members.map { MaglevBackend(identity: $0.endpoint, weight: $0.weight) }, ids: ids)))
        pending.append(
            .set(
                id, SetRecord(line: UInt32(line), slots: UInt32(slots), backends: UInt32(ids.count), digest: digest)))
        remember(wanted, id)
        setIDs[digest] = id
        return id
    }

    private mutating func remember(_ set: BackendSet, _ id: SetID) {
        answered[set] = id
        newAnswers.append(set)
    }

    private mutating func backend(_ member: BackendSpec) throws(Shortage) -> BackendID {
        let record = BackendRecord(endpoint: member.endpoint, state: .active, isLocal: member.isLocal)
        if let id = backendIDs[member.endpoint] {
            // Before the frontends turn to it: a SYN goes to active backends only. Where sets disagree whether it runs
            // on this node, the first decides: the record would change with each plan otherwise.
            if let known = image.backends[id], decided.insert(id).inserted, known != record {
                pending.append(.backend(id, record))
            }
            return id
        }
        guard let free = freeBackends.allocate() else { throw Shortage(resource: .backends) }
        let id = BackendID(rawValue: free)
        backendIDs[member.endpoint] = id
        pending.append(.backend(id, record))
        return id
    }

    private mutating func retire(wanted: [TransportEndpoint: Frontend]) {
        for (key, record) in image.frontends.sorted(by: { $0.key < $1.key }) {
            guard wanted[key] == nil, !record.flags.contains(.retired) else { continue }
            var retired = record
            retired.flags.insert(.retired)
            retired.external = .refuse(.noEndpoints)
            retired.internal = .refuse(.noEndpoints)
            plan.writes.append(.frontend(key, retired))
        }
    }

    private mutating func changeStates(serving: Set<TransportEndpoint>, inSets: Set<TransportEndpoint>) {
        for (id, record) in image.backends.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            guard record.state != .gone, !inSets.contains(record.endpoint) else { continue }
            var changed = record
            changed.state = serving.contains(record.endpoint) ? .terminating : .gone
            if changed != record { plan.writes.append(.backend(id, changed)) }
        }
    }
}

extension MapImage {
    /// The slot array's extents as the set records say.
    ///
    /// - Throws: when they overlap or reach beyond the array.
    public func extents() throws(ExtentError) -> ExtentAllocator {
        try ExtentAllocator(
            capacity: capacity.lines, occupied: sets.values.map { Extent(base: Int($0.line), lines: $0.lines) })
    }

    func size(of resource: CapacityProblem.Resource) -> Int {
        switch resource {
        case .frontends4, .frontends6: capacity.frontends
        case .sets: capacity.sets
        case .slots: capacity.lines * Int(NT_SLOTS_PER_LINE)
        case .backends: capacity.backends
        case .services: capacity.services
        }
    }
}

extension DesiredState {
    /// Every endpoint that some frontend leads to.
    fileprivate var members: Set<TransportEndpoint> {
        var members: Set<TransportEndpoint> = []
        var seen: Set<BackendSet> = []
        for frontend in frontends.values {
            for answer in [frontend.external, frontend.internal] where seen.insert(answer.backendSet).inserted {
                members.formUnion(answer.backendSet.members.lazy.map(\.endpoint))
            }
        }
        return members
    }
}

extension ExtentAllocator {
    /// Gives back an extent that was allocated.
    fileprivate mutating func release(_ extent: Extent) {
        do {
            try free(base: extent.base, lines: extent.lines)
        } catch {
            assertionFailure("\(error)")
        }
    }
}

extension FrontendFlags {
    init(_ kind: FrontendKind) {
        switch kind {
        case .clusterIP: self = .clusterIP
        case .nodePort: self = .nodePort
        case .loadBalancer: self = .loadBalancer
        case .externalIP: self = .externalIP
        }
    }
}

extension RefusalCode {
    init(_ refusal: Refusal) {
        switch refusal {
        case .noEndpoints: self = .noEndpoints
        case .noLocalEndpointsInternal, .noLocalEndpointsExternal: self = .noLocalEndpoints
        case .noLocalBackend: self = .noLocalBackend
        }
    }
}
