internal import Dataplane
internal import NeedletailABI
internal import NetTypes
internal import Planning
internal import ServiceModel

/// A backend and who uses it.
public struct BackendView: Encodable, Sendable {
    /// Its id.
    public let id: UInt32
    /// Its address.
    public let address: String
    /// Its port.
    public let port: UInt16
    /// `TCP` or `UDP`.
    public let `protocol`: String
    /// `active`, `terminating` or `gone`.
    public let state: BackendStateName
    /// Whether it runs on this node.
    public let local: Bool
    /// The service ports whose frontends lead to it, by name.
    public let services: [String]
    /// The sets it is a member of, by id.
    public let sets: [UInt32]
    /// Slots it owns in all of them together.
    public let slots: Int
    /// The same in percent of their slots.
    public let share: Double
    /// Flows it has.
    public let flows: Int
    let endpoint: TransportEndpoint

    enum CodingKeys: String, CodingKey {
        case id, address, port, `protocol`, state, local, services, sets, slots, share, flows
    }
}

/// Backends, one to a row.
public struct BackendListReport: Report {
    /// By endpoint, then id.
    public let backends: [BackendView]

    /// One row for each backend; two of its services in normal tables, all in wide ones.
    public func text(_ detail: Detail) -> String {
        var table = TextTable(
            [
                .left("BACKEND"), .right("ID"), .left("STATE"), .left("LOCAL"), .right("SLOTS"), .right("SHARE"),
                .right("FLOWS"), .left("SETS").wide, .left("SERVICES"),
            ], detail)
        for backend in backends {
            let names = backend.services
            let rest = detail == .wide ? 0 : names.count - 2
            let services = (rest > 0 ? names.prefix(2) + ["+\(rest) more"] : names[...]).joined(separator: ",")
            table.add([
                "\(backend.endpoint)", "\(backend.id)", backend.state.rawValue, backend.local ? "yes" : "no",
                "\(backend.slots)", Quantity.percent(backend.share), "\(backend.flows)",
                backend.sets.map(String.init).joined(separator: ","), services.isEmpty ? "-" : services,
            ])
        }
        return table.render()
    }
}

/// What the sets say about each backend.
private struct Memberships {
    struct Membership {
        var sets: [UInt32] = []
        var services: Set<ServiceID> = []
        var slots = 0
        var slotsOfSets = 0
    }

    private(set) var byBackend: [BackendID: Membership] = [:]

    init(_ snapshot: Snapshot) {
        let users = snapshot.servicesBySet()
        for (id, record) in snapshot.image.sets.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            for (backend, slots) in snapshot.slotCounts(of: id) {
                byBackend[backend, default: Membership()].sets.append(id.rawValue)
                byBackend[backend, default: Membership()].services.formUnion(users[id] ?? [])
                byBackend[backend, default: Membership()].slots += slots
                byBackend[backend, default: Membership()].slotsOfSets += Int(record.slots)
            }
        }
    }
}

extension Inspector {
    /// The backends a filter lets through.
    ///
    /// - Throws: ``InspectionError/Kind/notFound`` when it names a Service or an id that is not there.
    public func backends(_ filter: BackendFilter = BackendFilter()) throws -> BackendListReport {
        let snapshot = try snapshot()
        try snapshot.check(namespace: filter.namespace, name: filter.name)
        if case .id(let id) = filter.backend, snapshot.image.backends[BackendID(rawValue: id)] == nil {
            throw InspectionError(
                .notFound, "there is no backend of id \(id): `needletail backend list` shows those there are")
        }
        let memberships = Memberships(snapshot)
        let flows = try FlowCounts(maps)
        let views = snapshot.image.backends.compactMap { id, record -> BackendView? in
            let membership = memberships.byBackend[id] ?? Memberships.Membership()
            guard filter.matches(id, record, membership.services, snapshot) else { return nil }
            return BackendView(
                id: id.rawValue, address: "\(record.endpoint.address)", port: record.endpoint.port,
                protocol: "\(record.endpoint.transport)", state: BackendStateName(record), local: record.isLocal,
                services: Set(membership.services.map(snapshot.name(of:))).sorted(), sets: membership.sets,
                slots: membership.slots,
                share: Quantity.percentage(membership.slots, of: membership.slotsOfSets),
                flows: flows.byBackend[id] ?? 0, endpoint: record.endpoint)
        }
        return BackendListReport(backends: views.sorted { ($0.endpoint, $0.id) < ($1.endpoint, $1.id) })
    }
}

extension BackendFilter {
    fileprivate func matches(
        _ id: BackendID, _ record: BackendRecord, _ services: Set<ServiceID>, _ snapshot: Snapshot
    ) -> Bool {
        let isUsed =
            (namespace == nil && name == nil)
            || services.contains { id in
                guard let service = snapshot.image.services[id]?.service else { return false }
                return (namespace == nil || namespace == service.namespace) && (name == nil || name == service.name)
            }
        return isUsed && (backend.map { $0.matches(id.rawValue, record.endpoint) } ?? true)
            && (transport == nil || transport == record.endpoint.transport)
            && (state == nil || state == BackendStateName(record)) && (isLocal == nil || isLocal == record.isLocal)
    }
}
