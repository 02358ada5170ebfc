internal import Dataplane
internal import NeedletailABI
internal import NetTypes
internal import Planning
internal import ServiceModel

/// A backend as a member of a set.
public struct MemberView: Encodable, Sendable {
    /// Its id.
    public let id: UInt32
    /// Its address; absent when the id names nothing any more.
    public let address: String?
    /// Its port; absent when the id names nothing any more.
    public let port: UInt16?
    /// `active`, `terminating` or `gone`.
    public let state: BackendStateName
    /// Whether it runs on this node.
    public let local: Bool
    /// Slots of the set's table it owns.
    public let slots: Int
    /// The same in percent of the table.
    public let share: Double
    /// Flows of this service port it has.
    public let flows: Int
    let endpoint: String

    enum CodingKeys: String, CodingKey {
        case id, address, port, state, local, slots, share, flows
    }
}

/// A backend set with its members.
public struct SetView: Encodable, Sendable {
    /// Its id.
    public let id: UInt32
    /// Table size M, in slots; absent when the set is gone.
    public let slots: Int?
    /// First line of its extent; a line holds 16 slots.
    public let line: UInt32?
    /// Lines of its extent.
    public let lines: Int?
    /// Its members by endpoint.
    public let backends: [MemberView]

    init(_ id: SetID, of service: ServiceID, _ snapshot: Snapshot, _ flows: FlowCounts) {
        let record = snapshot.image.sets[id]
        let counts = snapshot.slotCounts(of: id)
        let total = counts.values.reduce(0, +)
        self.id = id.rawValue
        slots = record.map { Int($0.slots) }
        line = record?.line
        lines = record?.lines
        backends = counts.map { backend, slots in
            (backend: backend, record: snapshot.image.backends[backend], slots: slots)
        }
        .sorted { a, b in
            switch (a.record, b.record) {
            case (let left?, let right?) where left.endpoint != right.endpoint: left.endpoint < right.endpoint
            case (_?, nil): true
            case (nil, _?): false
            default: a.backend.rawValue < b.backend.rawValue
            }
        }
        .map { member in
            MemberView(
                id: member.backend.rawValue, address: member.record.map { "\($0.endpoint.address)" },
                port: member.record?.endpoint.port, state: BackendStateName(member.record),
                local: member.record?.isLocal ?? false, slots: member.slots,
                share: Quantity.percentage(member.slots, of: total),
                flows: flows.byServiceAndBackend[.init(service: service, backend: member.backend)] ?? 0,
                endpoint: member.record.map { "\($0.endpoint)" } ?? "?")
        }
    }

    func text(_ detail: Detail) -> String {
        guard let slots, let line, let lines else {
            return "Set ?\(id) is gone: the maps were changed while they were read.\n"
        }
        var table = TextTable(
            [
                .left("BACKEND"), .right("ID"), .right("SLOTS"), .right("SHARE"), .left("STATE"), .left("LOCAL"),
                .right("FLOWS"),
            ], detail)
        for backend in backends {
            table.add([
                backend.endpoint, "\(backend.id)", "\(backend.slots)", Quantity.percent(backend.share),
                backend.state.rawValue, backend.local ? "yes" : "no", "\(backend.flows)",
            ])
        }
        let title = "Set \(id): \(Quantity.count(backends.count, "backend")), \(slots) slots in lines"
        return "\(title) \(line)-\(Int(line) + lines - 1)\n" + table.render(indent: 2)
    }
}

/// One port of a Service.
public struct ServicePortView: Encodable, Sendable {
    /// The Service's namespace.
    public let namespace: String
    /// The Service's name.
    public let name: String
    /// The port's name; empty for a port without one.
    public let portName: String
    /// `TCP` or `UDP`.
    public let `protocol`: String
    /// The service port's id.
    public let serviceID: UInt32
    /// Flows through any of its frontends.
    public let flows: Int
    /// What was counted for it.
    public let traffic: TrafficView<UInt64>
    /// Its frontends, by kind, then address.
    public let frontends: [FrontendView]
    /// The backend sets its frontends name, by id.
    public let sets: [SetView]
    let title: String

    enum CodingKeys: String, CodingKey {
        case namespace, name, portName, `protocol`, serviceID, flows, traffic, frontends, sets
    }

    init(
        _ id: ServiceID, _ name: ServicePortName, _ snapshot: Snapshot, _ flows: FlowCounts,
        _ statistics: ServiceStatistics
    ) {
        let found = snapshot.frontends { $1.service == id }
        namespace = name.service.namespace
        self.name = name.service.name
        portName = name.port
        self.protocol = "\(name.transport)"
        serviceID = id.rawValue
        self.flows = flows.byService[id] ?? 0
        traffic = TrafficView(total: statistics)
        frontends = found.map { FrontendView($0.key, $0.record, snapshot) }
        sets = Set(found.flatMap(\.record.sets)).sorted { $0.rawValue < $1.rawValue }
            .map { SetView($0, of: id, snapshot, flows) }
        title = "\(name)"
    }

    func text(_ detail: Detail) -> String {
        var table = TextTable(
            [.left("FRONTEND"), .left("KIND"), .left("SCOPE"), .left("NEW CONNECTIONS"), .left("OPTIONS")], detail)
        var reasons: [String] = []
        func explain(_ what: String, _ text: String) {
            let line = "  \(what): \(text)\n"
            if !reasons.contains(line) { reasons.append(line) }
        }
        for frontend in frontends {
            for scope in [frontend.external, frontend.internal] {
                let outcome = scope.refusal.map { "refused: \($0)" } ?? scope.explanation
                table.add([
                    frontend.endpoint, frontend.kind.rawValue, scope.scope, outcome,
                    frontend.options(scope).joined(separator: ","),
                ])
                if let refusal = scope.refusal { explain(refusal, scope.explanation) }
            }
        }
        for case let ranges? in frontends.map(\.sourceRanges) {
            explain(
                "source-ranges",
                ranges.isEmpty ? "nobody may connect" : "only \(ranges.joined(separator: ", ")) may connect")
        }
        for case let seconds? in frontends.map(\.affinity) {
            explain("affinity", "a client stays with its backend for \(seconds) s after its last new connection")
        }
        let head = "Service \(title), id \(serviceID), \(Quantity.count(flows, "flow"))\n"
        let counted = "  \(traffic.text)\n"
        let body = frontends.isEmpty ? "  no frontends\n" : table.render(indent: 2) + reasons.joined()
        return ([head + counted + body] + sets.map { $0.text(detail) }).joined(separator: "\n")
    }
}

/// All about the ports of a Service.
public struct ServiceReport: Report {
    /// The ports, by name.
    public let ports: [ServicePortView]

    /// For each port its frontends with what new connections meet, then the sets they are spread over.
    public func text(_ detail: Detail) -> String {
        ports.map { $0.text(detail) }.joined(separator: "\n")
    }
}

extension Inspector {
    /// All about a Service, or one port of it.
    ///
    /// - Throws: ``InspectionError/Kind/notFound`` with near names.
    public func service(_ selector: ServiceSelector) throws -> ServiceReport {
        let snapshot = try snapshot()
        let ports = try snapshot.ports(matching: selector)
        let flows = try FlowCounts(maps)
        let statistics = try ServiceStatistics.read(maps, ids: ports.map(\.id))
        return ServiceReport(
            ports: ports.map {
                ServicePortView($0.id, $0.name, snapshot, flows, statistics[$0.id] ?? ServiceStatistics())
            })
    }
}
