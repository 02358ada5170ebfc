internal import BPF
internal import Dataplane
internal import NeedletailABI
internal import NetTypes
internal import Planning
internal import Resolver
internal import ServiceModel

/// Whose traffic it is. Each has clients of its own, so that no two flows have the same reply tuple.
enum ClientSide: CaseIterable {
    case external
    case workload
}

/// Clients of one side and family: a set of flows.
struct FlowSet: Hashable {
    let side: ClientSide
    let family: IPFamily

    static let all = IPFamily.allCases.flatMap { family in ClientSide.allCases.map { FlowSet(side: $0, family: family) }
    }
}

/// The one service of the benchmark: a NodePort and a ClusterIP in front of one backend on this node.
struct BenchService {
    let family: IPFamily

    private var site: Site { family == .v4 ? .v4 : .v6 }

    private struct Site {
        let node, clusterIP, backend, stranger: IPAddress
        let external, workload: IPAddress

        static let v4 = Site(
            node: IPAddress(v4: 0xCB00_7101), clusterIP: IPAddress(v4: 0xCB00_710A),
            backend: IPAddress(v4: 0xC000_020A),
            stranger: IPAddress(v4: 0xC000_02C8), external: IPAddress(v4: 0xC612_0000),
            workload: IPAddress(v4: 0xC613_0000))
        static let v6 = Site(
            node: host(1, 1), clusterIP: host(1, 10), backend: host(2, 10), stranger: host(2, 200),
            external: host(3, 0), workload: host(4, 0))

        private static func host(_ subnet: UInt128, _ number: UInt128) -> IPAddress {
            IPAddress(v6: 0x2001_0DB8 << 96 | subnet << 64 | number)
        }
    }

    static let nodeName = "bench"
    private static let nodePort: UInt16 = 30_080
    private static let name = ObjectName(namespace: "bench", name: "web")

    var node: IPAddress { site.node }
    var backend: TransportEndpoint { TransportEndpoint(site.backend, 8080, .tcp) }
    /// Somebody no service knows.
    var stranger: TransportEndpoint { TransportEndpoint(site.stranger, 80, .tcp) }

    func clients(_ side: ClientSide) -> IPAddress { side == .external ? site.external : site.workload }

    func frontend(_ side: ClientSide) -> TransportEndpoint {
        side == .external
            ? TransportEndpoint(site.node, Self.nodePort, .tcp) : TransportEndpoint(site.clusterIP, 80, .tcp)
    }

    /// What the maps should hold for it, by way of the resolver.
    static var desiredState: DesiredState {
        let services = IPFamily.allCases.map(BenchService.init)
        let addresses = services.map { "\($0.frontend(.workload).address)" }
        let service = Service(
            name: name, type: .nodePort, clusterIP: addresses[0], clusterIPs: addresses,
            ipFamilies: services.map { "IPv\($0.family.rawValue)" },
            ports: [ServicePort(port: 80, nodePort: Int(nodePort))])
        let slices = services.map { service in
            EndpointSlice(
                name: ObjectName(namespace: name.namespace, name: "web-\(service.family.rawValue)"),
                serviceName: name.name, addressType: "IPv\(service.family.rawValue)",
                endpoints: [Endpoint(addresses: ["\(service.backend.address)"], nodeName: nodeName)],
                ports: [EndpointPort(port: Int(service.backend.port))])
        }
        let context = NodeContext(nodeName: nodeName, nodePortAddresses: services.map(\.node))
        let resolver = Resolver()
        return resolver.merge([resolver.resolve(service, slices: slices, context: context)])
    }
}

/// A datapath of its own, loaded unpinned and attached nowhere, with the benchmark's service in its maps, and the
/// programs that run it. It ends with its owner.
final class Rig {
    let datapath: Datapath
    let programs: BenchPrograms
    /// Entries of each family's flow table.
    let tableEntries: Int
    /// The first run number whose tuple is new; runs with lower ones have been.
    var nextNew: [FlowSet: UInt64] = [:]
    /// The same for the floors' tables.
    var nextInsert: [IPFamily: UInt64] = [:]
    /// The tick (``FlowClock``) of each set's last packet.
    var lastTouched: [FlowSet: UInt64] = [:]

    /// `tableFlows` is how many flows of each family the flow table holds, for all sets together.
    init(tableFlows: Int) throws {
        var settings = DatapathSettings()
        settings.maxTCPFlows = UInt32(tableFlows)
        settings.maxUDPFlows = 1024
        settings.newFlowLimit = 0
        settings.maxSlots = 1 << 16
        tableEntries = tableFlows * 2
        datapath = try Datapath.load(settings, pins: nil)
        programs = try BenchPrograms(tableEntries: UInt32(tableEntries))
        var maps = KernelMaps(datapath.maps)
        let plan = try Planner.plan(from: try maps.read(), to: BenchService.desiredState)
        guard plan.problems.isEmpty else {
            throw BenchmarkError.preparationFailed(plan.problems.map(\.description).joined(separator: "; "))
        }
        try maps.perform(plan.writes)
    }

    /// Runs a datapath program and says how its counters, other than by one `expected` for each run, differ; `nil`
    /// when they do not.
    func run(
        _ program: DatapathProgram, _ frame: Frame, _ walk: Walk?, runs: Int,
        expecting expected: DatapathCounter
    ) throws -> (run: TestRun, problem: String?) {
        guard let loaded = datapath.programs[program] else {
            throw BenchmarkError.preparationFailed("program \(program.name) is not in the object")
        }
        let before = try CounterReading(datapath.maps)
        let run = try programs.run(loaded, on: program.hook, frame, walk, runs: runs)
        let after = try CounterReading(datapath.maps)
        var found: [String] = []
        for other in DatapathCounter.allCases {
            let wanted = other == expected ? UInt64(runs) : 0
            let counted = after[program, other] - before[program, other]
            if counted != wanted { found.append("\(other.name) \(counted) of \(wanted)") }
        }
        if run.signedVerdict != program.hook.pass { found.append("verdict \(run.signedVerdict)") }
        return (run, found.isEmpty ? nil : "\(program.name): \(found.joined(separator: ", "))")
    }

    /// Opens all flows of a set, and lets the backend answer each.
    func prime(_ set: FlowSet, flows: FlowCount) throws {
        let service = BenchService(family: set.family)
        let clients = service.clients(set.side)
        let syn = Frame(clients: clients, peer: service.frontend(set.side), isReply: false, kind: .syn)
        let answer = Frame(clients: clients, peer: service.backend, isReply: true, kind: .data)
        let (ingress, egress): (DatapathProgram, DatapathProgram) =
            set.side == .external ? (.externalIngress, .externalEgress) : (.workloadIngress, .workloadEgress)
        let runs = flows.count
        let problems = [
            try run(ingress, syn, .ordered(flows), runs: runs, expecting: .forwardNew).problem,
            try run(egress, answer, .ordered(flows), runs: runs, expecting: .reverseTranslated).problem,
        ]
        for case let problem? in problems { throw BenchmarkError.preparationFailed(problem) }
        lastTouched[set] = FlowClock.tick
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
