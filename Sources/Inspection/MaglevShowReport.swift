internal import Dataplane
internal import Maglev
internal import NeedletailABI
internal import NetTypes
internal import Planning
internal import ServiceModel

/// Whether a table in the map is the one its members should have.
public enum TableVerdict: String, Encodable, Sendable {
    /// Slot for slot.
    case ok
    /// Some slots hold another backend: please report it.
    case differs
    /// The agent replaced the set meanwhile.
    case changed
    /// Members are missing from the maps or have no slot, so that the table cannot be built here.
    case unknown
}

/// A member's part of a Maglev table.
public struct ShareView: Encodable, Sendable {
    /// The backend's id.
    public let id: UInt32
    /// Where it is reached; `?` when the id names nothing any more.
    public let backend: String
    /// Slots it owns.
    public let slots: Int
    /// Slots an exactly even table would give it.
    public let expected: Double
    /// The difference in percent of the expected.
    public let deviation: Double
}

/// Slots in a row that have the same backend.
public struct SlotRun: Encodable, Sendable, Hashable {
    /// The first slot.
    public let first: Int
    /// The last slot.
    public let last: Int
    /// The backend's id.
    public let backend: UInt32
}

/// A backend set's Maglev table.
public struct MaglevTableView: Encodable, Sendable {
    /// The set's id.
    public let set: UInt32
    /// Where it is used: frontend and scope.
    public let users: [String]
    /// Table size M, in slots.
    public let size: Int
    /// First line of its extent; a line holds 16 slots.
    public let line: UInt32
    /// Lines of its extent.
    public let lines: Int
    /// Slots of the busiest backend over the average: 1 is perfect.
    public let evenness: Double
    /// Whether it is the table its members should have.
    public let verdict: TableVerdict
    /// The verdict in words.
    public let explanation: String
    /// The members by endpoint.
    public let shares: [ShareView]
    /// All slots, if asked for.
    public let runs: [SlotRun]?

    func text(_ detail: Detail) -> String {
        var fields = FieldList()
        fields.add("Set", "\(set)")
        fields.add("Used by", users)
        fields.add("Table", "\(size) slots in lines \(line)-\(Int(line) + lines - 1)")
        fields.add("Evenness", "\(Quantity.fixed(evenness, digits: 4)) (busiest backend over the average)")
        fields.add("Verify", "\(verdict.rawValue): \(explanation)")
        var table = TextTable(
            [.left("BACKEND"), .right("ID"), .right("SLOTS"), .right("EXPECTED"), .right("DEVIATION")], detail)
        for share in shares {
            table.add([
                share.backend, "\(share.id)", "\(share.slots)", Quantity.fixed(share.expected, digits: 2),
                Quantity.percent(share.deviation),
            ])
        }
        return fields.render() + table.render(indent: 2) + runTable(detail)
    }

    private func runTable(_ detail: Detail) -> String {
        guard let runs else { return "" }
        let names = Dictionary(uniqueKeysWithValues: shares.map { ($0.id, $0.backend) })
        var table = TextTable([.right("FIRST"), .right("LAST"), .right("ID"), .left("BACKEND")], detail)
        for run in runs {
            table.add(["\(run.first)", "\(run.last)", "\(run.backend)", names[run.backend] ?? "?"])
        }
        return table.render(indent: 2)
    }
}

/// The Maglev tables of a service port.
public struct MaglevShowReport: Report {
    /// The service ports that were meant, by name.
    public let services: [String]
    /// The tables of their sets, by id.
    public let tables: [MaglevTableView]

    /// Each table with its members' shares.
    public func text(_ detail: Detail) -> String {
        var title = FieldList()
        title.add("Service", services)
        guard !tables.isEmpty else { return title.render() + "All frontends refuse, there is no table.\n" }
        return title.render() + "\n" + tables.map { $0.text(detail) }.joined(separator: "\n")
    }
}

extension Inspector {
    /// The Maglev tables of a service port, checked against the tables its backends should have.
    ///
    /// - Throws: ``InspectionError/Kind/notFound`` with near names.
    public func maglev(_ selector: ServiceSelector, slots: Bool = false) throws -> MaglevShowReport {
        let snapshot = try snapshot()
        let ports = try snapshot.ports(matching: selector)
        let ids = Set(ports.map(\.id))
        let frontends = snapshot.frontends { ids.contains($1.service) }
        var users: [SetID: [String]] = [:]
        for frontend in frontends {
            for scope in ScopeName.allCases {
                guard case .set(let set) = scope.answer(frontend.record) else { continue }
                users[set, default: []].append("\(frontend.key) \(scope.rawValue)")
            }
        }
        let tables = try users.sorted { $0.key.rawValue < $1.key.rawValue }.compactMap { set, users in
            try table(set, users, snapshot, withRuns: slots)
        }
        return MaglevShowReport(services: ports.map { "\($0.name)" }, tables: tables)
    }

    /// `nil` when the set is gone.
    private func table(
        _ set: SetID, _ users: [String], _ snapshot: Snapshot, withRuns: Bool
    ) throws -> MaglevTableView? {
        guard let record = snapshot.image.sets[set], let slots = snapshot.slots(of: set) else { return nil }
        let raw = slots.map(\.rawValue)
        let members = Set(raw).sorted()
        let report = MaglevReport(
            table: raw.span, weights: Dictionary(uniqueKeysWithValues: members.map { ($0, UInt32(1)) }))
        var (verdict, explanation) = TableCheck(record, raw, members, snapshot.image).verdict
        if verdict != .ok, try self.snapshot().image.sets[set] != record {
            (verdict, explanation) = (.changed, "the agent replaced the set while it was read")
        }
        let endpoints = members.map { snapshot.image.backends[BackendID(rawValue: $0)]?.endpoint }
        let shares = zip(report.shares, endpoints).sorted { a, b in
            guard let left = a.1, let right = b.1, left != right else { return a.1 != nil && b.1 == nil }
            return left < right
        }
        return MaglevTableView(
            set: set.rawValue, users: users, size: raw.count, line: record.line, lines: record.lines,
            evenness: Quantity.rounded(report.evenness), verdict: verdict, explanation: explanation,
            shares: shares.map { ShareView($0.0, $0.1) }, runs: withRuns ? SlotRun.runs(of: raw) : nil)
    }
}

extension ShareView {
    fileprivate init(_ share: MaglevReport.Share, _ endpoint: TransportEndpoint?) {
        id = share.id
        backend = endpoint.map { "\($0)" } ?? "?"
        slots = share.slots
        expected = Quantity.rounded(share.expected)
        deviation =
            share.expected > 0 ? Quantity.rounded((Double(share.slots) / share.expected - 1) * 100) : 0
    }
}

extension SlotRun {
    static func runs(of slots: [UInt32]) -> [SlotRun] {
        var runs: [SlotRun] = []
        for (index, backend) in slots.enumerated() {
            if let last = runs.last, last.backend == backend {
                runs[runs.count - 1] = SlotRun(first: last.first, last: index, backend: backend)
            } else {
                runs.append(SlotRun(first: index, last: index, backend: backend))
            }
        }
        return runs
    }
}

/// Compares a table with the one that its members, of equal weights, should have.
private struct TableCheck {
    let verdict: (TableVerdict, String)

    init(_ record: SetRecord, _ slots: [UInt32], _ members: [UInt32], _ image: MapImage) {
        guard members.count == Int(record.backends) else {
            verdict = (.unknown, "\(record.backends) members, of which \(members.count) have slots")
            return
        }
        let backends = members.compactMap { id in
            image.backends[BackendID(rawValue: id)].map { MaglevBackend(identity: $0.endpoint) }
        }
        guard backends.count == members.count else {
            verdict = (.unknown, "\(members.count - backends.count) of its backends are not in the maps")
            return
        }
        var expected = [UInt32](repeating: 0, count: slots.count)
        do {
            var builder = MaglevBuilder()
            var span = expected.mutableSpan
            try builder.build(into: &span, backends: backends.span, ids: members.span)
        } catch {
            verdict = (.unknown, "\(error)")
            return
        }
        let different = zip(slots, expected).count { $0 != $1 }
        verdict =
            different == 0
            ? (.ok, "the table is the one its backends should have")
            : (.differs, "\(different) of \(slots.count) slots are not as its backends should have them")
    }
}
