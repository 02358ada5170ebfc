internal import BPF
internal import Dataplane
internal import NeedletailABI
internal import NetTypes
internal import Planning
internal import ServiceModel

/// What the maps held when they were read, with what follows from it.
///
/// An agent may have been writing meanwhile: ids may name nothing. They are shown as `?` with the id.
struct Snapshot {
    let image: MapImage
    private let maps: DatapathMaps
    private let portNumbers: [ServiceID: Set<UInt16>]

    init(_ maps: DatapathMaps) throws {
        self.maps = maps
        image = try KernelMaps(maps).snapshot()
        var numbers: [ServiceID: Set<UInt16>] = [:]
        for (key, record) in image.frontends { numbers[record.service, default: []].insert(key.port) }
        portNumbers = numbers
    }

    /// `default/web:http`, `default/web` for a port without a name, `?7` for an id without a name.
    func name(of service: ServiceID) -> String {
        guard let name = image.services[service] else { return "?\(service.rawValue)" }
        return name.port.isEmpty ? "\(name.service)" : "\(name.service):\(name.port)"
    }

    /// The numbers that frontends of a service port listen on.
    func ports(of service: ServiceID) -> Set<UInt16> { portNumbers[service] ?? [] }

    /// Frontends that `matches` lets through: by service name, then kind, then address; those without a name last.
    func frontends(
        where matches: (TransportEndpoint, FrontendRecord) -> Bool
    ) -> [(key: TransportEndpoint, record: FrontendRecord)] {
        let kinds = FrontendKindName.allCases
        return image.frontends.filter(matches).map { key, record in
            let kind = kinds.firstIndex(of: FrontendKindName(record.flags)) ?? kinds.count
            return (key: key, record: record, name: image.services[record.service], kind: kind)
        }
        .sorted { a, b in
            switch (a.name, b.name) {
            case (let left?, let right?) where left != right: left < right
            case (_?, nil): true
            case (nil, _?): false
            default: (a.kind, a.key) < (b.kind, b.key)
            }
        }
        .map { ($0.key, $0.record) }
    }

    /// The slots of a set; `nil` when it is gone, or its extent is not in the array.
    func slots(of set: SetID) -> [BackendID]? {
        guard let record = image.sets[set] else { return nil }
        return try? KernelMaps(maps).slots(of: record)
    }

    /// How many slots each backend of a set owns.
    func slotCounts(of set: SetID) -> [BackendID: Int] {
        (slots(of: set) ?? []).reduce(into: [:]) { $0[$1, default: 0] += 1 }
    }

    /// The Services of the frontends that name each set.
    func servicesBySet() -> [SetID: Set<ServiceID>] {
        image.frontends.values.reduce(into: [:]) { users, record in
            for set in record.sets { users[set, default: []].insert(record.service) }
        }
    }

    /// Names of Services, each once, in order.
    var serviceNames: [ObjectName] { Set(image.services.values.map(\.service)).sorted() }

    /// The service ports a selector means, by name.
    ///
    /// - Throws: ``InspectionError/Kind/notFound``, with names that are near.
    func ports(matching selector: ServiceSelector) throws(InspectionError) -> [(id: ServiceID, name: ServicePortName)] {
        let found = image.services.filter { selector.matches($0.value, ports(of: $0.key)) }
            .map { (id: $0.key, name: $0.value) }
            .sorted { ($0.name, $0.id.rawValue) < ($1.name, $1.id.rawValue) }
        if found.isEmpty { throw missing(selector) }
        return found
    }

    private func missing(_ selector: ServiceSelector) -> InspectionError {
        let siblings = image.services.filter { $0.value.service == selector.service }
        guard siblings.isEmpty else {
            let described = siblings.map { id, name in
                let numbers = ports(of: id).sorted().map(String.init).joined(separator: ",")
                return (name.port.isEmpty ? numbers : "\(name.port) (\(numbers))") + "/\(name.transport)"
            }
            return InspectionError(
                .notFound,
                "Service \(selector.service) has no such port: it has \(described.sorted().joined(separator: ", "))")
        }
        return missing("\(selector.service)", among: serviceNames.map(\.description)) { wanted in
            serviceNames.filter { $0.name == selector.service.name && "\($0)" != wanted }.map(\.description)
        }
    }

    /// The error for a name that no Service has.
    func missing(
        _ wanted: String, among names: [String], namesakes: (String) -> [String] = { _ in [] }
    ) -> InspectionError {
        var near = namesakes(wanted)
        for name in NearNames.suggestions(for: wanted, among: names) where !near.contains(name) { near.append(name) }
        let hint =
            near.isEmpty
            ? "`needletail service list` shows those there are"
            : "did you mean \(near.prefix(3).joined(separator: ", "))?"
        return InspectionError(.notFound, "no Service \(wanted) is balanced here: \(hint)")
    }

    /// Checks that the objects a filter names exist, so that a typing error does not look like an empty answer.
    func check(namespace: String?, name: String?) throws(InspectionError) {
        guard let name else { return }
        let candidates = serviceNames.filter { namespace == nil || $0.namespace == namespace }
        guard !candidates.contains(where: { $0.name == name }) else { return }
        let wanted = namespace.map { "\($0)/\(name)" } ?? name
        let names = Set(namespace == nil ? serviceNames.map(\.name) : serviceNames.map(\.description))
        throw missing(wanted, among: names.sorted())
    }
}

/// How many flows there are, by what they name.
struct FlowCounts {
    struct Key: Hashable {
        let service: ServiceID
        let backend: BackendID
    }

    private(set) var byServiceAndBackend: [Key: Int] = [:]
    private(set) var byService: [ServiceID: Int] = [:]
    private(set) var byBackend: [BackendID: Int] = [:]

    /// Counts the clients' directions.
    init(_ maps: DatapathMaps) throws {
        try FlowTable(maps).forEach { flow in
            guard flow.direction == .forward else { return }
            byServiceAndBackend[Key(service: flow.service, backend: flow.backend), default: 0] += 1
            byService[flow.service, default: 0] += 1
            byBackend[flow.backend, default: 0] += 1
        }
    }
}
