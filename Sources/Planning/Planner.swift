public import Maglev
public import NeedletailABI
public import NetTypes
public import Resolver
internal import ServiceModel

/// The writes that take the maps to the desired state, in an order that is safe to be cut anywhere.
public struct Plan: Sendable {
    /// In this order.
    public internal(set) var writes: [MapWrite] = []
    /// What does not fit.
    public internal(set) var problems: [CapacityProblem] = []
    /// UDP flows that have to end once the writes are performed.
    public internal(set) var endedFlows = EndedFlows.of([])

    /// Whether the maps are as desired already.
    public var isEmpty: Bool { writes.isEmpty }
}

/// Decides which map writes lead from what the maps hold to what is desired. Pure.
///
/// Order, and why a crash between any two writes is harmless:
/// 1. names, backends, tables, set records, each kind after what it names: nothing that a packet can reach names them
///    yet;
/// 2. source ranges that are new: they let in whom the new state lets in;
/// 3. what addresses no longer are: a port is not refused that is not ours to refuse;
/// 4. frontends, one atomic write each: the old set or the new;
/// 5. frontends no longer wanted are retired: their flows go on, new ones are not theirs any more;
/// 6. source ranges that a service port with other ranges has no more;
/// 7. frontends that are restricted from now on, whose ranges are exact by now;
/// 8. what addresses are from now on: a port that is just appearing is not refused;
/// 9. backends that no set has any more change state.
///
/// Nothing is freed here: see ``reclaim(_:candidates:inUse:)``.
///
/// A planner keeps what it needs to know of the image between plans, so that the work of a plan is that of what has
/// changed. The caller performs a plan's writes and reports each one by ``performed(_:)``; when that fails midway, the
/// planner is of no use any more: read the maps and begin anew with ``init(_:)`` and ``plan(all:)``.
public struct Planner: Sendable {
    /// What the maps hold, after all writes that were performed.
    public private(set) var image: MapImage

    // What is wanted, and how often.
    private var wanted: [TransportEndpoint: Frontend] = [:]
    private var sets: [BackendSet: SetUse] = [:]
    private var backends: [TransportEndpoint: BackendUse] = [:]
    private var restrictions: [RestrictedPort: Restriction] = [:]
    /// Wanted frontends for which there was no room.
    private var unplaced: [TransportEndpoint: CapacityProblem.Resource] = [:]

    // Where it is.
    private var serviceIDs: [ServicePortName: ServiceID] = [:]
    private var setIDs: [UInt64: SetID] = [:]
    /// What the image's frontends make of each address.
    private var addressUses: [IPAddress: AddressUse] = [:]
    /// Of the image's ClusterIPs; a family is missing when its bounds are to be looked for.
    private var clusterBounds: [IPFamily: AddressBounds] = [:]

    private var freeServices: IDAllocator
    private var freeBackends: IDAllocator
    private var freeSets: IDAllocator
    private var extents: ExtentAllocator
    private var freeFrontends: [IPFamily: Int] = [:]
    private var freeRanges: [IPFamily: Int] = [:]

    /// A set that is wanted.
    private struct SetUse {
        /// How many scopes of frontends want it.
        var scopes = 0
        /// Where it is, once it is placed: its members' ids cannot change while it is wanted.
        var id: SetID?
    }

    /// An endpoint that is wanted, or that the maps have as a backend that is not gone.
    private struct BackendUse {
        /// How many wanted sets it is in.
        var sets: Int32 = 0
        /// How many service ports it serves.
        var ports: Int32 = 0
        /// Its id in the maps.
        var id: BackendID?

        var isEmpty: Bool { sets == 0 && ports == 0 && id == nil }
    }

    /// A service port in one family: its restricted frontends share their ranges.
    private struct RestrictedPort: Hashable {
        let port: ServicePortName
        let family: IPFamily
    }

    /// The ranges that restricted frontends want, each with how many want it.
    private struct Restriction {
        var frontends = 0
        var prefixes: [CIDR: Int] = [:]
    }

    /// A planner for maps that hold this, with nothing wanted yet.
    ///
    /// - Throws: when the image's extents contradict each other, as no writes of this planner can make them.
    public init(_ image: MapImage) throws(ExtentError) {
        self.image = image
        let capacity = image.capacity
        freeServices = IDAllocator(used: Set(image.services.keys.map(\.rawValue)), limit: capacity.services + 1)
        freeBackends = IDAllocator(used: Set(image.backends.keys.map(\.rawValue)), limit: capacity.backends)
        freeSets = IDAllocator(used: Set(image.sets.keys.map(\.rawValue)), limit: capacity.sets)
        extents = try image.extents()
        for family in IPFamily.allCases {
            freeFrontends[family] = capacity.frontends - image.frontends.keys.count { $0.address.family == family }
            freeRanges[family] =
                capacity.ranges - image.ranges.values.reduce(0) { $0 + $1.count { $0.family == family } }
        }
        for (key, record) in image.frontends { addressUses[key.address, default: AddressUse()].add(record, 1) }
        for (id, name) in image.services { serviceIDs[name] = id }
        // A backend that was gone and comes back is a new one: the flows that name the old id have ended.
        backends.reserveCapacity(image.backends.count)
        for (id, record) in image.backends where record.state != .gone {
            backends[record.endpoint, default: BackendUse()].id = id
        }
        for (id, record) in image.sets { setIDs[record.digest] = id }
    }

    /// The plan from `image` to `desired`.
    ///
    /// - Throws: as ``init(_:)``.
    public static func plan(from image: MapImage, to desired: DesiredState) throws(ExtentError) -> Plan {
        var planner = try Planner(image)
        return planner.plan(all: DesiredChanges(all: desired))
    }

    /// The plan to a state that is given whole, as the first of a planner: whatever else the maps hold is not wanted,
    /// unless `keepsOthers`, because it is not known yet.
    public mutating func plan(all desired: DesiredChanges, keepsOthers: Bool = false) -> Plan {
        let addresses = Set(image.addresses.keys).union(addressUses.keys)
        guard !keepsOthers else {
            var plan = plan(desired, alsoFrontends: [], alsoEndpoints: [], alsoAddresses: addresses)
            // What is not known yet may still serve.
            plan.endedFlows = .of([])
            return plan
        }
        return plan(
            desired, alsoFrontends: Set(image.frontends.keys),
            alsoEndpoints: Set(image.backends.values.lazy.map(\.endpoint)), alsoAddresses: addresses)
    }

    /// The plan for what has changed since the last one. Frontends that did not fit are tried again.
    public mutating func plan(_ changes: DesiredChanges) -> Plan {
        plan(changes, alsoFrontends: Set(unplaced.keys), alsoEndpoints: [], alsoAddresses: [])
    }

    /// The lowest and the highest ClusterIP that the maps know; `nil` where there is none.
    public mutating func clusterIPs(_ family: IPFamily) -> ClosedRange<IPAddress>? {
        if let known = clusterBounds[family] { return known.range }
        var bounds = AddressBounds()
        for (address, flags) in image.addresses where address.family == family && flags.contains(.clusterIP) {
            bounds.extend(to: address)
        }
        clusterBounds[family] = bounds
        return bounds.range
    }

    /// What the tables of wanted sets have to be, from this id on in the order of ids: so many that they have at most
    /// `slots` slots together, but at least one; and whether no further one follows.
    public func tables(from id: UInt32, slots: Int) -> (some: [(id: SetID, table: SlotTable)], isLast: Bool) {
        // Sets that differ in what they say of locality share a table.
        var wanted: [SetID: BackendSet] = [:]
        for (set, use) in sets {
            if let known = use.id, known.rawValue >= id { wanted[known] = set }
        }
        var some: [(id: SetID, table: SlotTable)] = []
        var left = slots
        for (id, set) in wanted.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            guard let record = image.sets[id] else { continue }
            left -= Int(record.slots)
            guard left >= 0 || some.isEmpty else { return (some, false) }
            let ids = set.members.compactMap { backends[$0.endpoint]?.id }
            some.append((id, SlotTable(line: record.line, slots: record.slots, set, ids: ids)))
        }
        return (some, true)
    }

    /// Whether some wanted frontend could not be programmed.
    public var hasShortage: Bool { !unplaced.isEmpty }

    /// Notes a write of a plan, or one that frees something, as performed.
    public mutating func performed(_ write: MapWrite) {
        release(write)
        image.apply(write)
    }

    private mutating func plan(
        _ changes: DesiredChanges, alsoFrontends: Set<TransportEndpoint>, alsoEndpoints: Set<TransportEndpoint>,
        alsoAddresses: Set<IPAddress>
    ) -> Plan {
        // By the ids that the flows have.
        let ended = owners(changes.ended)
        let described = alsoAddresses.union(unplaced.keys.lazy.map(\.address))
        if backends.isEmpty { backends.reserveCapacity(changes.serving.count) }
        // Endpoints that may be in no wanted set any more, or serve nothing.
        var touched = alsoEndpoints
        for (key, frontend) in changes.frontends { want(key, frontend, &touched) }
        for (endpoint, difference) in changes.serving {
            let use = update(endpoint) { $0.ports += Int32(difference) }
            if use.sets == 0 { touched.insert(endpoint) }
        }

        var steps = Steps()
        for key in alsoFrontends.union(changes.frontends.keys).sorted() {
            if let frontend = wanted[key] { place(frontend, &steps) } else { retire(key, &steps) }
        }
        takeAwayRanges(&steps)
        describe(described.union(steps.addresses.keys), &steps)
        changeStates(touched, &steps)
        var plan = Plan()
        plan.writes = steps.inOrder
        plan.endedFlows = changes.lasting.map { .allBut(owners($0)) } ?? .of(ended)
        var shortages: [CapacityProblem.Resource: Int] = [:]
        for resource in unplaced.values { shortages[resource, default: 0] += 1 }
        plan.problems = shortages.map {
            CapacityProblem(resource: $0.key, size: image.size(of: $0.key), affected: $0.value)
        }
        .sorted { $0.resource.rawValue < $1.resource.rawValue }
        return plan
    }

    /// Counts which sets, and by them which endpoints, are wanted.
    private mutating func want(
        _ key: TransportEndpoint, _ frontend: Frontend?, _ touched: inout Set<TransportEndpoint>
    ) {
        let before = wanted.removeValue(forKey: key)
        wanted[key] = frontend
        if frontend == nil { unplaced[key] = nil }
        for (frontend, difference) in [(frontend, 1), (before, -1)] {
            if let frontend { restrict(frontend, difference) }
            for set in [frontend?.external.backendSet, frontend?.internal.backendSet].compactMap({ $0 })
            where !set.isEmpty {
                let count = sets[set, default: SetUse()].scopes + difference
                sets[set, default: SetUse()].scopes = count
                if count == 0 { sets[set] = nil }
                guard count == 0 || (count == 1 && difference == 1) else { continue }
                for member in set.members {
                    let use = update(member.endpoint) { $0.sets += Int32(difference) }
                    if use.sets == 0 { touched.insert(member.endpoint) }
                }
            }
        }
    }

    /// Changes what is known of an endpoint; nothing is kept of one that is neither wanted nor in the maps.
    @discardableResult
    private mutating func update(_ endpoint: TransportEndpoint, _ change: (inout BackendUse) -> Void) -> BackendUse {
        func changed(_ use: inout BackendUse) -> BackendUse {
            change(&use)
            return use
        }
        let use = changed(&backends[endpoint, default: BackendUse()])
        if use.isEmpty { backends[endpoint] = nil }
        return use
    }

    private mutating func restrict(_ frontend: Frontend, _ difference: Int) {
        guard let allowed = frontend.allowedSources else { return }
        let port = RestrictedPort(port: frontend.servicePort, family: frontend.key.address.family)
        var restriction = restrictions[port] ?? Restriction()
        restriction.frontends += difference
        for prefix in Set(allowed) { restriction.prefixes.add(difference, for: prefix) }
        restrictions[port] = restriction.frontends == 0 ? nil : restriction
    }

    private func owners(_ served: Set<ServingEndpoint>) -> Set<FlowOwner> {
        Set(
            served.lazy.compactMap { [serviceIDs, backends] in
                guard let service = serviceIDs[$0.port], let backend = backends[$0.endpoint]?.id else { return nil }
                return FlowOwner(service: service, backend: backend)
            })
    }

    // MARK: Placing

    /// The writes of a plan, by kind: kernel maps are written a run of one kind at a time.
    private struct Steps {
        var names: [MapWrite] = []
        var backends: [MapWrite] = []
        var tables: [MapWrite] = []
        var sets: [MapWrite] = []
        var newRanges: [MapWrite] = []
        var lesserAddresses: [MapWrite] = []
        var flips: [MapWrite] = []
        var retirements: [MapWrite] = []
        var oldRanges: [MapWrite] = []
        var restrictions: [MapWrite] = []
        var greaterAddresses: [MapWrite] = []
        var states: [MapWrite] = []
        // What the frontend whose turn it is needs, until it is known that all of it fits.
        var pending: [MapWrite] = []
        var newAnswers: [BackendSet] = []
        /// Backends whose record this plan has decided.
        var decided: Set<BackendID> = []
        /// Ranges this plan adds.
        var added: [ServiceID: Set<CIDR>] = [:]
        /// Service ports with restricted frontends that have been looked at.
        var restricted: Set<RestrictedPort> = []
        /// How the frontends at an address change.
        var addresses: [IPAddress: AddressUse] = [:]

        var inOrder: [MapWrite] {
            let kinds = [
                names, backends, tables, sets, newRanges, lesserAddresses, flips, retirements, oldRanges, restrictions,
                greaterAddresses, states,
            ]
            var writes: [MapWrite] = []
            writes.reserveCapacity(kinds.reduce(0) { $0 + $1.count })
            for kind in kinds { writes += kind }
            return writes
        }

        mutating func note(_ key: TransportEndpoint, from old: FrontendRecord?, to new: FrontendRecord) {
            addresses[key.address, default: AddressUse()].add(old, -1)
            addresses[key.address, default: AddressUse()].add(new, 1)
        }
    }

    private struct Shortage: Error {
        let resource: CapacityProblem.Resource
    }

    private mutating func place(_ frontend: Frontend, _ steps: inout Steps) {
        do {
            commit(frontend, try record(for: frontend, &steps), &steps)
            unplaced[frontend.key] = nil
        } catch {
            rollBack(&steps)
            unplaced[frontend.key] = error.resource
        }
    }

    private mutating func commit(_ frontend: Frontend, _ record: FrontendRecord, _ steps: inout Steps) {
        for write in steps.pending {
            switch write {
            case .service: steps.names.append(write)
            case .backend: steps.backends.append(write)
            case .table: steps.tables.append(write)
            case .set: steps.sets.append(write)
            case .range: steps.newRanges.append(write)
            case .frontend, .address: break
            }
        }
        steps.pending.removeAll(keepingCapacity: true)
        steps.newAnswers.removeAll(keepingCapacity: true)
        let key = frontend.key
        let family = key.address.family
        if record.flags.contains(.sourceRanges) {
            steps.restricted.insert(RestrictedPort(port: frontend.servicePort, family: family))
        }
        let present = image.frontends[key]
        if present == nil { freeFrontends[family, default: 0] -= 1 }
        guard present != record else { return }
        noteRestriction(of: present, family, &steps)
        steps.note(key, from: present, to: record)
        let wasRestricted = present?.service == record.service && present?.flags.contains(.sourceRanges) == true
        if record.flags.contains(.sourceRanges), !wasRestricted {
            steps.restrictions.append(.frontend(key, record))
        } else {
            steps.flips.append(.frontend(key, record))
        }
    }

    private func noteRestriction(of present: FrontendRecord?, _ family: IPFamily, _ steps: inout Steps) {
        guard let present, present.flags.contains(.sourceRanges), let port = image.services[present.service]
        else { return }
        steps.restricted.insert(RestrictedPort(port: port, family: family))
    }

    /// Gives back what a frontend that does not fit as a whole has taken, for others that may fit.
    private mutating func rollBack(_ steps: inout Steps) {
        for write in steps.pending.reversed() {
            switch write {
            case .service(let id, let name?):
                serviceIDs[name] = nil
                freeServices.release(id.rawValue)
            case .backend(let id, let record?):
                steps.decided.remove(id)
                guard image.backends[id] == nil else { continue }
                update(record.endpoint) { $0.id = nil }
                freeBackends.release(id.rawValue)
            case .set(let id, let record?):
                setIDs[record.digest] = nil
                freeSets.release(id.rawValue)
                extents.release(Extent(base: Int(record.line), lines: record.lines))
            case .range(let id, let prefix, _):
                steps.added[id]?.remove(prefix)
                freeRanges[prefix.family, default: 0] += 1
            case .service, .backend, .set, .table, .frontend, .address: break
            }
        }
        for set in steps.newAnswers { sets[set]?.id = nil }
        steps.pending.removeAll(keepingCapacity: true)
        steps.newAnswers.removeAll(keepingCapacity: true)
    }

    private mutating func record(
        for frontend: Frontend, _ steps: inout Steps
    ) throws(Shortage) -> FrontendRecord {
        let family = frontend.key.address.family
        if image.frontends[frontend.key] == nil {
            guard freeFrontends[family, default: 0] > 0 else {
                throw Shortage(resource: family == .v4 ? .frontends4 : .frontends6)
            }
        }
        let service = try service(frontend.servicePort, &steps)
        try addRanges(frontend.allowedSources ?? [], service, &steps)
        return FrontendRecord(
            flags: FrontendFlags(frontend), service: service, external: try scope(frontend.external, &steps),
            internal: try scope(frontend.internal, &steps), affinity: frontend.affinity.seconds)
    }

    private mutating func addRanges(
        _ prefixes: [CIDR], _ service: ServiceID, _ steps: inout Steps
    ) throws(Shortage) {
        for prefix in prefixes where image.ranges[service]?.contains(prefix) != true {
            guard steps.added[service]?.contains(prefix) != true else { continue }
            guard freeRanges[prefix.family, default: 0] > 0 else {
                throw Shortage(resource: prefix.family == .v4 ? .ranges4 : .ranges6)
            }
            freeRanges[prefix.family, default: 0] -= 1
            steps.added[service, default: []].insert(prefix)
            steps.pending.append(.range(service, prefix, isAllowed: true))
        }
    }

    private mutating func service(_ name: ServicePortName, _ steps: inout Steps) throws(Shortage) -> ServiceID {
        if let id = serviceIDs[name] { return id }
        guard let free = freeServices.allocate() else { throw Shortage(resource: .services) }
        let id = ServiceID(rawValue: free)
        serviceIDs[name] = id
        steps.pending.append(.service(id, name))
        return id
    }

    private mutating func scope(_ answer: ScopeAnswer, _ steps: inout Steps) throws(Shortage) -> ScopeRecord {
        switch answer {
        case .refused(let refusal): .refuse(RefusalCode(refusal))
        case .backends(let set): set.isEmpty ? .refuse(.noEndpoints) : .set(try self.set(set, &steps))
        }
    }

    private mutating func set(_ wanted: BackendSet, _ steps: inout Steps) throws(Shortage) -> SetID {
        if let id = sets[wanted]?.id { return id }
        var ids: [BackendID] = []
        ids.reserveCapacity(wanted.members.count)
        for member in wanted.members { ids.append(try backend(member, &steps)) }
        let digest = SetDigest.digest(ids: ids, weights: wanted.members.map(\.weight))
        if let id = setIDs[digest] {
            sets[wanted]?.id = id
            steps.newAnswers.append(wanted)
            return id
        }
        let slots = MaglevSize.tableSize(forWeights: wanted.members.lazy.map(\.weight))
        guard let free = freeSets.allocate() else { throw Shortage(resource: .sets) }
        guard let line = extents.allocate(lines: SetRecord.lines(forSlots: slots, backends: ids.count)) else {
            freeSets.release(free)
            throw Shortage(resource: .slots)
        }
        let id = SetID(rawValue: free)
        steps.pending.append(
            .table(
                SlotTable(line: UInt32(line), slots: UInt32(slots), wanted, ids: ids)))
        steps.pending.append(
            .set(
                id, SetRecord(line: UInt32(line), slots: UInt32(slots), backends: UInt32(ids.count), digest: digest)))
        sets[wanted]?.id = id
        steps.newAnswers.append(wanted)
        setIDs[digest] = id
        return id
    }

    private mutating func backend(_ member: BackendSpec, _ steps: inout Steps) throws(Shortage) -> BackendID {
        let record = BackendRecord(endpoint: member.endpoint, state: .active, isLocal: member.isLocal)
        if let id = backends[member.endpoint]?.id {
            // Before the frontends turn to it: a SYN goes to active backends only. Where sets disagree whether it runs
            // on this node, the first decides: the record would change with each plan otherwise.
            if let known = image.backends[id], steps.decided.insert(id).inserted, known != record {
                steps.pending.append(.backend(id, record))
            }
            return id
        }
        guard let free = freeBackends.allocate() else { throw Shortage(resource: .backends) }
        let id = BackendID(rawValue: free)
        update(member.endpoint) { $0.id = id }
        steps.pending.append(.backend(id, record))
        return id
    }

    // MARK: Taking away

    private func retire(_ key: TransportEndpoint, _ steps: inout Steps) {
        guard var record = image.frontends[key], !record.flags.contains(.retired) else { return }
        noteRestriction(of: record, key.address.family, &steps)
        record.flags.insert(.retired)
        record.flags.remove(.sourceRanges)
        record.external = .refuse(.noEndpoints)
        record.internal = .refuse(.noEndpoints)
        steps.note(key, from: image.frontends[key], to: record)
        steps.retirements.append(.frontend(key, record))
    }

    /// Of service ports that are still restricted, by other ranges. Where nothing is restricted any more, programs may
    /// be asking for the ranges yet: they are reclaimed.
    private func takeAwayRanges(_ steps: inout Steps) {
        for port in steps.restricted {
            guard let restriction = restrictions[port], let id = serviceIDs[port.port] else { continue }
            for prefix in image.ranges[id] ?? []
            where prefix.family == port.family && restriction.prefixes[prefix] == nil {
                steps.oldRanges.append(.range(id, prefix, isAllowed: false))
            }
        }
        steps.oldRanges.sort {
            guard case .range(let one, let first, _) = $0, case .range(let other, let second, _) = $1 else {
                return false
            }
            return (first, one.rawValue) < (second, other.rawValue)
        }
    }

    /// What addresses are and are no more, by their frontends as this plan leaves them.
    private func describe(_ addresses: Set<IPAddress>, _ steps: inout Steps) {
        let incomplete = Set(unplaced.keys.lazy.map(\.address))
        for address in addresses.sorted() {
            let use = (addressUses[address] ?? AddressUse()) + (steps.addresses[address] ?? AddressUse())
            let present = image.addresses[address]
            var flags = use.flags
            // A port for which there is no room must not be refused because others of its address have found some.
            if incomplete.contains(address), present?.contains(.clusterIP) != true { flags?.remove(.clusterIP) }
            if flags?.isDisjoint(with: [.clusterIP, .loadBalancer]) == true { flags = nil }
            let change = AddressChange(address, from: present, to: flags)
            if let write = change.early { steps.lesserAddresses.append(write) }
            if let write = change.late { steps.greaterAddresses.append(write) }
        }
    }

    private mutating func changeStates(_ touched: Set<TransportEndpoint>, _ steps: inout Steps) {
        let unwanted = touched.filter { backends[$0].map { $0.sets == 0 } ?? false }
        for endpoint in unwanted.sorted() {
            guard let use = backends[endpoint], let id = use.id, let record = image.backends[id] else { continue }
            var changed = record
            changed.state = use.ports > 0 ? .terminating : .gone
            if changed.state == .gone { update(endpoint) { $0.id = nil } }
            if changed != record { steps.states.append(.backend(id, changed)) }
        }
    }

    /// What a write frees can be handed out again, and what is known of the image follows it.
    private mutating func release(_ write: MapWrite) {
        switch write {
        case .frontend(let key, let record):
            let present = image.frontends[key]
            if present != nil, record == nil { freeFrontends[key.address.family, default: 0] += 1 }
            addressUses[key.address, default: AddressUse()].add(present, -1)
            addressUses[key.address, default: AddressUse()].add(record, 1)
            if addressUses[key.address]?.isEmpty == true { addressUses[key.address] = nil }
        case .range(let id, let prefix, isAllowed: false):
            if image.ranges[id]?.contains(prefix) == true { freeRanges[prefix.family, default: 0] += 1 }
        case .address(let address, let flags):
            if flags?.contains(.clusterIP) == true {
                clusterBounds[address.family]?.extend(to: address)
            } else if clusterBounds[address.family]?.isBound(address) == true {
                clusterBounds[address.family] = nil
            }
        case .service(let id, nil):
            guard let name = image.services[id] else { return }
            serviceIDs[name] = nil
            freeServices.release(id.rawValue)
        case .backend(let id, nil):
            if image.backends[id] != nil { freeBackends.release(id.rawValue) }
        case .set(let id, nil):
            guard let record = image.sets[id] else { return }
            setIDs[record.digest] = nil
            freeSets.release(id.rawValue)
            extents.release(Extent(base: Int(record.line), lines: record.lines))
        case .service, .backend, .set, .table, .range: break
        }
    }
}

extension Dictionary where Value == Int {
    /// Adds to a count; a count of 0 has no entry. Returns the new one.
    @discardableResult
    fileprivate mutating func add(_ difference: Int, for key: Key) -> Int {
        let count = self[key, default: 0] + difference
        self[key] = count == 0 ? nil : count
        return count
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
        case .ranges4, .ranges6: capacity.ranges
        }
    }
}

extension SlotTable {
    fileprivate init(line: UInt32, slots: UInt32, _ set: BackendSet, ids: [BackendID]) {
        self.init(
            line: line, slots: slots,
            members: set.members.map { MaglevBackend(identity: $0.endpoint, weight: $0.weight) }, ids: ids)
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
    init(_ frontend: Frontend) {
        switch frontend.kind {
        case .clusterIP: self = .clusterIP
        case .nodePort: self = .nodePort
        case .loadBalancer: self = .loadBalancer
        case .externalIP: self = .externalIP
        }
        if frontend.allowedSources != nil { insert(.sourceRanges) }
        if frontend.masquerade.external { insert(.masqueradeExternal) }
        if frontend.masquerade.internal { insert(.masqueradeInternal) }
        if frontend.forwarding == .dsr { insert(.dsr) }
    }
}

extension SessionAffinity {
    /// As the map has it; 0 is none.
    fileprivate var seconds: UInt32 {
        if case .clientIP(let seconds) = self { UInt32(clamping: seconds) } else { 0 }
    }
}

extension RefusalCode {
    init(_ refusal: Refusal) {
        switch refusal {
        case .noEndpoints: self = .noEndpoints
        case .noLocalEndpointsInternal, .noLocalEndpointsExternal, .loopback: self = .noLocalEndpoints
        }
    }
}
