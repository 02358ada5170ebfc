internal import BPF
internal import Dataplane
internal import Glibc
internal import NeedletailABI
internal import NetTypes
internal import PacketKit
internal import Planning

/// What is asked of a trace besides the packets.
public struct TraceQuestion: Sendable, Hashable {
    /// Where the packets come from; `nil` is told from the device, else from the source address.
    public var origin: TraceOrigin?
    /// The device they come by; `nil` is the first that carries the program.
    public var device: String?
    /// One program instead of those that see a packet of the origin.
    public var program: ProgramName?

    /// Everything is to be found out.
    public init() {}
}

/// A program that hangs on devices.
public struct ProgramName: Sendable, Hashable {
    let program: DatapathProgram

    /// All there are.
    public static var all: [String] { DatapathProgram.attachable.map(\.name) }

    /// Reads a name.
    public init(_ text: String) throws(FilterError) {
        guard let program = DatapathProgram.attachable.first(where: { $0.name == text }) else {
            throw FilterError(description: "expected \(Self.all.joined(separator: ", "))")
        }
        self.program = program
    }
}

extension DatapathProgram {
    fileprivate var isExternal: Bool {
        switch self {
        case .externalXDP, .externalIngress, .externalEgress: true
        case .workloadIngress, .workloadEgress, .socket: false
        }
    }
}

extension Inspector {
    /// Runs packets through the datapath's programs without consequences, and tells what becomes of them and why.
    ///
    /// To be called in the node's network namespace, where its devices are.
    /// - Throws: ``InspectionError/Kind/notFound`` for a device that carries no program, and as reading the maps does.
    public func trace(_ packets: [InputPacket], _ question: TraceQuestion = TraceQuestion()) throws -> TraceReport {
        let tracer = try Tracer(self, question)
        return TraceReport(traces: try packets.map { try tracer.trace($0) })
    }
}

/// Traces packets by one reading of the maps.
private struct Tracer {
    private let inspector: Inspector
    private let snapshot: Snapshot
    private let question: TraceQuestion
    private let attachments: [Attachment]
    private let devices: [UInt32: DeviceRecord]
    private let node: NodeState

    init(_ inspector: Inspector, _ question: TraceQuestion) throws {
        self.inspector = inspector
        self.question = question
        snapshot = try inspector.snapshot()
        attachments = Attachments.all(in: inspector.pins)
        devices = try inspector.maps.deviceRecords()
        node = try inspector.maps.nodeState()
    }

    func trace(_ packet: InputPacket) throws -> PacketTrace {
        let summary = PacketSummary(packet.frame)
        let device = try question.device.map(namedDevice)
        let (origin, guess) = self.origin(summary.dissection, device)
        var notes: [String] = []
        if let guess { notes.append(guess) }
        if let whole = packet.cutFrom { notes.append("the capture has \(packet.frame.count) of \(whole) bytes") }
        if origin == .node, question.program == nil {
            let (connect, verdict) = try connect(summary.dissection)
            return PacketTrace(
                packet: summary.text, from: origin, device: nil, interface: nil, notes: notes, steps: [],
                connect: connect, verdict: verdict)
        }
        let programs = programs(origin, device)
        let interface = try device ?? defaultDevice(programs)
        if interface == nil { notes.append("no device carries the datapath: traced as if by loopback") }
        if origin == .pod, hooks.contains(.connect4) {
            notes.append("with --sockets=all, pods are led to backends before they send such a packet")
        }
        guard packet.frame.count >= 14, packet.frame.count <= Self.longest else {
            throw InspectionError(
                .usage, "a packet of \(packet.frame.count) bytes cannot be run: 14 to \(Self.longest) can")
        }
        let steps = try steps(packet.frame, programs, interface ?? 0)
        if steps.contains(where: \.differs) {
            notes.append(
                "the programs on devices have other code, of another version of the agent: they may do otherwise")
        }
        guard let last = steps.last else {
            throw InspectionError(.unavailable, "no program sees a packet \(origin.rawValue)")
        }
        return PacketTrace(
            packet: summary.text, from: origin, device: interface.flatMap(name(of:)), interface: interface,
            notes: notes, steps: steps, connect: nil, verdict: verdict(steps) ?? last.verdict)
    }

    /// What a test run takes in one page, with the room that the kernel wants around it.
    private static let longest = 3000

    // MARK: where

    private var hooks: Set<SocketProgram> {
        Set(SocketHooks.all(in: inspector.pins).filter { SocketHooks.isInPlace($0, in: inspector.pins) })
    }

    private func name(of interface: Int32) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(IF_NAMESIZE)) { buffer in
            guard let start = buffer.baseAddress, if_indextoname(UInt32(bitPattern: interface), start) != nil else {
                return nil
            }
            return String(cString: start)
        }
    }

    private func namedDevice(_ device: String) throws(InspectionError) -> Int32 {
        let index = Int32(bitPattern: if_nametoindex(device))
        guard index > 0 else {
            throw InspectionError(
                .notFound,
                "there is no device \(device) in this network namespace: \(known)")
        }
        guard attachments.isEmpty || attachments.contains(where: { $0.interface == index }) else {
            throw InspectionError(.notFound, "device \(device) does not carry the datapath: \(known)")
        }
        return index
    }

    private var known: String {
        let names = Set(attachments.compactMap { name(of: $0.interface) }).sorted()
        return names.isEmpty
            ? "none that is here does" : "\(names.joined(separator: ", ")) \(names.count == 1 ? "does" : "do")"
    }

    /// Whose packet it is, and what to say of it when nobody told.
    private func origin(_ packet: PacketDissection, _ device: Int32?) -> (TraceOrigin, String?) {
        if let origin = question.origin { return (origin, nil) }
        if let program = question.program?.program { return (program.isExternal ? .external : .pod, nil) }
        if let device {
            let isExternal =
                devices[UInt32(bitPattern: device)].map { $0.role == .external }
                ?? attachments.contains { $0.interface == device && $0.program.isExternal }
            return (isExternal ? .external : .pod, nil)
        }
        guard let source = packet.layers.first?.ip.source else { return (.external, nil) }
        let own =
            node.addresses.values.contains(source) || devices.values.contains { $0.addresses.values.contains(source) }
        if own { return (.node, "taken to be from the node, whose address its source is: --from says otherwise") }
        if snapshot.image.backends.values.contains(where: { $0.isLocal && $0.endpoint.address == source }) {
            return (.pod, "taken to be from a pod, since its source is a backend of this node: --from says otherwise")
        }
        return (.external, nil)
    }

    /// The programs that see a packet, in their order.
    private func programs(_ origin: TraceOrigin, _ device: Int32?) -> [DatapathProgram] {
        if let program = question.program?.program { return [program] }
        guard origin == .external else { return [.workloadIngress] }
        let here = attachments.filter { device == nil || $0.interface == device }
        // Where XDP was not to be had, or not wanted, tc does it all.
        let hasXDP = here.isEmpty || here.contains { $0.program == .externalXDP }
        return hasXDP ? [.externalXDP, .externalIngress] : [.externalIngress]
    }

    private func defaultDevice(_ programs: [DatapathProgram]) throws(InspectionError) -> Int32? {
        guard let first = programs.first else { return nil }
        let candidates = attachments.filter { $0.program == first }.map(\.interface)
        guard !candidates.isEmpty else { return nil }
        guard let device = candidates.first(where: { name(of: $0) != nil }) else {
            throw InspectionError(
                .unavailable, "the devices of the datapath are not in this network namespace: run this in the node's")
        }
        return device
    }

    // MARK: what

    private func steps(_ frame: [UInt8], _ programs: [DatapathProgram], _ interface: Int32) throws -> [TraceStep] {
        var steps: [TraceStep] = []
        var frame = frame
        for program in programs {
            let (step, output, goesOn) = try step(frame, program, interface)
            steps.append(step)
            guard goesOn else { break }
            frame = output
        }
        return steps
    }

    /// That of the first program that did anything.
    private func verdict(_ steps: [TraceStep]) -> TraceVerdict? {
        steps.map(\.verdict).first { $0.action != .passed && $0.action != .left }
    }

    private func step(
        _ frame: [UInt8], _ program: DatapathProgram, _ interface: Int32
    ) throws -> (step: TraceStep, output: [UInt8], goesOn: Bool) {
        let twin = try TraceProgram(program, pinnedIn: inspector.pins)
        let outcome = try twin.run(frame, device: interface)
        let record = TraceRecord(outcome.record)
        let output = outcome.run.output
        let packet = PacketDissection(frame)
        let verdict = verdict(outcome, program, record, frame)
        let here = attachments.filter { $0.program == program && (interface == 0 || $0.interface == interface) }
        let frontend = frontend(packet, record)
        // What the programs saw, who may have changed it since.
        let scope = frontend.map { found in
            ScopeView(record.scope == .internal ? .internal : .external, found.key, found.record, snapshot.image)
        }
        let isNew = record.backend != nil && record.notes.isDisjoint(with: [.flow, .reply])
        let affinity = frontend.flatMap { found -> TraceStep.Affinity? in
            let timeout = Int(found.record.affinity)
            return timeout > 0 && isNew
                ? TraceStep.Affinity(timeout: timeout, used: record.notes.contains(.affinity)) : nil
        }
        let step = TraceStep(
            program: program.name, attached: !here.isEmpty,
            differs: twin.differing.contains { interface == 0 || $0.interface == interface },
            frontend: frontend.map { FrontendView($0.key, $0.record, snapshot) }, scope: scope,
            podPrefix: frontend == nil || !program.isExternal || record.scope == .external
                ? nil : podPrefix(packet.layers.first?.ip.source),
            policy: frontend.flatMap { policy($0.record, isInternal: record.scope == .internal) },
            sourceAllowed: sourceAllowed(frontend?.record, packet.layers.first?.ip.source),
            flow: flow(record, outcome.counters, packet), affinity: affinity,
            slot: record.slot.map { TraceStep.Slot(slot: $0.index, slots: $0.count) },
            backend: backend(record), source: source(record, program, frontend?.record, outcome.counters),
            path: path(record, outcome.counters), rewrites: rewrites(frame, output, verdict), verdict: verdict,
            counters: outcome.counters.map(\.name))
        return (step, output, verdict.action == .passed || verdict.action == .left || verdict.action == .translated)
    }

    private typealias Found = (key: TransportEndpoint, record: FrontendRecord)

    private func frontend(_ packet: PacketDissection, _ record: TraceRecord) -> Found? {
        guard record.notes.contains(.frontend) else { return nil }
        // Of an encapsulated packet it is that of the innermost one.
        let candidates = packet.layers.reversed().filter { $0.place != .quoted }.compactMap(\.destination)
        return candidates.compactMap { key in snapshot.image.frontends[key].map { (key, $0) } }.first
    }

    private func sourceAllowed(_ frontend: FrontendRecord?, _ source: IPAddress?) -> Bool? {
        guard let frontend, let source, frontend.flags.contains(.sourceRanges) else { return nil }
        return snapshot.image.ranges[frontend.service]?.contains { $0.contains(source) } ?? false
    }

    private func podPrefix(_ source: IPAddress?) -> String? {
        guard let source, let prefix = node.podPrefixes[source.family], prefix.contains(source) else { return nil }
        return "\(prefix)"
    }

    /// What the sets of the two scopes tell of the Service's policies.
    private func policy(_ frontend: FrontendRecord, isInternal: Bool) -> String? {
        let name = isInternal ? "internalTrafficPolicy" : "externalTrafficPolicy"
        let (mine, other) =
            isInternal ? (frontend.internal, frontend.external) : (frontend.external, frontend.internal)
        switch mine {
        case .refuse(.noLocalEndpoints): return "\(name) is Local"
        case .refuse: return nil
        case .set(let id):
            guard let members = memberIDs(id) else { return nil }
            let isLocal = members.allSatisfy { snapshot.image.backends[$0]?.isLocal == true }
            guard case .set(let otherID) = other, otherID != id, let others = memberIDs(otherID) else {
                return "\(name) is Cluster, or makes no difference"
            }
            if isLocal, members.isStrictSubset(of: others) {
                return "\(name) is Local: \(members.count) of the \(others.count) backends, those on this node"
            }
            return others.isStrictSubset(of: members)
                ? "\(name) is Cluster: all \(members.count) backends, wherever they run"
                : "\(name) makes it other backends than those of the other scope"
        }
    }

    private func memberIDs(_ set: SetID) -> Set<BackendID>? { snapshot.slots(of: set).map(Set.init) }

    private func flow(_ record: TraceRecord, _ counters: [DatapathCounter], _ packet: PacketDissection) -> TraceStep
        .Flow?
    {
        let names = record.flowFlags.names
        func described(_ state: String, _ text: String) -> TraceStep.Flow {
            TraceStep.Flow(
                state: state, flags: names,
                explanation: text + (names.isEmpty ? "" : " (\(names.joined(separator: ", ")))"))
        }
        if record.notes.contains(.reply) { return described("reply", "the reply of a flow that is known") }
        if record.notes.contains(.flow) {
            return record.backend == nil
                ? described("found", "known: it answers a connection of the node itself, and is left alone")
                : described("found", "known, and decides")
        }
        if record.notes.contains(.unusableFlow) {
            let text =
                counters.contains(.flowReplyTaken)
                ? "one is known, but replies to it are another flow's by now"
                : "one is known, but its backend is gone or the tuple begins anew"
            return counters.contains(.forwardNew)
                ? described("unusable", "\(text): another begins")
                : TraceStep.Flow(state: "unusable", flags: [], explanation: text)
        }
        if counters.contains(.forwardNew) { return described("new", "none is known: a new one would begin") }
        guard record.notes.contains(.frontend) else { return nil }
        return TraceStep.Flow(state: "none", flags: [], explanation: "none is known, and none begins")
    }

    private func backend(_ record: TraceRecord) -> TraceStep.Backend? {
        guard let id = record.backend else { return nil }
        let known = snapshot.image.backends[id]
        return TraceStep.Backend(
            id: id.rawValue, address: known.map { "\($0.endpoint.address)" }, port: known?.endpoint.port,
            state: BackendStateName(known), local: record.notes.contains(.local) || known?.isLocal == true)
    }

    private func source(
        _ record: TraceRecord, _ program: DatapathProgram, _ frontend: FrontendRecord?, _ counters: [DatapathCounter]
    ) -> TraceStep.Source? {
        guard record.backend != nil, counters.contains(where: { $0.outcome == .translated }) else { return nil }
        let flags = record.flowFlags
        let isHairpin = record.notes.contains(.hairpin)
        let isMasqueraded = flags.contains(.masqueraded)
        func source(_ text: String) -> TraceStep.Source {
            TraceStep.Source(
                masqueraded: isMasqueraded, encapsulated: flags.contains(.dsr), hairpin: isHairpin, explanation: text)
        }
        if record.notes.contains(.reply) {
            return source(
                isMasqueraded
                    ? "becomes the frontend's, and the destination the client's: the flow is masqueraded"
                    : "becomes the frontend's")
        }
        if flags.contains(.dsr) {
            return source("kept: encapsulated for the backend's node, which answers the client itself (DSR)")
        }
        if flags.contains(.dsrReply) {
            return source("kept: came encapsulated, and this node answers the client (DSR)")
        }
        if isMasqueraded {
            let wanted: FrontendFlags = record.scope == .internal ? .masqueradeInternal : .masqueradeExternal
            let why =
                if isHairpin {
                    "the client is the backend, and would answer itself"
                } else if let frontend, frontend.flags.contains(wanted) {
                    "the frontend is masqueraded for this scope (--masquerade)"
                } else {
                    "the backend is on another node, and its answers must come back here"
                }
            return source("masqueraded as this node: \(why)")
        }
        return source(
            flags.contains(.remapped)
                ? "kept, but for its port: another flow has the same reply"
                : program == .workloadIngress
                    ? "kept: answers to this node's pods pass here anyway"
                    : "kept: the backend is on this node")
    }

    private func path(_ record: TraceRecord, _ counters: [DatapathCounter]) -> TraceStep.Path? {
        let isLost = counters.contains(.dropNoRoute)
        guard record.path != nil || record.routing != 0 || isLost else { return nil }
        let answers: [Int32: String] = [
            0: "found", 1: "a black hole", 2: "unreachable", 3: "prohibited", 4: "an address of this node",
            5: "forwarding is off", 6: "of a kind that programs cannot use", 7: "found", 8: "found, but too narrow",
        ]
        let routing = answers[record.routing] ?? "error \(record.routing)"
        func mac(_ bytes: [UInt8]) -> String {
            bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
        }
        return TraceStep.Path(
            routing: routing, device: record.path.map { name(of: $0.interface) ?? "?" },
            interface: record.path?.interface, mtu: record.path?.mtu,
            source: record.path?.link.map { mac($0.source) },
            destination: record.path?.link.map { mac($0.destination) },
            xdp: record.path?.takesFromXDP ?? false)
    }

    private func rewrites(_ before: [UInt8], _ after: [UInt8], _ verdict: TraceVerdict) -> [TraceStep.Rewrite] {
        guard before != after, [.translated, .sent].contains(verdict.action),
            PacketDissection(before).layers.count == PacketDissection(after).layers.count
        else { return [] }
        return PacketDiff(expected: before, actual: after).changes.map {
            TraceStep.Rewrite(field: $0.name, before: $0.left, after: $0.right)
        }
    }

    // MARK: verdicts

    private func verdict(
        _ outcome: TraceProgram.Outcome, _ program: DatapathProgram, _ record: TraceRecord, _ frame: [UInt8]
    ) -> TraceVerdict {
        let counters = outcome.counters
        let output = outcome.run.output
        let packet = output == frame ? nil : PacketSummary(output).text
        let why = counters.filter { $0.outcome == .dropped }.map(\.explanation)
        func explanation(_ fallback: String, _ classes: DatapathCounter.Class...) -> String {
            let texts = counters.filter { classes.contains($0.outcome) }.map(\.explanation)
            return texts.isEmpty ? fallback : texts.joined(separator: "; ")
        }
        let isXDP = program == .externalXDP
        switch (isXDP, outcome.run.signedVerdict) {
        // XDP_PASS; TC_ACT_UNSPEC.
        case (true, 2), (false, -1):
            if counters.contains(.passToTC) {
                return TraceVerdict(isXDP ? .left : .passed, DatapathCounter.passToTC.explanation)
            }
            guard packet == nil else {
                return TraceVerdict(.translated, explanation("translated", .translated), packet: packet)
            }
            return TraceVerdict(.passed, explanation("untouched", .passed, .translated))
        // XDP_TX, XDP_REDIRECT; TC_ACT_REDIRECT.
        case (true, 3), (true, 4), (false, 7):
            let answers = counters.filter { $0.outcome == .answered }.map(\.explanation)
            if !answers.isEmpty {
                return TraceVerdict(.answered, (answers + why).joined(separator: "; "), packet: packet)
            }
            let device = record.path.map { name(of: $0.interface) ?? "?" }
            return TraceVerdict(
                .sent, explanation("sent on", .translated), device: device, packet: packet)
        default:
            // XDP_DROP, XDP_ABORTED; TC_ACT_SHOT.
            return TraceVerdict(.dropped, why.isEmpty ? "the program gave up" : why.joined(separator: "; "))
        }
    }

    // MARK: sockets

    private func connect(_ packet: PacketDissection) throws -> (ConnectTrace, TraceVerdict) {
        guard let source = packet.source, let destination = packet.destination else {
            throw InspectionError(
                .usage, "from the node only TCP and UDP can be traced: that is what the socket hooks see")
        }
        let call = destination.transport == .tcp ? "connect()" : "connect() or sendmsg()"
        let hasHooks = hooks.contains(destination.address.family == .v4 ? .connect4 : .connect6)
        let record = snapshot.image.frontends[destination]
        let scope = record.map { ScopeView(.internal, destination, $0, snapshot.image) }
        let affinity = Int(record?.affinity ?? 0)
        let allowed = sourceAllowed(record, source.address)
        let chosen = record.flatMap { if case .set(let id) = $0.internal { id } else { nil } }
        let counts = chosen.map(snapshot.slotCounts(of:)) ?? [:]
        let slots = counts.values.reduce(0, +)
        let backends = counts.compactMap { id, count -> (TransportEndpoint, ConnectTrace.Choice)? in
            guard let known = snapshot.image.backends[id] else { return nil }
            let place = known.isLocal ? "on this node" : "on another node"
            return (
                known.endpoint,
                ConnectTrace.Choice(
                    id: id.rawValue, address: "\(known.endpoint.address)", port: known.endpoint.port,
                    share: Quantity.percentage(count, of: slots),
                    text: "\(known.endpoint.address.withPort(known.endpoint.port)), id \(id.rawValue), \(place)")
            )
        }
        .sorted { ($0.0, $0.1.id) < ($1.0, $1.1.id) }.map(\.1)
        let trace = ConnectTrace(
            hooks: hasHooks, frontend: record.map { FrontendView(destination, $0, snapshot) }, scope: scope,
            policy: record.flatMap { policy($0, isInternal: true) }, sourceAllowed: allowed,
            affinity: affinity > 0 ? affinity : nil, backends: backends)
        let verdict: TraceVerdict
        if !hasHooks {
            verdict = TraceVerdict(
                .passed,
                "there are no socket hooks (--sockets), and programs on devices do not see what the node itself sends")
        } else if let record {
            if record.flags.contains(.retired) {
                verdict = TraceVerdict(.passed, "the frontend has been removed: \(call) goes to the address itself")
            } else if allowed == false {
                verdict = TraceVerdict(
                    .refused, "\(call) fails with EPERM: \(DatapathCounter.dropSourceRange.explanation)")
            } else if chosen == nil {
                verdict = TraceVerdict(.refused, "\(call) fails with ECONNREFUSED: \(scope?.explanation ?? "")")
            } else {
                let word = Quantity.count(backends.count, "backend")
                verdict = TraceVerdict(
                    .connected, "\(call) goes to one of \(word), by chance; no packet is translated afterwards")
            }
        } else {
            verdict = TraceVerdict(.passed, "no Service has it: \(call) goes to the address itself")
        }
        return (trace, verdict)
    }
}
