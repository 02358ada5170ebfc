internal import BPF
internal import Glibc
internal import Maglev
internal import NeedletailABI
internal import NetTypes
public import Planning
internal import ServiceModel

/// Compares what the control plane's maps hold with what the agent has put there, a part at a time, and finds what
/// somebody else has changed.
///
/// To be run by the only writer of the maps, between its writes: what it finds is then nobody's work in progress.
/// Records are compared byte by byte; Maglev tables are computed anew, a bounded number of slots at a time, in turn.
/// Tables that only frontends without room for their new answer name are left out: their weights are not known any more.
public struct MapAudit: Sendable {
    /// What is looked through at a time, in the order in which one names the other.
    public enum Part: String, Sendable, Hashable, CaseIterable {
        /// Names of service ports.
        case services
        /// Backends.
        case backends
        /// Some of the Maglev tables, and their lists of members.
        case tables
        /// Records of backend sets.
        case sets
        /// Source ranges.
        case ranges
        /// Frontends.
        case frontends
        /// What addresses are.
        case addresses
        /// What the programs are told of devices.
        case devices
        /// What the programs are told of the node.
        case node
    }

    /// Slots of Maglev tables that are computed anew at a time, and at least one table.
    public static let slotsPerStep = 262_144

    /// The part whose turn it is.
    public private(set) var next = Part.services
    /// How often all parts have had their turn. Of tables, each turn has but some.
    public private(set) var rounds = 0
    /// Tables of lower ids have had their turn.
    private var nextTable: UInt32 = 0

    /// Nothing has been looked at yet.
    public init() {}

    /// Looks through the part whose turn it is.
    ///
    /// - Parameters:
    ///   - planner: Whose writes to these maps have all been performed.
    ///   - node: What has been written of the node and its devices.
    /// - Returns: what is to be put right by ``KernelMaps/repair(_:)``.
    /// - Throws: `BPFError`.
    public mutating func step(
        _ maps: inout KernelMaps, _ planner: Planner, _ node: NodeRecords
    ) throws -> [MapDifference] {
        let part = next
        let parts = Part.allCases
        next = parts[((parts.firstIndex(of: part) ?? 0) + 1) % parts.count]
        if next == parts[0] { rounds += 1 }
        guard part == .tables else { return try maps.differences(from: planner.image, node, in: part) }
        let tables = planner.tables(from: nextTable, slots: Self.slotsPerStep)
        nextTable = tables.isLast ? 0 : (tables.some.last?.id.rawValue ?? 0) + 1
        return try maps.differences(in: tables.some)
    }

    /// Looks through all parts, of the tables as many as ``step(_:_:_:)`` does.
    public mutating func run(
        _ maps: inout KernelMaps, _ planner: Planner, _ node: NodeRecords
    ) throws -> [MapDifference] {
        var differences: [MapDifference] = []
        for _ in Part.allCases { differences += try step(&maps, planner, node) }
        return differences
    }
}

extension KernelMaps {
    fileprivate func differences(
        from expected: MapImage, _ node: NodeRecords, in part: MapAudit.Part
    ) throws -> [MapDifference] {
        var differences: [MapDifference] = []
        switch part {
        case .services: try checkServices(expected, &differences)
        case .backends: try checkBackends(expected, &differences)
        case .sets: try checkSets(expected, &differences)
        case .ranges:
            try Self.checkRanges(maps.ranges4, .v4, expected, &differences)
            try Self.checkRanges(maps.ranges6, .v6, expected, &differences)
        case .frontends:
            try Self.checkFrontends(maps.frontends4, expected, &differences)
            try Self.checkFrontends(maps.frontends6, expected, &differences)
        case .addresses:
            try Self.checkAddresses(maps.addresses4, .v4, expected, &differences)
            try Self.checkAddresses(maps.addresses6, .v6, expected, &differences)
        case .devices: try checkDevices(node.devices, &differences)
        case .node: try checkNode(node.state, &differences)
        case .tables: break
        }
        return differences
    }

    private func checkServices(_ expected: MapImage, _ differences: inout [MapDifference]) throws {
        var known = 0
        try maps.services.forEach { id, wire in
            let name = expected.services[id]
            if name != nil { known += 1 }
            guard name.map({ isSame($0.wire, wire) }) != true else { return }
            let found = ServicePortName(wire).flatMap { isSame($0.wire, wire) ? $0 : nil }
            differences.append(.service(id, found: found.map { .record($0) } ?? .unreadable, expected: name))
        }
        guard known < expected.services.count else { return }
        for (id, name) in expected.services where try maps.services.lookup(id) == nil {
            differences.append(.service(id, found: .nothing, expected: name))
        }
    }

    private func checkBackends(_ expected: MapImage, _ differences: inout [MapDifference]) throws {
        let free = nt_backend()
        try maps.backends.forEach { id, wire in
            let record = expected.backends[BackendID(rawValue: id)]
            guard !isSame(record?.wire ?? free, wire) else { return }
            let found = BackendRecord(wire).flatMap { isSame($0.wire, wire) ? $0 : nil }
            differences.append(
                .backend(
                    BackendID(rawValue: id),
                    found: found.map { .record($0) } ?? (isSame(wire, free) ? .nothing : .unreadable),
                    expected: record))
        }
    }

    private func checkSets(_ expected: MapImage, _ differences: inout [MapDifference]) throws {
        let free = nt_set()
        try maps.sets.forEach { id, wire in
            let record = expected.sets[SetID(rawValue: id)]
            guard !isSame(record?.wire ?? free, wire) else { return }
            let found = SetRecord(wire).flatMap { isSame($0.wire, wire) ? $0 : nil }
            differences.append(
                .set(
                    SetID(rawValue: id),
                    found: found.map { .record($0) } ?? (isSame(wire, free) ? .nothing : .unreadable),
                    expected: record))
        }
    }

    private static func checkFrontends<Key: WireFrontendKey & BitwiseCopyable>(
        _ map: BPFMap<Key, nt_frontend>, _ expected: MapImage, _ differences: inout [MapDifference]
    ) throws {
        var known = 0
        try map.forEach { key, wire in
            guard let endpoint = key.endpoint, isSame(Key(endpoint), key) else {
                differences.append(.foreignKey(map: map.name, bytes(key)))
                return
            }
            let record = expected.frontends[endpoint]
            if record != nil { known += 1 }
            guard record.map({ isSame($0.wire(for: endpoint), wire) }) != true else { return }
            let found = FrontendRecord(wire)
            differences.append(
                .frontend(
                    endpoint, found: isSame(found.wire(for: endpoint), wire) ? .record(found) : .unreadable,
                    expected: record))
        }
        let wanted = expected.frontends.lazy.filter { $0.key.address.family == Key.family }
        guard known < wanted.count else { return }
        for (key, record) in wanted where try map.lookup(Key(key)) == nil {
            differences.append(.frontend(key, found: .nothing, expected: record))
        }
    }

    private static func checkRanges<Key: WireRangeKey & BitwiseCopyable>(
        _ map: BPFMap<Key, UInt32>, _ family: IPFamily, _ expected: MapImage, _ differences: inout [MapDifference]
    ) throws {
        var seen: [ServiceID: Set<CIDR>] = [:]
        try map.forEach { key, _ in
            guard let (service, prefix) = key.range else {
                differences.append(.foreignKey(map: map.name, bytes(key)))
                return
            }
            seen[service, default: []].insert(prefix)
            if expected.ranges[service]?.contains(prefix) != true {
                differences.append(.range(service, prefix, isPresent: true))
            }
        }
        for (service, prefixes) in expected.ranges {
            for prefix in prefixes where prefix.family == family && seen[service]?.contains(prefix) != true {
                differences.append(.range(service, prefix, isPresent: false))
            }
        }
    }

    private static func checkAddresses<Key: WireAddressKey & BitwiseCopyable>(
        _ map: BPFMap<Key, nt_address>, _ family: IPFamily, _ expected: MapImage,
        _ differences: inout [MapDifference]
    ) throws {
        var known = 0
        try map.forEach { key, wire in
            let flags = expected.addresses[key.address]
            if flags != nil { known += 1 }
            guard flags?.rawValue != wire.flags else { return }
            differences.append(
                .address(key.address, found: AddressFlags(rawValue: wire.flags), expected: flags))
        }
        let wanted = expected.addresses.lazy.filter { $0.key.family == family }
        guard known < wanted.count else { return }
        for (address, flags) in wanted where try map.lookup(Key(address)) == nil {
            differences.append(.address(address, found: nil, expected: flags))
        }
    }

    private func checkDevices(_ expected: [UInt32: DeviceRecord], _ differences: inout [MapDifference]) throws {
        var missing = expected
        try maps.devices.forEach { index, wire in
            let record = missing.removeValue(forKey: index)
            guard record.map({ isSame($0.wire, wire) }) != true else { return }
            let found = DeviceRecord(wire)
            differences.append(
                .device(index, found: isSame(found.wire, wire) ? .record(found) : .unreadable, expected: record))
        }
        for (index, record) in missing.sorted(by: { $0.key < $1.key }) {
            differences.append(.device(index, found: .nothing, expected: record))
        }
    }

    private func checkNode(_ expected: NodeState, _ differences: inout [MapDifference]) throws {
        let wire = try maps.node.lookup(0) ?? nt_node()
        guard !isSame(expected.wire, wire) else { return }
        let found = NodeState(wire)
        let isWritten = !isSame(nt_node(), wire)
        differences.append(
            .node(
                found: isSame(found.wire, wire) ? .record(found) : isWritten ? .unreadable : .nothing,
                expected: expected))
    }

    // MARK: Tables

    fileprivate mutating func differences(in tables: [(id: SetID, table: SlotTable)]) throws -> [MapDifference] {
        var differences: [MapDifference] = []
        for (id, table) in tables {
            let wrong = try wrongElements(of: table).count
            if wrong > 0 { differences.append(.table(id, table, wrong: wrong)) }
        }
        return differences
    }

    /// The places in a table's extent, counted in ids, where another id should be; and which.
    private mutating func wrongElements(of table: SlotTable) throws -> [(index: Int, id: UInt32)] {
        let ids = table.ids.map(\.rawValue)
        var slots = [UInt32](repeating: 0, count: Int(table.slots))
        var span = slots.mutableSpan
        try builder.build(into: &span, backends: table.members.span, ids: ids.span)
        let first = Self.firstMember(slots: table.slots)
        var wrong: [(index: Int, id: UInt32)] = []
        try maps.slots.withMapped(elements: table.extent, writable: false) { bytes in
            let extent = bytes.bindMemory(to: UInt32.self)
            for (index, id) in slots.enumerated() where extent[index] != id { wrong.append((index, id)) }
            for (index, id) in ids.sorted().enumerated() where extent[first + index] != id {
                wrong.append((first + index, id))
            }
            for index in first + ids.count..<extent.count where extent[index] != 0 { wrong.append((index, 0)) }
        }
        return wrong
    }

    // MARK: Repair

    /// Puts right what an audit has found, in an order that never makes anything worse
    /// (``MapDifference/inOrder(_:)``). Flows that began meanwhile stay where they were sent.
    ///
    /// - Throws: at the first failure; what is left is found by the next audit.
    public mutating func repair(_ differences: [MapDifference]) throws {
        for difference in MapDifference.inOrder(differences) { try repair(difference) }
    }

    private mutating func repair(_ difference: MapDifference) throws {
        switch difference {
        // Not as a plan's write, which begins the port's statistics anew.
        case .service(let id, _, let name?): try maps.services.update(id, name.wire)
        case .service(let id, _, nil): try maps.services.delete(id)
        case .table(_, let table, _): try patch(table)
        case .backend(let id, _, let record): try perform([.backend(id, record)])
        case .set(let id, _, let record): try perform([.set(id, record)])
        case .frontend(let key, _, let record): try perform([.frontend(key, record)])
        case .range(let id, let prefix, let isPresent): try perform([.range(id, prefix, isAllowed: !isPresent)])
        case .address(let address, _, let flags): try perform([.address(address, flags)])
        case .device(let index, _, let record?): try maps.devices.update(index, record.wire)
        case .device(let index, _, nil): try maps.devices.delete(index)
        case .node(_, let state): try maps.store(state)
        case .foreignKey(let map, let key): try removeKey(key, from: map)
        }
    }

    /// Element by element: programs are reading the table, and each store sends a slot to its backend.
    private mutating func patch(_ table: SlotTable) throws {
        let wrong = try wrongElements(of: table)
        try maps.slots.withMapped(elements: table.extent, writable: true) { bytes in
            let extent = bytes.bindMemory(to: UInt32.self)
            for (index, id) in wrong { extent[index] = id }
        }
    }

    private func removeKey(_ bytes: [UInt8], from map: String) throws {
        func remove<Key: BitwiseCopyable, Value>(_ map: BPFMap<Key, Value>) throws {
            guard bytes.count == MemoryLayout<Key>.size else { return }
            let key = bytes.withUnsafeBytes { $0.loadUnaligned(as: Key.self) }
            try map.delete(key)
        }
        switch map {
        case maps.frontends4.name: try remove(maps.frontends4)
        case maps.frontends6.name: try remove(maps.frontends6)
        case maps.ranges4.name: try remove(maps.ranges4)
        case maps.ranges6.name: try remove(maps.ranges6)
        default: break
        }
    }
}

/// Whether two records are the same bytes: none of them has any that mean nothing (`LayoutTests`).
private func isSame<Record: BitwiseCopyable>(_ a: Record, _ b: Record) -> Bool {
    withUnsafeBytes(of: a) { a in
        withUnsafeBytes(of: b) { b in
            guard let first = a.baseAddress, let second = b.baseAddress else { return true }
            return memcmp(first, second, a.count) == 0
        }
    }
}

private func bytes<Key: BitwiseCopyable>(_ key: Key) -> [UInt8] { withUnsafeBytes(of: key) { Array($0) } }
