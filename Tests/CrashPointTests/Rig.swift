import BPF
import Dataplane
import Maglev
import NeedletailABI
import NetTypes
import Planning
import PlanningTestSupport
import Resolver
import TestSupport

/// The datapath in the kernel, the model of its maps, and clients with open flows.
struct Rig: ~Copyable {
    struct Flow {
        let packet: Packet
        let question: Question
        let program: DatapathProgram
        /// Where it goes; `nil` after it has ended, until a packet opens it again.
        var backend: (id: BackendID, endpoint: TransportEndpoint)?
        /// Whose frontend it was opened through.
        var service: ServiceID?
    }

    let datapath: Datapath
    var kernel: KernelMaps
    var model: ModelMaps
    var flows: [Flow] = []
    private var clients = 0
    private var probes = 0

    init() throws {
        var settings = DatapathSettings()
        settings.maxFrontends = 64
        settings.maxSets = 128
        settings.maxSlots = 128 * 1024
        settings.maxBackends = 128
        settings.maxServices = 32
        settings.maxTCPFlows = 8192
        settings.maxUDPFlows = 8192
        datapath = try Datapath.load(settings, pins: nil)
        kernel = KernelMaps(datapath.maps)
        model = ModelMaps(capacity: datapath.maps.capacity)
    }

    /// As an agent does that starts: knows nothing but what the maps say.
    mutating func restart() throws -> MapImage {
        kernel = KernelMaps(datapath.maps)
        return try kernel.read()
    }

    /// Performs the plan to `desired` up to the write `end`, as single writes; after each the kernel's maps are
    /// compared with the model's, and packets are sent.
    ///
    /// - Returns: whether the plan was performed to its end.
    mutating func sync(to desired: DesiredState, until end: Int = .max) throws -> Bool {
        let image = try restart()
        let transition = try Transition(from: model, to: desired)
        let plan = try Planner.plan(from: image, to: desired)
        guard plan.problems.isEmpty else { throw Violation("\(plan.problems)") }
        for write in plan.writes.prefix(end) {
            try perform(write)
            try transition.check(model)
            try sendPackets(transition.questions)
        }
        guard end >= plan.writes.count else { return false }
        try endFlows(plan.endedFlows)
        try sendPackets(transition.questions)
        return true
    }

    /// Ends UDP flows, as an agent does after a plan.
    private mutating func endFlows(_ ended: EndedFlows) throws {
        GracePeriod.wait()
        _ = try FlowTable(datapath.maps).end([FlowEnding(ended)])
        for index in flows.indices where flows[index].packet.destination.transport == .udp {
            guard let service = flows[index].service, let backend = flows[index].backend?.id else { continue }
            if ended.contains(FlowOwner(service: service, backend: backend)) { flows[index].backend = nil }
        }
    }

    /// Frees what is not in use, as an agent does.
    mutating func reclaim(until end: Int = .max) throws {
        let candidates = ReclaimCandidates(try kernel.read())
        GracePeriod.wait()
        let usage = try FlowTable(datapath.maps).collect(FlowTimeouts()).usage
        let transition = try Transition(from: model, to: DesiredState())
        let writes = Planner.reclaim(model.image, candidates: candidates, inUse: usage)
        for write in writes.prefix(end) {
            try perform(write)
            try sendPackets(transition.questions)
        }
    }

    private mutating func perform(_ write: MapWrite) throws {
        try kernel.perform([write])
        try model.perform(write)
        let image = try kernel.read()
        guard image == model.image else { throw Violation("after \(write) the kernel's maps are \(image)") }
        if case .set(let id, let record?) = write {
            let ids = Set(try kernel.slots(of: record))
            guard ids == Set(try model.table(of: id).ids) else { throw Violation("slots of \(id) are of \(ids)") }
        }
    }
}

extension Rig {
    private static func programs(_ scope: Scope) -> [DatapathProgram] {
        scope == .external ? [.externalXDP, .externalIngress] : [.workloadIngress]
    }

    /// A client that has not been there before.
    private mutating func client(_ question: Question) -> TransportEndpoint {
        while true {
            clients += 1
            let client = TransportEndpoint(
                question.source, UInt16(10_000 + clients % 50_000), question.key.transport)
            if !flows.contains(where: { $0.packet.source == client }) { return client }
        }
    }

    /// New flows to every frontend, and the next packet of each open one.
    mutating func sendPackets(_ questions: [Question]) throws {
        for index in flows.indices { try sendNext(index) }
        for question in questions {
            let answer = try model.answer(question)
            for program in Self.programs(question.scope) {
                for _ in 0..<3 {
                    let packet = Packet(source: client(question), destination: question.key, isFirst: true)
                    try check(try datapath.fate(of: packet, in: program), program, answer, question)
                    probes += 1
                }
            }
        }
        if probes > 1500 { try forgetProbes() }
    }

    /// Their flows would crowd out those that are to stay.
    mutating func forgetProbes() throws {
        let kept = Set(flows.map(\.packet.source))
        _ = try FlowTable(datapath.maps).flush { !kept.contains($0.parties.client) }
        probes = 0
    }

    private func check(
        _ fate: Fate, _ program: DatapathProgram, _ answer: Answer, _ question: Question
    ) throws {
        let isRight =
            switch (answer, fate) {
            case (.notAService, .passed(question.key)), (.outOfRange, .dropped): true
            case (.refused(.noEndpoints), .answered), (.refused, .dropped): true
            // Where XDP cannot send, tc answers.
            case (.refused(.noEndpoints), .passed(question.key)): program == .externalXDP
            // Nobody has told the programs where ClusterIPs are.
            case (.unknownPort, .passed(question.key)): true
            case (.spread, .passed(let endpoint)): answer.endpoints.contains(endpoint)
            default: false
            }
        guard isRight else { throw UnexpectedPacket("\(question): \(fate), expected \(answer)") }
    }

    /// Opens a flow to each of some frontends.
    mutating func openFlows(_ desired: DesiredState, _ random: inout SeededGenerator) throws {
        for question in model.questions(desired) where random.below(2) == 0 {
            guard case .spread = try model.answer(question),
                let program = Self.programs(question.scope).randomElement(using: &random)
            else { continue }
            let packet = Packet(source: client(question), destination: question.key, isFirst: true)
            var flow = Flow(packet: packet, question: question, program: program)
            try send(packet, of: &flow)
            flows.append(flow)
        }
    }

    /// Ends some flows, as timeouts do.
    mutating func closeFlows(_ random: inout SeededGenerator) throws {
        flows = flows.filter { _ in random.below(2) == 0 }
        try forgetProbes()
    }

    /// Rule 2 (design section 4): it goes where the first one went, but for UDP whose backend is gone, or whose frontend
    /// is another Service's or nobody's now (service semantics 2.9).
    private mutating func sendNext(_ index: Int) throws {
        var flow = flows[index]
        if let backend = flow.backend, flow.packet.destination.transport == .udp {
            let frontend = model.image.frontends[flow.packet.destination]
            let isServed = frontend?.service == flow.service && frontend?.flags.contains(.retired) == false
            if !isServed || model.image.backends[backend.id]?.state == .gone { flow.backend = nil }
        }
        var packet = flow.packet
        packet.isFirst = false
        try send(packet, of: &flow)
        flows[index] = flow
    }

    private func send(_ packet: Packet, of flow: inout Flow) throws {
        let fate = try datapath.fate(of: packet, in: flow.program)
        if let backend = flow.backend {
            guard fate == .passed(backend.endpoint) else {
                throw UnexpectedPacket("\(flow.question): \(packet) of a flow to \(backend) has the fate \(fate)")
            }
            return
        }
        let answer = try model.answer(flow.question)
        try check(fate, flow.program, answer, flow.question)
        guard case .spread = answer, case .passed(let endpoint) = fate,
            let record = model.image.frontends[packet.destination],
            case .set(let set) = flow.question.scope == .external ? record.external : record.internal
        else { return }
        let table = try model.table(of: set)
        flow.service = record.service
        flow.backend = zip(table.ids, table.members).first { $0.1.identity == endpoint }.map { ($0.0, endpoint) }
    }
}
