internal import BPF
internal import Dataplane
internal import NeedletailABI
internal import NetTypes
internal import Planning
internal import Resolver

/// Flows that are opened, and walked through, together.
struct FlowSet: Hashable {
    enum Kind: Hashable {
        /// TCP to `web`.
        case tcp
        /// UDP to `web`.
        case udp
        /// TCP to `remote`, from outside.
        case masqueraded
        /// TCP to so many Services.
        case many(Int)
    }

    let side: ClientSide
    let family: IPFamily
    var kind = Kind.tcp

    private var site: BenchSite { BenchSite(family: family) }
    private var transport: TransportProtocol { kind == .udp ? .udp : .tcp }
    private var clients: TransportEndpoint { site.clients(side, transport) }

    private var services: Int { if case .many(let count) = kind { count } else { 1 } }

    private var frontend: TransportEndpoint {
        switch kind {
        case .tcp, .udp: site.web(side, transport)
        case .masqueraded: site.remote
        case .many: site.many(side)
        }
    }

    /// What opens a flow.
    var opening: Frame {
        Frame(from: clients, to: frontend, kind == .udp ? .datagram : .syn, services: services)
    }

    /// What a client sends on an open one.
    var data: Frame { Frame(from: clients, to: frontend, kind == .udp ? .datagram : .data, services: services) }

    /// What the backend sends; `nil` where there are several, and so no rule what the reply to each flow is.
    var reply: Frame? {
        switch kind {
        case .tcp, .udp: Frame(to: clients, from: site.backend(transport), kind == .udp ? .datagram : .data)
        case .masqueraded: Frame(from: site.remoteBackends, toPortsOf: site.node)
        case .many: nil
        }
    }

    /// A program that packets from its clients come by, and one that packets to them do.
    var programs: (toBackend: DatapathProgram, toClient: DatapathProgram) {
        if kind == .masqueraded { return (.externalIngress, .externalIngress) }
        return side == .external ? (.externalIngress, .externalEgress) : (.workloadIngress, .workloadEgress)
    }

    /// How packets leave programs.
    var verdict: Expectation.Verdict { kind == .masqueraded ? .send : .pass }
}

/// What becomes of each packet of a case.
struct Expectation {
    enum Verdict {
        case pass, send
    }

    /// Each moves by one with each packet; all others stay.
    let counters: [DatapathCounter]
    var verdict = Verdict.pass
}

/// A datapath of its own, loaded unpinned and attached nowhere, with the benchmark's Services in its maps, and the
/// programs that run it. It ends with its owner.
final class Rig {
    /// How large its tables are, and what is in its maps.
    struct Size {
        /// TCP flows of each family that the table holds, for all sets together.
        var tcp: Int
        /// The same of UDP.
        var udp = 1024
        /// Flows of each family that are masqueraded.
        var masqueraded = 1
        /// Services besides the three that are always there.
        var services = 0
        /// Endpoints of each of them.
        var endpoints = 1
    }

    let datapath: Datapath
    let programs: BenchPrograms
    /// The first run number whose tuple is new; runs with lower ones have been.
    var nextNew: [FlowSet: UInt64] = [:]
    /// The same for the floors' tables.
    var nextInsert: [Floor: [IPFamily: UInt64]] = [:]
    /// Flows that have been opened.
    private var primed = 0
    /// The tick (``FlowClock``) of each set's last packet, from either side.
    var lastTouched: [FlowSet: UInt64] = [:]
    /// The same, from a client.
    var lastSent: [FlowSet: UInt64] = [:]

    /// A rig whose packets come in on the node's device.
    init(_ size: Size, node: PacketNode) throws {
        var settings = DatapathSettings()
        settings.maxTCPFlows = UInt32(size.tcp)
        settings.maxUDPFlows = UInt32(size.udp)
        settings.newFlowLimit = 0
        // So many that a free one is found at once: the LRU may leave a flow's reply entry alone in a full table.
        settings.natPorts = 32_768...65_535
        // Refusals are measured, not the rate at which they cease.
        settings.answerLimit = .max
        settings.maxSlots = UInt32(BenchSite.slots(many: size.services, endpoints: size.endpoints))
        settings.maxBackends = UInt32(1024 + 2 * size.services * size.endpoints)
        settings.maxServices = UInt32(1024 + size.services)
        settings.maxSets = UInt32(1024 + 2 * size.services)
        datapath = try Datapath.load(settings, pins: nil)
        programs = try BenchPrograms(
            tableEntries: UInt32(size.tcp * 2), listEntries: UInt32(size.masqueraded), node: node)
        var devices = try DeviceTable(datapath.maps)
        try devices.store([node.device: node.record])
        try datapath.maps.store(
            NodeState(addresses: node.record.addresses, clusterIPs: BenchSite.clusterIPs(many: size.services)))
        var maps = KernelMaps(datapath.maps)
        let wanted = BenchSite.desiredState(many: size.services, endpoints: size.endpoints)
        let plan = try Planner.plan(from: try maps.read(), to: wanted)
        guard plan.problems.isEmpty, wanted.problems.isEmpty, wanted.conflicts.isEmpty else {
            let problems = plan.problems.map(\.description) + wanted.problems.map(\.description)
            throw BenchmarkError.preparationFailed(problems.joined(separator: "; "))
        }
        try maps.perform(plan.writes)
    }

    /// Runs a datapath program and says how its counters and verdict differ from what is expected; `nil` when they do
    /// not.
    func run(
        _ program: DatapathProgram, _ frame: Frame, _ walk: Walk?, runs: Int, chunk: Int? = nil,
        expecting expected: Expectation
    ) throws -> (run: Runs, problem: String?) {
        guard let loaded = datapath.programs[program] else {
            throw BenchmarkError.preparationFailed("program \(program.name) is not in the object")
        }
        let before = try CounterReading(datapath.maps)
        let run = try programs.run(loaded, on: program.hook, frame, walk, runs: runs, chunk: chunk)
        let after = try CounterReading(datapath.maps)
        var found: [String] = []
        for other in DatapathCounter.allCases {
            let wanted = expected.counters.contains(other) ? UInt64(runs) : 0
            let counted = after[program, other] - before[program, other]
            if counted != wanted { found.append("\(other.name) \(counted) of \(wanted)") }
        }
        let verdict = expected.verdict == .pass ? program.hook.pass : program.hook.send
        if run.verdict != verdict { found.append("verdict \(run.verdict), not \(verdict)") }
        return (run, found.isEmpty ? nil : "\(program.name): \(found.joined(separator: ", "))")
    }

    /// Opens all flows of a set, and lets the backend answer each, where it is known what that looks like.
    func prime(_ set: FlowSet, flows: FlowCount) throws {
        let (toBackend, toClient) = set.programs
        let opened = try run(
            toBackend, set.opening, .ordered(flows), runs: flows.count,
            expecting: Expectation(counters: [.forwardNew], verdict: set.verdict))
        if let problem = opened.problem { throw BenchmarkError.preparationFailed(problem) }
        if set.kind == .masqueraded { try listReplies(set.family, flows) }
        if let reply = set.reply {
            let answered = try run(
                toClient, reply, .ordered(flows), runs: flows.count,
                expecting: Expectation(counters: [.reverseTranslated], verdict: set.verdict))
            if let problem = answered.problem { throw BenchmarkError.preparationFailed(problem) }
        }
        primed += flows.count
        // As the agent does when it has counted the flows.
        try FlowTable(datapath.maps).fitMarks(toFlows: primed)
        lastTouched[set] = FlowClock.tick
        lastSent[set] = FlowClock.tick
    }

    /// Which ports the node gave to masqueraded flows, and which backend each has, is in the flow table alone.
    private func listReplies(_ family: IPFamily, _ flows: FlowCount) throws {
        var found: [(address: UInt16, port: UInt16)] = []
        try FlowTable(datapath.maps).forEach { entry in
            let tuple = entry.onWire
            guard entry.direction == .reverse, entry.flags.contains(.masqueraded),
                tuple.source.address.family == family
            else { return }
            found.append((UInt16(truncatingIfNeeded: tuple.source.address.bits), tuple.destination.port))
        }
        guard found.count == flows.count else {
            throw BenchmarkError.preparationFailed("\(found.count) masqueraded flows, not \(flows.count)")
        }
        try programs.setList(family, found)
    }

    /// Opens flows until the table is full of them, at most `flows` of which have room.
    func fill(_ set: FlowSet, flows: FlowCount) throws {
        let runs = flows.count + flows.count / 8
        let opened = try run(
            set.programs.toBackend, set.opening, .endless(from: 0), runs: runs,
            expecting: Expectation(counters: [.forwardNew], verdict: set.verdict))
        if let problem = opened.problem { throw BenchmarkError.preparationFailed(problem) }
        nextNew[set] = UInt64(runs)
    }

    /// Inserts into a floor's table until it is full, which has room for so many entries.
    func fill(_ floor: Floor, _ frame: Frame, entries: Int) throws {
        // What is hashed into lines leaves some half empty for long.
        let runs = floor == .denseInsert ? entries * 2 : entries + entries / 8
        let (_, failures) = try programs.run(floor, frame, .endless(from: 0), runs: runs)
        guard failures == 0 else {
            throw BenchmarkError.preparationFailed("\(floor.rawValue): \(failures) of \(runs) runs failed")
        }
        nextInsert[floor, default: [:]][frame.family] = UInt64(runs)
    }
}

extension DatapathProgram {
    var hook: Hook { self == .externalXDP ? .xdp : .tc }

    var side: ClientSide {
        switch self {
        case .externalXDP, .externalIngress, .externalEgress: .external
        case .workloadIngress, .workloadEgress, .socket: .workload
        }
    }

    var isEgress: Bool { self == .externalEgress || self == .workloadEgress }
}
