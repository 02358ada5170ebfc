internal import Maglev
public import NeedletailABI
internal import NetTypes
public import Planning
public import Resolver
internal import ServiceModel

/// A write, or a state, that breaks a rule.
public struct Violation: Error, CustomStringConvertible {
    /// Which, and how.
    public let description: String

    /// Says what is broken.
    public init(_ description: String) { self.description = description }
}

/// The maps as plain values, with the slot array, which judges each write on its own before it takes it.
///
/// Shares no code with the planner: extents, ids and members are worked out here from the writes alone.
public struct ModelMaps: Sendable {
    /// What `KernelMaps.read` would say.
    public private(set) var image: MapImage
    /// What has been built into the slot array, by first line, as far as nothing was built over it.
    public private(set) var tables: [UInt32: SlotTable] = [:]

    /// Empty maps.
    public init(capacity: MapCapacity) { image = MapImage(capacity: capacity) }

    /// Performs a write.
    public mutating func perform(_ write: MapWrite) throws {
        switch write {
        case .service(let id, let name): try judge(id, name.map { "\($0)" })
        case .backend(let id, let record): try judge(id, record)
        case .table(let table):
            try judge(table)
            tables = tables.filter { !lines($0.value).overlaps(lines(table)) }
            tables[table.line] = table
        case .set(let id, let record): try judge(id, record)
        case .frontend(let key, let record): try judge(key, record)
        case .range(let id, let prefix, let isAllowed): try judge(id, prefix, isAllowed)
        case .address(let address, let flags): try judge(address, flags)
        }
        image.apply(write)
    }

    /// The answer of the maps.
    public func answer(_ question: Question) throws -> Answer {
        if let record = image.frontends[question.key], record.flags.contains(.sourceRanges),
            image.ranges[record.service]?.contains(where: { $0.contains(question.source) }) != true
        {
            return .outOfRange
        }
        return try answerToAll(question)
    }

    /// The same, without regard to ranges.
    func answerToAll(_ question: Question) throws -> Answer {
        guard let record = image.frontends[question.key] else {
            return image.addresses[question.key.address]?.contains(.clusterIP) == true ? .unknownPort : .notAService
        }
        guard !record.flags.contains(.retired) else { return .notAService }
        switch question.scope == .external ? record.external : record.internal {
        case .refuse(let code): return .refused(code)
        case .set(let id):
            let table = try table(of: id)
            return .spread(
                try zip(table.ids, table.members).map { id, member in
                    guard let backend = image.backends[id] else { throw Violation("\(question): no backend \(id)") }
                    return Answer.Member(endpoint: backend.endpoint, weight: member.weight)
                })
        }
    }

    /// The table of a published set.
    public func table(of id: SetID) throws -> SlotTable {
        guard let record = image.sets[id] else { throw Violation("set \(id) is named and does not exist") }
        guard let table = tables[record.line], table.slots == record.slots else {
            throw Violation("set \(id) has no table of \(record.slots) slots at line \(record.line)")
        }
        return table
    }

    /// The backends that the tables of published sets name.
    public func backendsInTables() throws -> Set<BackendID> {
        var named: Set<BackendID> = []
        for id in image.sets.keys { named.formUnion(try table(of: id).ids) }
        return named
    }

    /// Questions about all frontends of the maps and of `states`.
    public func questions(_ states: DesiredState...) -> [Question] {
        var keys = Set(image.frontends.keys)
        for state in states { keys.formUnion(state.frontends.keys) }
        return keys.sorted().flatMap { key in
            let isRestricted =
                image.frontends[key]?.flags.contains(.sourceRanges) == true
                || states.contains { $0.frontends[key]?.allowedSources != nil }
            let sources = World.sources(key.address.family)
            return (isRestricted ? sources : [sources[0]]).flatMap { source in
                [Scope.external, .internal].map { Question(key: key, scope: $0, source: source) }
            }
        }
    }

    /// The answers to the questions.
    public func answers(_ questions: [Question]) throws -> [Question: Answer] {
        var answers: [Question: Answer] = [:]
        for question in questions { answers[question] = try answer(question) }
        return answers
    }

    /// Whether the maps are what is desired, all of it and nothing else, save what awaits reclaiming.
    public func check(_ desired: DesiredState) throws {
        for question in questions(desired) {
            let (actual, wanted) = (try answer(question), desired.answer(question))
            // A frontend that is retired passes what an unknown port refuses.
            let isRetired = image.frontends[question.key]?.flags.contains(.retired) == true
            guard actual == wanted || (isRetired && wanted == .unknownPort) else {
                throw Violation("\(question): is \(actual), should be \(wanted)")
            }
        }
        var active: Set<TransportEndpoint> = []
        for frontend in desired.frontends.values {
            guard let record = image.frontends[frontend.key] else { throw Violation("\(frontend.key) is missing") }
            guard image.services[record.service] == frontend.servicePort else {
                throw Violation("\(frontend.key) belongs to \(record.service), not to \(frontend.servicePort)")
            }
            for answer in [frontend.external, frontend.internal] {
                active.formUnion(answer.backendSet.members.map(\.endpoint))
            }
            guard record.flags == flags(frontend), record.affinity == affinity(frontend) else {
                throw Violation("\(frontend.key) is \(record), not \(frontend)")
            }
            guard let allowed = frontend.allowedSources else { continue }
            let ranges = (image.ranges[record.service] ?? []).filter { $0.family == frontend.key.address.family }
            guard ranges == Set(allowed) else { throw Violation("\(frontend.key) lets in \(ranges), not \(allowed)") }
        }
        guard image.addresses == desired.addresses else {
            throw Violation("addresses are \(image.addresses), not \(desired.addresses)")
        }
        for (id, backend) in image.backends where backend.state != .gone {
            let wanted: BackendState =
                active.contains(backend.endpoint)
                ? .active : desired.backends.contains(backend.endpoint) ? .terminating : .gone
            guard backend.state == wanted else { throw Violation("backend \(id) \(backend) should be \(wanted)") }
        }
    }

    /// Whether the maps hold what is desired and not a record more.
    public func checkExact(_ desired: DesiredState) throws {
        try check(desired)
        let sets = Set(image.frontends.values.flatMap(\.sets))
        let services = Set(image.frontends.values.map(\.service))
        guard Set(image.frontends.keys) == Set(desired.frontends.keys) else { throw Violation("frontends leaked") }
        guard Set(image.sets.keys) == sets else { throw Violation("sets leaked") }
        guard Set(image.services.keys) == services else { throw Violation("services leaked") }
        var ranges: [ServiceID: Set<CIDR>] = [:]
        for frontend in desired.frontends.values where frontend.allowedSources?.isEmpty == false {
            guard let id = image.frontends[frontend.key]?.service else { continue }
            ranges[id, default: []].formUnion(frontend.allowedSources ?? [])
        }
        guard image.ranges == ranges else { throw Violation("ranges are \(image.ranges), not \(ranges)") }
        guard image.backends.values.allSatisfy({ desired.backends.contains($0.endpoint) && $0.state != .gone }) else {
            throw Violation("backends leaked")
        }
        guard Set(image.backends.values.map(\.endpoint)).count == image.backends.count else {
            throw Violation("an endpoint has two ids")
        }
    }
}

extension ModelMaps {
    private func flags(_ frontend: Frontend) -> FrontendFlags {
        var flags: FrontendFlags =
            switch frontend.kind {
            case .clusterIP: .clusterIP
            case .nodePort: .nodePort
            case .loadBalancer: .loadBalancer
            case .externalIP: .externalIP
            }
        if frontend.allowedSources != nil { flags.insert(.sourceRanges) }
        if frontend.masquerade.external { flags.insert(.masqueradeExternal) }
        if frontend.masquerade.internal { flags.insert(.masqueradeInternal) }
        if frontend.forwarding == .dsr { flags.insert(.dsr) }
        return flags
    }

    private func affinity(_ frontend: Frontend) -> UInt32 {
        if case .clientIP(let seconds) = frontend.affinity { UInt32(seconds) } else { 0 }
    }

    private func judge(_ id: ServiceID, _ prefix: CIDR, _ isAllowed: Bool) throws {
        guard image.services[id] != nil else { throw Violation("range \(prefix) of no service, \(id)") }
        let present = image.ranges[id]?.contains(prefix) == true
        guard present != isAllowed else { throw Violation("range \(prefix) of \(id) is \(present) already") }
        let held = image.ranges.values.reduce(0) { $0 + $1.count { $0.family == prefix.family } }
        guard !isAllowed || held < image.capacity.ranges else { throw Violation("range \(prefix) does not fit") }
    }

    private func judge(_ address: IPAddress, _ flags: AddressFlags?) throws {
        guard flags?.isEmpty != true, flags != image.addresses[address] else {
            throw Violation("\(address) is made \(flags as Any) from \(image.addresses[address] as Any)")
        }
        let held = image.addresses.keys.count { $0.family == address.family && $0 != address }
        guard held < image.capacity.frontends else { throw Violation("\(address) does not fit") }
    }

    /// What the frontends of an address make it.
    func truth(of address: IPAddress) -> AddressFlags {
        var flags: AddressFlags = []
        for (key, record) in image.frontends where key.address == address && !record.flags.contains(.retired) {
            if record.flags.contains(.clusterIP) { flags.insert(.clusterIP) }
            if record.flags.contains(.loadBalancer) { flags.insert(.loadBalancer) }
            if !record.sets.isEmpty { flags.insert(.endpoints) }
        }
        return flags
    }

    private func lines(_ table: SlotTable) -> Range<UInt32> {
        Self.lines(table.line, table.slots, UInt32(table.ids.count))
    }

    /// The table, and from a new line the members.
    private static func lines(_ line: UInt32, _ slots: UInt32, _ backends: UInt32) -> Range<UInt32> {
        line..<line + (slots + 15) / 16 + (backends + 15) / 16
    }

    private func judge(_ id: ServiceID, _ name: String?) throws {
        guard (1...image.capacity.services).contains(Int(id.rawValue)) else { throw Violation("service id \(id)") }
        guard let name else {
            if image.frontends.values.contains(where: { $0.service == id }) { throw Violation("\(id) is in use") }
            if image.ranges[id] != nil { throw Violation("\(id) has ranges") }
            return
        }
        if let present = image.services[id] { throw Violation("service \(id) is \(present), not \(name)") }
        if image.services.values.contains(where: { "\($0)" == name }) { throw Violation("\(name) has two ids") }
    }

    private func judge(_ id: BackendID, _ record: BackendRecord?) throws {
        guard (1..<image.capacity.backends).contains(Int(id.rawValue)) else { throw Violation("backend id \(id)") }
        let present = image.backends[id]
        guard let record else {
            guard present?.state == .gone else { throw Violation("backend \(id) is freed as \(present as Any)") }
            for set in image.sets.keys where try table(of: set).ids.contains(id) {
                throw Violation("backend \(id) is freed while set \(set) leads to it")
            }
            return
        }
        if let present, present.endpoint != record.endpoint { throw Violation("\(id) turns from \(present)") }
        if present?.state == .gone { throw Violation("the gone backend \(id) comes back under its id") }
    }

    private func judge(_ table: SlotTable) throws {
        guard table.slots > 0, Int(lines(table).upperBound) <= image.capacity.lines else {
            throw Violation("table at \(table.line) of \(table.slots) slots lies outside")
        }
        for (id, set) in image.sets where Self.lines(set.line, set.slots, set.backends).overlaps(lines(table)) {
            throw Violation("table at \(table.line) is built over set \(id)")
        }
        guard table.ids.count == table.members.count, Set(table.ids).count == table.ids.count else {
            throw Violation("table at \(table.line): \(table.members.count) members, ids \(table.ids)")
        }
        for (id, member) in zip(table.ids, table.members) where image.backends[id]?.endpoint != member.identity {
            throw Violation("table at \(table.line) names backend \(id) as \(member.identity)")
        }
    }

    private func judge(_ id: SetID, _ record: SetRecord?) throws {
        guard (1..<image.capacity.sets).contains(Int(id.rawValue)) else { throw Violation("set id \(id)") }
        guard let record else {
            if image.frontends.values.contains(where: { $0.sets.contains(id) }) {
                throw Violation("set \(id) is freed while a frontend names it")
            }
            return
        }
        guard image.sets[id] == nil else { throw Violation("set \(id) is published twice") }
        guard let table = tables[record.line], table.slots == record.slots, table.ids.count == record.backends else {
            throw Violation("set \(id) is published without its table")
        }
        for other in image.sets.keys {
            let present = try self.table(of: other)
            if present.ids == table.ids, present.members == table.members {
                throw Violation("sets \(other) and \(id) are equal")
            }
        }
    }

    private func judge(_ key: TransportEndpoint, _ record: FrontendRecord?) throws {
        guard let record else {
            guard image.frontends[key]?.flags.contains(.retired) == true else {
                throw Violation("\(key) is removed and was not retired")
            }
            return
        }
        let held = image.frontends.keys.count { $0.address.family == key.address.family && $0 != key }
        guard held < image.capacity.frontends else { throw Violation("\(key) does not fit") }
        guard image.services[record.service] != nil else { throw Violation("\(key): no service \(record.service)") }
        for set in record.sets {
            for id in try table(of: set).ids {
                guard let backend = image.backends[id], backend.state == .active else {
                    throw Violation("\(key) turns to backend \(id), which is \(image.backends[id] as Any)")
                }
            }
        }
    }
}
