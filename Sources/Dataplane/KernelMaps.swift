internal import BPF
internal import Maglev
public import NeedletailABI
internal import NetTypes
public import Planning
internal import ServiceModel

/// Reads the control plane's maps back, and performs the writes of a plan on them.
public struct KernelMaps: ~Copyable {
    let maps: DatapathMaps
    var builder = MaglevBuilder()
    private let tableBuilt: @Sendable (Duration) -> Void

    /// Works on these maps. `tableBuilt` is told how long each Maglev table took.
    public init(_ maps: DatapathMaps, tableBuilt: @escaping @Sendable (Duration) -> Void = { _ in }) {
        self.maps = maps
        self.tableBuilt = tableBuilt
    }

    /// What the maps hold.
    ///
    /// - Throws: `BPFError`, or ``DatapathError/corruptMap(_:_:)`` for records that no agent writes.
    public func read() throws -> MapImage {
        let image = try snapshot()
        try Self.validate(image)
        return image
    }

    /// What the maps hold while an agent may be writing them: records may name others that have gone or are yet to
    /// come.
    ///
    /// - Throws: `BPFError`, or ``DatapathError/corruptMap(_:_:)`` for frontend keys that no agent writes.
    public func snapshot() throws -> MapImage {
        var image = MapImage(capacity: maps.capacity)
        try Self.read(maps.frontends4, into: &image)
        try Self.read(maps.frontends6, into: &image)
        try maps.sets.forEach { id, wire in
            if let record = SetRecord(wire) { image.sets[SetID(rawValue: id)] = record }
        }
        try maps.backends.forEach { id, wire in
            guard wire.state != UInt8(BackendState.free.rawValue) else { return }
            guard let record = BackendRecord(wire) else {
                throw DatapathError.corruptMap(maps.backends.name, "backend \(id) is of no known state or family")
            }
            image.backends[BackendID(rawValue: id)] = record
        }
        try maps.services.forEach { id, wire in
            if let name = ServicePortName(wire) { image.services[id] = name }
        }
        try Self.read(maps.ranges4, into: &image)
        try Self.read(maps.ranges6, into: &image)
        try Self.read(maps.addresses4, into: &image)
        try Self.read(maps.addresses6, into: &image)
        return image
    }

    private static func read<Key: WireRangeKey & BitwiseCopyable>(
        _ map: BPFMap<Key, UInt32>, into image: inout MapImage
    ) throws {
        try map.forEach { key, _ in
            guard let (service, prefix) = key.range else {
                throw DatapathError.corruptMap(map.name, "a prefix without a service")
            }
            image.ranges[service, default: []].insert(prefix)
        }
    }

    private static func read<Key: WireAddressKey & BitwiseCopyable>(
        _ map: BPFMap<Key, nt_address>, into image: inout MapImage
    ) throws {
        try map.forEach { key, wire in image.addresses[key.address] = AddressFlags(rawValue: wire.flags) }
    }

    private static func read<Key: WireFrontendKey & BitwiseCopyable>(
        _ map: BPFMap<Key, nt_frontend>, into image: inout MapImage
    ) throws {
        try map.forEach { key, wire in
            guard let endpoint = key.endpoint else {
                throw DatapathError.corruptMap(map.name, "a key of protocol unknown to this version")
            }
            image.frontends[endpoint] = FrontendRecord(wire)
        }
    }

    private static func validate(_ image: MapImage) throws {
        do {
            _ = try image.extents()
        } catch {
            throw DatapathError.corruptMap("nt_sets", "\(error)")
        }
        for (key, record) in image.frontends {
            for id in record.sets where image.sets[id] == nil {
                throw DatapathError.corruptMap(
                    Self.name(ofFrontendMap: key), "frontend \(key) names set \(id.rawValue), which does not exist")
            }
        }
    }

    private static func name(ofFrontendMap key: TransportEndpoint) -> String {
        key.address.family == .v4 ? "nt_frontends4" : "nt_frontends6"
    }

    /// Performs the writes in their order, neighbours of one kind in one system call.
    ///
    /// - Throws: at the first failure. The maps then hold some prefix of the writes (by whole entries), which is safe
    ///   to forward with; read them again before planning anew.
    public mutating func perform(_ writes: [MapWrite]) throws {
        var index = 0
        while index < writes.count {
            let kind = writes[index].kind
            let end = writes[index...].firstIndex { $0.kind != kind } ?? writes.count
            try perform(writes[index..<end], kind)
            index = end
        }
    }

    private mutating func perform(_ run: ArraySlice<MapWrite>, _ kind: MapWrite.Kind) throws {
        switch kind {
        case .table: try build(run.compactMap { if case .table(let table) = $0 { table } else { nil } })
        case .set:
            try Self.store(run, in: maps.sets) {
                if case .set(let id, let record) = $0 { (id.rawValue, record?.wire ?? nt_set()) } else { nil }
            }
        case .backend:
            try Self.store(run, in: maps.backends) {
                if case .backend(let id, let record) = $0 { (id.rawValue, record?.wire ?? nt_backend()) } else { nil }
            }
        case .service:
            // Who had the id before may have been counted.
            try maps.clearStatistics(run.lazy.compactMap { if case .service(let id, _) = $0 { id } else { nil } })
            try Self.store(run, in: maps.services) {
                if case .service(let id, let name?) = $0 { (id, name.wire) } else { nil }
            }
        case .serviceRemoval:
            let ids: [ServiceID] = run.compactMap { if case .service(let id, _) = $0 { id } else { nil } }
            try maps.services.delete(keys: ids.span)
        case .frontend(let family):
            try family == .v4 ? Self.store(run, in: maps.frontends4) : Self.store(run, in: maps.frontends6)
        case .frontendRemoval(let family):
            try family == .v4 ? Self.remove(run, from: maps.frontends4) : Self.remove(run, from: maps.frontends6)
        case .range(let family):
            try family == .v4 ? Self.store(run, in: maps.ranges4) : Self.store(run, in: maps.ranges6)
        case .rangeRemoval(let family):
            try family == .v4 ? Self.remove(run, from: maps.ranges4) : Self.remove(run, from: maps.ranges6)
        case .address(let family):
            try family == .v4 ? Self.store(run, in: maps.addresses4) : Self.store(run, in: maps.addresses6)
        case .addressRemoval(let family):
            try family == .v4 ? Self.remove(run, from: maps.addresses4) : Self.remove(run, from: maps.addresses6)
        }
    }

    private static func store<Key, Value>(
        _ run: ArraySlice<MapWrite>, in map: BPFMap<Key, Value>, _ entry: (MapWrite) -> (Key, Value)?
    ) throws {
        var keys: [Key] = []
        var values: [Value] = []
        keys.reserveCapacity(run.count)
        values.reserveCapacity(run.count)
        for case let (key, value)? in run.lazy.map(entry) {
            keys.append(key)
            values.append(value)
        }
        try map.update(keys: keys.span, values: values.span)
    }

    private static func store<Key: WireFrontendKey & BitwiseCopyable>(
        _ run: ArraySlice<MapWrite>, in map: BPFMap<Key, nt_frontend>
    ) throws {
        try store(run, in: map) { write in
            if case .frontend(let key, let record?) = write { (Key(key), record.wire(for: key)) } else { nil }
        }
    }

    private static func remove<Key: WireFrontendKey & BitwiseCopyable>(
        _ run: ArraySlice<MapWrite>, from map: BPFMap<Key, nt_frontend>
    ) throws {
        let keys: [Key] = run.compactMap { if case .frontend(let key, _) = $0 { Key(key) } else { nil } }
        try map.delete(keys: keys.span)
    }

    private static func store<Key: WireRangeKey & BitwiseCopyable>(
        _ run: ArraySlice<MapWrite>, in map: BPFMap<Key, UInt32>
    ) throws {
        try store(run, in: map) { write in
            if case .range(let service, let prefix, _) = write { (Key(service, prefix), 1) } else { nil }
        }
    }

    private static func remove<Key: WireRangeKey & BitwiseCopyable>(
        _ run: ArraySlice<MapWrite>, from map: BPFMap<Key, UInt32>
    ) throws {
        let keys: [Key] = run.compactMap {
            if case .range(let service, let prefix, _) = $0 { Key(service, prefix) } else { nil }
        }
        try map.delete(keys: keys.span)
    }

    private static func store<Key: WireAddressKey & BitwiseCopyable>(
        _ run: ArraySlice<MapWrite>, in map: BPFMap<Key, nt_address>
    ) throws {
        try store(run, in: map) { write in
            if case .address(let address, let flags?) = write {
                (Key(address), nt_address(flags: flags.rawValue))
            } else {
                nil
            }
        }
    }

    private static func remove<Key: WireAddressKey & BitwiseCopyable>(
        _ run: ArraySlice<MapWrite>, from map: BPFMap<Key, nt_address>
    ) throws {
        let keys: [Key] = run.compactMap { if case .address(let address, _) = $0 { Key(address) } else { nil } }
        try map.delete(keys: keys.span)
    }

    /// Most lines of the slot array that are mapped at once, but for a table that is larger.
    private static let linesOfWindow = 16_384

    /// Fills extents through shared memory: nothing reads them before their set records exist. Tables that follow each
    /// other are written through one mapping, as most do when there are many.
    private mutating func build(_ tables: [SlotTable]) throws {
        var rest = tables[...]
        while let first = rest.first {
            var window = first.extent
            var some = rest.prefix(1)
            for extent in rest.dropFirst().lazy.map(\.extent) {
                guard extent.lowerBound >= window.upperBound,
                    extent.upperBound - window.lowerBound <= Self.linesOfWindow
                else { break }
                window = window.lowerBound..<extent.upperBound
                some = rest.prefix(some.count + 1)
            }
            try maps.slots.withMapped(elements: window, writable: true) { bytes in
                for table in some {
                    let begun = ContinuousClock.now
                    let offset = (table.extent.lowerBound - window.lowerBound) * maps.slots.mappedStride
                    let length = table.extent.count * maps.slots.mappedStride
                    try build(table, in: UnsafeMutableRawBufferPointer(rebasing: bytes[offset..<offset + length]))
                    tableBuilt(.now - begun)
                }
            }
            rest = rest.dropFirst(some.count)
        }
    }

    private mutating func build(_ table: SlotTable, in bytes: UnsafeMutableRawBufferPointer) throws {
        let ids = table.ids.map(\.rawValue)
        let extent = bytes.bindMemory(to: UInt32.self)
        let slots = extent.extracting(..<Int(table.slots))
        var target = MutableSpan(_unsafeElements: slots)
        try builder.build(into: &target, backends: table.members.span, ids: ids.span)
        let members = extent.extracting(Self.firstMember(slots: table.slots)...)
        members.update(repeating: 0)
        for (index, id) in ids.sorted().enumerated() { members[index] = id }
    }

    /// Where in an extent the list of members begins.
    static func firstMember(slots: UInt32) -> Int {
        SetRecord.lines(for: Int(slots)) * Int(NT_SLOTS_PER_LINE)
    }

    /// The slots of a set, as backend ids.
    public func slots(of record: SetRecord) throws -> [BackendID] {
        let first = Int(record.line)
        return try maps.slots.withMapped(elements: first..<first + record.lines, writable: false) { bytes in
            bytes.bindMemory(to: UInt32.self).prefix(Int(record.slots)).map { BackendID(rawValue: $0) }
        }
    }

    /// The members of a set, in ascending order.
    public func members(of record: SetRecord) throws -> [BackendID] {
        let first = Int(record.line)
        return try maps.slots.withMapped(elements: first..<first + record.lines, writable: false) { bytes in
            bytes.bindMemory(to: UInt32.self).dropFirst(Self.firstMember(slots: record.slots))
                .prefix(Int(record.backends)).map { BackendID(rawValue: $0) }
        }
    }

    /// The backends that these sets name: those whose ids must stay whatever else is known.
    public func backends(namedBy sets: some Sequence<SetRecord>) throws -> Set<BackendID> {
        try sets.reduce(into: []) { $0.formUnion(try members(of: $1)) }
    }
}

extension SlotTable {
    /// The lines it takes, with those of its members' ids.
    var extent: Range<Int> {
        let first = Int(line)
        return first..<first + SetRecord.lines(forSlots: Int(slots), backends: ids.count)
    }
}

extension MapWrite {
    /// Writes of one kind that follow each other can share a system call.
    fileprivate enum Kind: Equatable {
        case service, serviceRemoval, backend, table, set
        case frontend(IPFamily), frontendRemoval(IPFamily)
        case range(IPFamily), rangeRemoval(IPFamily)
        case address(IPFamily), addressRemoval(IPFamily)
    }

    fileprivate var kind: Kind {
        switch self {
        case .service(_, let name): name == nil ? .serviceRemoval : .service
        case .backend: .backend
        case .table: .table
        case .set: .set
        case .frontend(let key, let record):
            record == nil ? .frontendRemoval(key.address.family) : .frontend(key.address.family)
        case .range(_, let prefix, let isAllowed):
            isAllowed ? .range(prefix.family) : .rangeRemoval(prefix.family)
        case .address(let address, let flags):
            flags == nil ? .addressRemoval(address.family) : .address(address.family)
        }
    }
}
