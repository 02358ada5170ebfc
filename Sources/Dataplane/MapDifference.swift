public import NeedletailABI
public import NetTypes
public import Planning
public import ServiceModel

/// Something in the maps that is not as the agent left it, found by an audit.
public enum MapDifference: Sendable, Equatable {
    /// What a map was found to hold for a key.
    public enum Found<Record: Sendable & Equatable>: Sendable, Equatable {
        /// No entry; of an array, an element that is all zeros.
        case nothing
        /// This.
        case record(Record)
        /// What no agent of this version writes.
        case unreadable
    }

    /// A frontend.
    case frontend(TransportEndpoint, found: Found<FrontendRecord>, expected: FrontendRecord?)
    /// A backend set's record.
    case set(SetID, found: Found<SetRecord>, expected: SetRecord?)
    /// The Maglev table of a set, or the list of its members: so many of its elements name the wrong backend.
    case table(SetID, SlotTable, wrong: Int)
    /// A backend.
    case backend(BackendID, found: Found<BackendRecord>, expected: BackendRecord?)
    /// The name of a service port.
    case service(ServiceID, found: Found<ServicePortName>, expected: ServicePortName?)
    /// A source range that is there and should not be, or the other way round.
    case range(ServiceID, CIDR, isPresent: Bool)
    /// What an address is.
    case address(IPAddress, found: AddressFlags?, expected: AddressFlags?)
    /// What the programs are told of a device, by its index.
    case device(UInt32, found: Found<DeviceRecord>, expected: DeviceRecord?)
    /// What the programs are told of the node.
    case node(found: Found<NodeState>, expected: NodeState)
    /// An entry whose key no agent writes.
    case foreignKey(map: String, [UInt8])

    /// The kinds of entry, as stable names for counting.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// Of the maps of this name.
        case frontend, set, table, backend, service, range, address, device, node, foreign
    }

    /// What kind of entry it is.
    public var kind: Kind {
        switch self {
        case .frontend: .frontend
        case .set: .set
        case .table: .table
        case .backend: .backend
        case .service: .service
        case .range: .range
        case .address: .address
        case .device: .device
        case .node: .node
        case .foreignKey: .foreign
        }
    }
}

extension MapDifference {
    /// In the order in which they are to be put right: whatever names others after what it names, additions before
    /// removals. A packet then meets what was found or what is expected, and nothing else.
    public static func inOrder(_ differences: [MapDifference]) -> [MapDifference] {
        differences.enumerated().sorted { ($0.element.rank, $0.offset) < ($1.element.rank, $1.offset) }.map(\.element)
    }

    private var rank: Int {
        switch self {
        case .service(_, _, _?), .device(_, _, _?), .node: 0
        case .backend(_, _, _?): 1
        case .table: 2
        case .set(_, _, _?): 3
        case .range(_, _, isPresent: false): 4
        case .frontend(_, _, _?): 5
        case .frontend(_, _, nil): 6
        case .address: 7
        case .range(_, _, isPresent: true): 8
        case .set(_, _, nil): 9
        case .backend(_, _, nil): 10
        case .service(_, _, nil): 11
        case .device(_, _, nil): 12
        case .foreignKey: 13
        }
    }
}

extension MapDifference: CustomStringConvertible {
    /// What was found, and what should be: `frontend 198.18.0.1:80/TCP: set 7, should be set 9`.
    public var description: String {
        switch self {
        case .frontend(let key, let found, let expected):
            "frontend \(key): \(Self.text(found) { $0.summary }), should be \(expected?.summary ?? "absent")"
        case .set(let id, let found, let expected):
            "set \(id.rawValue): \(Self.text(found) { $0.summary }), should be \(expected?.summary ?? "absent")"
        case .table(let id, let table, let wrong):
            "table of set \(id.rawValue): \(wrong) of \(Int(table.slots) + table.ids.count) elements name another backend"
        case .backend(let id, let found, let expected):
            "backend \(id.rawValue): \(Self.text(found) { $0.summary }), should be \(expected?.summary ?? "absent")"
        case .service(let id, let found, let expected):
            "name of service port \(id.rawValue): \(Self.text(found) { "\($0)" }), should be "
                + (expected.map { "\($0)" } ?? "absent")
        case .range(let id, let prefix, let isPresent):
            "source range \(prefix) of service port \(id.rawValue): \(isPresent ? "there" : "absent"), should "
                + (isPresent ? "not be" : "be there")
        case .address(let address, let found, let expected):
            "address \(address): \(found?.summary ?? "absent"), should be \(expected?.summary ?? "absent")"
        case .device(let index, let found, let expected):
            "device #\(index): \(Self.text(found) { $0.summary }), should be \(expected?.summary ?? "absent")"
        case .node(let found, let expected):
            "record of the node: \(Self.text(found) { $0.summary }), should be \(expected.summary)"
        case .foreignKey(let map, let bytes):
            "map \(map): a key that no agent writes, "
                + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
    }

    private static func text<Record>(_ found: Found<Record>, _ summary: (Record) -> String) -> String {
        switch found {
        case .nothing: "absent"
        case .record(let record): summary(record)
        case .unreadable: "not readable"
        }
    }
}

extension FrontendRecord {
    fileprivate var summary: String {
        let scopes =
            external == `internal` ? external.summary : "\(external.summary) outside, \(`internal`.summary) inside"
        return "\(scopes) of service port \(service.rawValue), flags 0x\(String(flags.rawValue, radix: 16))"
            + (affinity == 0 ? "" : ", affinity \(affinity) s")
    }
}

extension ScopeRecord {
    fileprivate var summary: String {
        switch self {
        case .set(let id): "set \(id.rawValue)"
        case .refuse(.noLocalEndpoints): "no local endpoints"
        case .refuse: "no endpoints"
        }
    }
}

extension SetRecord {
    fileprivate var summary: String { "\(backends) backends in \(slots) slots at line \(line)" }
}

extension BackendRecord {
    fileprivate var summary: String {
        let state =
            switch state {
            case .free: "free"
            case .active: "active"
            case .terminating: "terminating"
            case .gone: "gone"
            }
        return "\(endpoint) \(state)\(isLocal ? ", local" : "")"
    }
}

extension AddressFlags {
    fileprivate var summary: String {
        let names: [(AddressFlags, String)] = [
            (.clusterIP, "ClusterIP"), (.loadBalancer, "load balancer"), (.endpoints, "with endpoints"),
        ]
        let known = names.filter { contains($0.0) }.map(\.1).joined(separator: ", ")
        return known.isEmpty ? "flags 0x\(String(rawValue, radix: 16))" : known
    }
}

extension DeviceRecord {
    fileprivate var summary: String {
        "\(role.rawValue)\(takesFromXDP ? ", takes from XDP" : ""), \(addresses.summary)"
    }
}

extension NodeState {
    fileprivate var summary: String {
        let ranges = IPFamily.allCases.compactMap { clusterRange[$0] }.map { "\($0.lowerBound) to \($0.upperBound)" }
        let pods = IPFamily.allCases.compactMap { podPrefixes[$0]?.description }
        return [
            addresses.summary, "ClusterIPs \(ranges.listed)", "service CIDRs \(serviceCIDRs.map(\.description).listed)",
            "pods \(pods.listed)",
        ].joined(separator: ", ")
    }
}

extension [IPFamily: IPAddress] {
    fileprivate var summary: String { "addresses \(values.sorted().map(\.description).listed)" }
}

extension [String] {
    fileprivate var listed: String { isEmpty ? "none" : joined(separator: " ") }
}
