internal import Maglev
public import NeedletailABI
public import NetTypes
internal import PacketKit
internal import ServiceModel

/// The datapath of docs/datapath.md, as plain as can be: dictionaries, one packet at a time, checksums from all bytes.
///
/// It is given the world as the Resolver has it, not as the maps do. Where the programs may choose (the port of a
/// masqueraded flow), it is shown what they did, says whether that was allowed, and goes on with it.
public struct Model {
    /// One direction of a flow.
    struct Flow {
        var rewritten: Tuple
        /// 0: an entry that changes nothing.
        var backend: Int
        var service: ServicePortName?
        var flags: UInt32
        var seen: UInt32
        var isMasqueraded: Bool { flags & NT_FLOW_MASQUERADED != 0 }
        var isEncapsulated: Bool { flags & NT_FLOW_DSR != 0 }
        var isClosed: Bool {
            flags & NT_FLOW_RST != 0
                || flags & (NT_FLOW_FIN_FORWARD | NT_FLOW_FIN_REVERSE) == NT_FLOW_FIN_FORWARD | NT_FLOW_FIN_REVERSE
        }
    }

    struct FlowKey: Hashable {
        var tuple: Tuple
        var direction: FlowDirection
    }

    /// A backend from its appearance until nobody serves by it any more; one that comes back later is another.
    struct Backend {
        var endpoint: TransportEndpoint
        var state: BackendState
        var isLocal: Bool
    }

    /// What lets packets of a flow go by their slot, without a look at the flow.
    struct Mark {
        /// Those of the set at that time, and their weights.
        var members: [Int: UInt32]
        var tick: UInt32
    }

    struct FragmentKey: Hashable {
        var source: IPAddress
        var destination: IPAddress
        var identification: UInt32
        var transport: TransportProtocol

        /// What tells it from other datagrams: in IPv6 the protocol does not (RFC 8200 section 4.5).
        var ofDatagram: FragmentKey {
            var key = self
            if source.family == .v6 { key.transport = .udp }
            return key
        }
    }

    struct AffinityKey: Hashable {
        var client: IPAddress
        var service: ServicePortName
    }

    struct Affinity {
        var backend: Int
        var used: UInt64
    }

    var node: ModelNode
    var frontends: [TransportEndpoint: ModelFrontend] = [:]
    var retired: Set<TransportEndpoint> = []
    var backends: [Int: Backend] = [:]
    var backendIDs: [TransportEndpoint: Int] = [:]
    var nextBackend = 1
    /// Addresses of ClusterIPs and load balancers, with `NT_ADDRESS_…`.
    var addresses: [IPAddress: UInt32] = [:]
    var flows: [FlowKey: Flow] = [:]
    var affinities: [AffinityKey: Affinity] = [:]
    var fragments: [FragmentKey: (source: UInt16, destination: UInt16)] = [:]
    /// Datagrams of which fragments have come that are not the first.
    var waiting: Set<FragmentKey> = []
    /// By line, as the programs have them; how many of them a line has room for is not looked at.
    var marks: [UInt32: [Tuple: Mark]] = [:]
    private var tables: [[ModelMember]: [Int]] = [:]

    /// A model without services.
    ///
    /// - Parameter earlier: what ran through the same programs before. Fragments they kept then they still have: that
    ///   memory of theirs alone is not emptied between lives.
    public init(node: ModelNode, after earlier: Model? = nil) {
        self.node = node
        waiting = earlier?.waiting ?? []
    }

    // MARK: The world changes

    /// Other frontends are wanted, and these endpoints serve, with or without new flows. What is no longer wanted is
    /// retired.
    public mutating func serve(_ wanted: [ModelFrontend], serving: Set<TransportEndpoint>) {
        let keys = Set(wanted.map(\.key))
        retired.formUnion(frontends.keys)
        retired.subtract(keys)
        var locality: [TransportEndpoint: Bool] = [:]
        for frontend in wanted {
            frontends[frontend.key] = frontend
            for case .spread(let members) in frontend.answers.values {
                for member in members { locality[member.endpoint] = member.isLocal }
            }
        }
        for (endpoint, isLocal) in locality {
            let id = backendIDs[endpoint] ?? newBackend(endpoint)
            backends[id]?.state = .active
            backends[id]?.isLocal = isLocal
        }
        for (endpoint, id) in backendIDs where locality[endpoint] == nil {
            backends[id]?.state = serving.contains(endpoint) ? .terminating : .gone
            if !serving.contains(endpoint) { backendIDs[endpoint] = nil }
        }
        addresses = [:]
        for frontend in wanted {
            var flags: UInt32 = 0
            if frontend.has(NT_FRONTEND_CLUSTER_IP) { flags |= NT_ADDRESS_CLUSTER_IP }
            if frontend.has(NT_FRONTEND_LOAD_BALANCER) { flags |= NT_ADDRESS_LOAD_BALANCER }
            guard flags != 0 else { continue }
            let hasEndpoints = frontend.answers.values.contains { if case .spread = $0 { true } else { false } }
            addresses[frontend.key.address, default: 0] |= flags | (hasEndpoints ? NT_ADDRESS_ENDPOINTS : 0)
        }
    }

    private mutating func newBackend(_ endpoint: TransportEndpoint) -> Int {
        defer { nextBackend += 1 }
        backends[nextBackend] = Backend(endpoint: endpoint, state: .active, isLocal: false)
        backendIDs[endpoint] = nextBackend
        return nextBackend
    }

    /// Other sources behind external devices count as pods for flows that begin from now on.
    public mutating func detectPods(in prefixes: [CIDR]) { node.podPrefixes = prefixes }

    /// Everything gets older by so many ticks.
    public mutating func age(ticks: UInt32) {
        for key in flows.keys { flows[key]?.seen &-= ticks }
        for line in marks.keys {
            for tuple in marks[line, default: [:]].keys { marks[line]?[tuple]?.tick &-= ticks }
        }
        let passed = UInt64(ticks) << UInt64(NT_TICK_SHIFT)
        for (key, affinity) in affinities { affinities[key]?.used -= min(affinity.used, passed) }
    }

    /// One direction's entry is lost, as the LRU may do.
    public mutating func evict(_ tuple: Tuple, _ direction: FlowDirection) {
        flows[FlowKey(tuple: tuple, direction: direction)] = nil
    }

    /// The tuples that have entries, in a fixed order, and what becomes of them.
    public var entries: [(tuple: Tuple, direction: FlowDirection, rewritten: Tuple, flags: UInt32)] {
        flows.map { ($0.key.tuple, $0.key.direction, $0.value.rewritten, $0.value.flags) }
            .sorted {
                ($0.tuple.source, $0.tuple.destination, $0.direction.rawValue)
                    < ($1.tuple.source, $1.tuple.destination, $1.direction.rawValue)
            }
    }

    // MARK: Pieces

    /// The member a tuple's slot names.
    mutating func slot(_ tuple: Tuple, _ members: [ModelMember]) -> TransportEndpoint {
        let members = members.sorted { $0.endpoint < $1.endpoint }
        let table = tables[members] ?? Self.table(members)
        tables[members] = table
        guard
            let hash = FlowHash(
                source: tuple.source.address, sourcePort: tuple.source.port, destination: tuple.destination)
        else { return members[0].endpoint }
        return members[table[Int(hash.slot(tableSize: UInt32(table.count)))]].endpoint
    }

    private static func table(_ members: [ModelMember]) -> [Int] {
        var slots = [UInt32](repeating: 0, count: MaglevSize.tableSize(forWeights: members.map(\.weight)))
        let backends = members.map { MaglevBackend(identity: $0.endpoint, weight: $0.weight) }
        let ids = members.indices.map { UInt32($0) }
        var builder = MaglevBuilder()
        var span = slots.mutableSpan
        do {
            try builder.build(into: &span, backends: backends.span, ids: ids.span)
        } catch {
            fatalError("no Maglev table for \(members): \(error)")
        }
        return slots.map { Int($0) }
    }

    // MARK: Marks

    /// Whether the packet goes by a mark: it is plain, and a moment ago its flow was.
    func isMarked(_ packet: Packet, _ frontend: ModelFrontend) -> Bool {
        guard packet.frame.isPlain, packet.tunnelled == nil, !retired.contains(frontend.key),
            case .spread(let members)? = frontend.answers[packet.scope],
            let mark = marks[markLine(packet.tuple)]?[packet.tuple]
        else { return false }
        return mark.members == weights(members) && packet.time.tick &- mark.tick < NT_MARK_TICKS
    }

    /// Marks a flow one of whose packets has been translated.
    mutating func mark(_ packet: Packet, _ flow: Flow, _ frontend: ModelFrontend) {
        let special = NT_FLOW_MASQUERADED | NT_FLOW_DSR | NT_FLOW_DSR_REPLY | NT_FLOW_REMAPPED
        guard packet.tunnelled == nil, flow.flags & special == 0, !retired.contains(frontend.key),
            case .spread(let members)? = frontend.answers[packet.scope],
            backendIDs[slot(packet.tuple, members)] == flow.backend
        else { return }
        marks[markLine(packet.tuple), default: [:]][packet.tuple] = Mark(
            members: weights(members), tick: packet.time.tick)
    }

    /// The tuple has a flow of another kind now.
    mutating func unmark(_ tuple: Tuple) { marks[markLine(tuple)] = nil }

    private func weights(_ members: [ModelMember]) -> [Int: UInt32] {
        var weights: [Int: UInt32] = [:]
        for member in members { weights[backendIDs[member.endpoint] ?? 0] = member.weight }
        return weights
    }

    private func markLine(_ tuple: Tuple) -> UInt32 {
        let hash = FlowHash(
            source: tuple.source.address, sourcePort: tuple.source.port, destination: tuple.destination)
        return (hash?.value ?? 0) & node.markMask
    }

    func state(_ backend: Int) -> BackendState { backends[backend]?.state ?? .gone }
}
