public import NeedletailABI
internal import NetTypes
internal import PacketKit

/// What a program did with a packet, for where the model cannot know which way it went.
public struct Observation: Sendable {
    /// What it returned.
    public var verdict: Int32
    /// The packet afterwards.
    public var output: [UInt8]
    /// What it counted.
    public var counters: [DatapathCounter: Int]

    /// What a test run gave.
    public init(verdict: Int32, output: [UInt8], counters: [DatapathCounter: Int]) {
        self.verdict = verdict
        self.output = output
        self.counters = counters
    }
}

extension Model {
    /// What a program must make of a frame, and what comes of it for those that follow.
    public mutating func process(
        _ bytes: [UInt8], in program: DatapathProgram, device: UInt32, at time: ModelTime, observed: Observation
    ) -> Expectation {
        let frame: ParsedFrame
        do throws(ParsedFrame.Refusal) {
            frame = try ParsedFrame(bytes)
        } catch {
            let counter: DatapathCounter =
                switch error {
                case .notIP: .passNotIP
                case .otherProtocol: .passOtherProtocol
                case .malformed: .passMalformed
                case .extensionHeaders: .passExtensionHeaders
                }
            // A packet may be both.
            let others: [DatapathCounter] = error == .notIP ? [] : [.passMalformed, .passExtensionHeaders]
            return Expectation(
                verdict: .pass, output: .bytes(bytes), counters: [counter: 1], otherCounters: others.map { [$0: 1] })
        }
        var packet = Packet(program: program, device: device, time: time, observed: observed, frame: frame)
        switch frame.kind {
        case .icmp: return icmp(&packet)
        case .encapsulated: return decapsulate(packet)
        case .tcp, .udp:
            guard frame.ip.identification != nil else { break }
            let key = FragmentKey(frame, packet.tuple.source.transport)
            if let noted = fragments[key],
                noted != (packet.tuple.source.port, packet.tuple.destination.port)
            {
                // The identification is another datagram's by now.
                fragments[key] = nil
            }
            if waiting.contains(key.ofDatagram), packet.isXDP, observed.counters == [.passToTC: 1] {
                // They wait at the other hook.
                return packet.passes(.passToTC)
            }
            if waiting.contains(key.ofDatagram), let count = observed.counters[.fragmentReordered] {
                // Those that came before it go once more through this hook, after it.
                return Expectation(verdict: .sentOn, output: .none, counters: [.fragmentReordered: count])
            }
        case .laterFragment(let transport):
            let key = FragmentKey(frame, transport)
            guard let ports = fragments[key] else {
                if packet.isIngress, !packet.isXDP { waiting.insert(key.ofDatagram) }
                return packet.passes(.passFragment)
            }
            packet.tuple = Tuple(
                TransportEndpoint(frame.ip.source, ports.source, transport),
                TransportEndpoint(frame.ip.destination, ports.destination, transport))
        }
        return packet.isIngress ? ingress(&packet) : egress(&packet)
    }

    // MARK: Client to backend

    private mutating func ingress(_ packet: inout Packet) -> Expectation {
        guard let frontend = frontends[packet.tuple.destination] else { return withoutFrontend(&packet) }
        let key = FlowKey(tuple: packet.tuple, direction: .forward)
        if isMarked(packet, frontend), flows[key]?.backend != 0,
            case .spread(let members)? = frontend.answers[packet.scope]
        {
            // A flow that is still known must not notice that nobody asked.
            let rewritten = flows[key]?.rewritten ?? Tuple(packet.tuple.source, slot(packet.tuple, members))
            packet.count(.forwardEstablished)
            return translated(&packet, to: rewritten, nil)
        }
        if let flow = flows[key] {
            if flow.backend == 0, !packet.flags.isBareSYN {
                flows[key]?.seen = packet.time.tick
                return packet.passes(.passNotService)
            }
            if hasLostReplies(flow, packet) {
                packet.count(.flowReplyTaken)
            } else if isUsable(flow, packet, frontend) {
                mark(packet, flow, frontend)
                return established(flow, &packet)
            }
            remove(key)
            packet.replacesFlow = true
        }
        if packet.flags.syn, packet.flags.ack {
            flows[key] = Flow(
                rewritten: packet.tuple, backend: 0, service: frontend.service, flags: 0, seen: packet.time.tick)
            unmark(packet.tuple)
            return packet.passes(.passNotService)
        }
        return newFlow(&packet, frontend)
    }

    /// Whether the replies are another flow's by now, which is looked for when the flow is touched.
    private func hasLostReplies(_ flow: Flow, _ packet: Packet) -> Bool {
        guard flow.backend != 0, !flow.isEncapsulated, flow.seen != packet.time.tick,
            let other = flows[FlowKey(tuple: flow.rewritten.reversed, direction: .reverse)]
        else { return false }
        return other.rewritten.reversed != packet.tuple
    }

    private func isUsable(_ flow: Flow, _ packet: Packet, _ frontend: ModelFrontend) -> Bool {
        guard flow.backend != 0 else { return false }
        let state = state(flow.backend)
        if packet.tuple.source.transport == .udp {
            return !retired.contains(frontend.key) && flow.service == frontend.service
                && (state == .active || state == .terminating)
        }
        guard packet.flags.isBareSYN else { return true }
        let seenEnd = flow.flags & (NT_FLOW_FIN_FORWARD | NT_FLOW_FIN_REVERSE | NT_FLOW_RST) != 0
        return !seenEnd && (state == .active || state == .terminating && flow.flags & NT_FLOW_REPLIED != 0)
    }

    /// Removes a forward entry with its reverse entry, unless that is another's by now.
    private mutating func remove(_ key: FlowKey) {
        guard let flow = flows.removeValue(forKey: key), flow.backend != 0, !flow.isEncapsulated else { return }
        let other = FlowKey(tuple: flow.rewritten.reversed, direction: .reverse)
        if flows[other]?.rewritten.reversed == key.tuple { flows[other] = nil }
    }

    private mutating func established(_ flow: Flow, _ packet: inout Packet) -> Expectation {
        var path: Path?
        if flow.isMasqueraded || flow.isEncapsulated {
            switch self.path(&packet, to: flow.rewritten.destination.address, isEncapsulated: flow.isEncapsulated) {
            case .failure(let outcome): return outcome.expectation
            case .success(let found): path = found
            }
        }
        touch(&packet, .forward, flow)
        packet.count(.forwardEstablished)
        if flow.isEncapsulated, let path { return encapsulated(&packet, to: flow.rewritten.destination, path) }
        return translated(&packet, to: flow.rewritten, path)
    }

    /// Notes a packet in both entries of its flow.
    private mutating func touch(_ packet: inout Packet, _ direction: FlowDirection, _ flow: Flow) {
        var changed = flow
        let flags = packet.flags
        if direction == .forward {
            if flags.fin { changed.flags |= NT_FLOW_FIN_FORWARD }
            if flags.rst { changed.flags |= NT_FLOW_RST }
        } else {
            changed.flags |= NT_FLOW_REPLIED
            if flags.fin { changed.flags |= NT_FLOW_FIN_REVERSE }
            // A backend that goes on talking has not taken the client's reset for one.
            if packet.tuple.source.transport == .tcp {
                changed.flags = changed.flags & ~NT_FLOW_RST | (flags.rst ? NT_FLOW_RST : 0)
            }
        }
        changed.seen = packet.time.tick
        flows[FlowKey(tuple: packet.tuple, direction: direction)] = changed
        guard !flow.isEncapsulated, flow.seen != changed.seen || flow.flags != changed.flags else { return }
        let peer = FlowKey(tuple: changed.rewritten.reversed, direction: direction == .forward ? .reverse : .forward)
        if let other = flows[peer] {
            guard other.rewritten.reversed == packet.tuple else { return }
        } else {
            packet.count(.flowRepaired)
        }
        var other = changed
        other.rewritten = packet.tuple.reversed
        flows[peer] = other
    }

    private mutating func newFlow(_ packet: inout Packet, _ frontend: ModelFrontend) -> Expectation {
        if retired.contains(frontend.key) { return packet.passes(.passRetired) }
        let client = packet.tuple.source
        if frontend.has(NT_FRONTEND_SOURCE_RANGES),
            !(frontend.allowedSources ?? []).contains(where: { $0.contains(client.address) })
        {
            return packet.drops(.dropSourceRange)
        }
        let members: [ModelMember]
        // What came encapsulated has its backend.
        let countsAsPod = packet.tunnelled == nil && node.podPrefixes.contains { $0.contains(client.address) }
        let scope = countsAsPod ? .internal : packet.scope
        switch frontend.answers[scope] ?? .noEndpoints {
        case .noEndpoints: return refused(&packet, .dropNoEndpoints)
        case .noLocalEndpoints: return packet.drops(.dropNoLocalEndpoints)
        case .spread(let set): members = set
        }
        guard let id = packet.tunnelled ?? choose(packet, frontend, members), let backend = backends[id] else {
            return packet.drops(.dropBadSlot)
        }
        let target = backend.endpoint
        let isLocal = backend.isLocal || isOwn(target.address)
        if frontend.has(NT_FRONTEND_DSR), packet.scope == .external, !isLocal, packet.tunnelled == nil {
            return newEncapsulated(&packet, frontend, id, target)
        }
        let masqueradeFlag =
            scope == .external ? NT_FRONTEND_MASQUERADE_EXTERNAL : NT_FRONTEND_MASQUERADE_INTERNAL
        let isMasqueraded =
            packet.tunnelled == nil && node.route(to: target.address) != .own
            && (frontend.has(masqueradeFlag) || packet.scope == .external && !isLocal
                || target.address == client.address)
        var source = client
        var path: Path?
        if isMasqueraded {
            switch self.path(&packet, to: target.address) {
            case .failure(let outcome): return outcome.expectation
            case .success(let found): path = found
            }
            let device = path.flatMap { node.devices[$0.device] }
            guard
                let address = device?.addresses[client.address.family] ?? node.addresses[client.address.family]
            else { return packet.drops(.dropNoRoute) }
            source = TransportEndpoint(address, client.port, client.transport)
        }
        let clashes = isTaken(Tuple(source, target), for: packet)
        if isMasqueraded || clashes {
            guard let port = freePort(source.address, target, packet) else { return packet.drops(.dropPortClash) }
            source = TransportEndpoint(source.address, port, client.transport)
            if !isMasqueraded { packet.count(.flowPortRemapped) }
        }
        var flags: UInt32 = isMasqueraded ? NT_FLOW_MASQUERADED : clashes ? NT_FLOW_REMAPPED : 0
        if packet.tunnelled != nil { flags |= NT_FLOW_DSR_REPLY }
        if flags != 0 || frontend.affinity > 0 { unmark(packet.tuple) }
        flags |= packet.flags.ofNewFlow
        let rewritten = Tuple(source, target)
        var flow = Flow(
            rewritten: rewritten, backend: id, service: frontend.service, flags: flags, seen: packet.time.tick)
        flows[FlowKey(tuple: packet.tuple, direction: .forward)] = flow
        flow.rewritten = packet.tuple.reversed
        let replies = FlowKey(tuple: rewritten.reversed, direction: .reverse)
        if let former = flows[replies], former.rewritten.reversed != packet.tuple {
            // Its replies are not its own any more; unless its client's tuple leads elsewhere by now.
            let requests = FlowKey(tuple: former.rewritten.reversed, direction: .forward)
            if flows[requests]?.rewritten == rewritten { flows[requests] = nil }
        }
        flows[replies] = flow
        packet.countNewFlow()
        return translated(&packet, to: rewritten, path)
    }

    // MARK: Encapsulated

    /// For a backend elsewhere, whose node answers the client: this node has no part in the replies.
    private mutating func newEncapsulated(
        _ packet: inout Packet, _ frontend: ModelFrontend, _ backend: Int, _ target: TransportEndpoint
    ) -> Expectation {
        switch path(&packet, to: target.address, isEncapsulated: true) {
        case .failure(let outcome): return outcome.expectation
        case .success(let path):
            unmark(packet.tuple)
            flows[FlowKey(tuple: packet.tuple, direction: .forward)] = Flow(
                rewritten: Tuple(packet.tuple.source, target), backend: backend, service: frontend.service,
                flags: NT_FLOW_DSR | packet.flags.ofNewFlow, seen: packet.time.tick)
            packet.countNewFlow()
            return encapsulated(&packet, to: target, path)
        }
    }

    private mutating func encapsulated(
        _ packet: inout Packet, to target: TransportEndpoint, _ path: Path
    ) -> Expectation {
        noteFragment(packet)
        packet.count(.dsrEncapsulated)
        var bytes = packet.frame.bytes
        let ip = packet.frame.ip
        Rewrite.decrementHopLimit(&bytes, ip)
        let device = node.devices[path.device]
        let source = device?.addresses[ip.family] ?? node.addresses[ip.family] ?? ip.source
        let type = Array(bytes[12..<14])
        return Expectation(
            verdict: path.device == packet.device ? .sentBack : .sentOn,
            output: .tunnel(
                link: path.neighbour.map { $0 + (device?.hardwareAddress ?? []) + type }, source: source,
                destination: target.address, inner: Array(bytes[ip.start..<ip.end]), trailer: Array(bytes[ip.end...])),
            counters: packet.counters)
    }

    /// From a node that has encapsulated it for a backend here.
    private mutating func decapsulate(_ packet: Packet) -> Expectation {
        let outer = packet.frame.ip
        guard packet.isIngress, packet.scope == .external, outer.identification == nil,
            let inner = try? ParsedFrame(
                Array(packet.frame.bytes[..<outer.start] + packet.frame.bytes[outer.payload..<outer.end])),
            inner.ip.identification == nil, let tuple = inner.tuple, let frontend = frontends[tuple.destination],
            frontend.has(NT_FRONTEND_DSR), let backend = localBackend(at: outer.destination, of: frontend, tuple)
        else { return packet.passes(.passOtherProtocol) }
        var inside = Packet(
            program: packet.program, device: packet.device, time: packet.time, observed: packet.observed,
            frame: inner)
        inside.tunnelled = backend
        inside.count(.dsrDecapsulated)
        return ingress(&inside)
    }

    /// The one that the tuple's own flow has, or else one of the set.
    private func localBackend(at address: IPAddress, of frontend: ModelFrontend, _ tuple: Tuple) -> Int? {
        func isIt(_ id: Int) -> Bool { backends[id]?.endpoint.address == address && backends[id]?.isLocal == true }
        // It may be here by its route alone.
        if let flow = flows[FlowKey(tuple: tuple, direction: .forward)], !flow.isEncapsulated, !flow.isMasqueraded,
            backends[flow.backend]?.endpoint.address == address
        {
            return flow.backend
        }
        guard !retired.contains(frontend.key), case .spread(let members)? = frontend.answers[.external] else {
            return nil
        }
        return members.compactMap { backendIDs[$0.endpoint] }.first(where: isIt)
    }

    private mutating func choose(_ packet: Packet, _ frontend: ModelFrontend, _ members: [ModelMember]) -> Int? {
        guard frontend.affinity > 0 else { return backendIDs[slot(packet.tuple, members)] }
        let key = AffinityKey(client: packet.tuple.source.address, service: frontend.service)
        var chosen = backendIDs[slot(packet.tuple, members)]
        if let last = affinities[key],
            packet.time.nanoseconds - last.used < UInt64(frontend.affinity) * 1_000_000_000,
            let backend = backends[last.backend], backend.state == .active,
            members.contains(where: { $0.endpoint == backend.endpoint })
        {
            chosen = last.backend
        }
        if let chosen { affinities[key] = Affinity(backend: chosen, used: packet.time.nanoseconds) }
        return chosen
    }

    /// Whether packets for this address stay on the node.
    private func isOwn(_ address: IPAddress) -> Bool {
        switch node.route(to: address) {
        case .own: true
        case .none: false
        case .out(let device, _, _): (node.devices[device]?.flags ?? 0) & NT_DEVICE_WORKLOAD != 0
        }
    }

    /// Whether replies to this tuple belong to another flow that lives.
    private func isTaken(_ rewritten: Tuple, for packet: Packet) -> Bool {
        guard let other = flows[FlowKey(tuple: rewritten.reversed, direction: .reverse)],
            other.rewritten.reversed != packet.tuple
        else { return false }
        if rewritten.source.transport == .udp { return packet.time.tick &- other.seen <= node.udpIdle }
        return !other.isClosed
    }

    /// The port the program took, if it may; one it might have taken if not.
    private func freePort(_ address: IPAddress, _ target: TransportEndpoint, _ packet: Packet) -> UInt16? {
        let free = node.natPorts.filter {
            !isTaken(Tuple(TransportEndpoint(address, $0, target.transport), target), for: packet)
        }
        // It tries 64 of them: with most taken, it may find none.
        let isFull = free.count < node.natPorts.count / 2
        if isFull, packet.observed.verdict == ModelVerdict.drop.code(packet.program) { return nil }
        if let taken = (try? ParsedFrame(packet.observed.output))?.tuple?.source.port, free.contains(taken) {
            return taken
        }
        return free.first
    }

    private mutating func withoutFrontend(_ packet: inout Packet) -> Expectation {
        let destination = packet.tuple.destination
        if node.natPorts.contains(destination.port),
            let flow = flows[FlowKey(tuple: packet.tuple, direction: .reverse)], flow.isMasqueraded
        {
            switch path(&packet, to: flow.rewritten.destination.address) {
            case .failure(let outcome): return outcome.expectation
            case .success(let path):
                touch(&packet, .reverse, flow)
                packet.count(.reverseTranslated)
                return translated(&packet, to: flow.rewritten, path)
            }
        }
        if (addresses[destination.address] ?? 0) & NT_ADDRESS_CLUSTER_IP != 0 {
            return refused(&packet, .dropUnknownPort)
        }
        if node.serviceCIDRs.contains(where: { $0.contains(destination.address) }) {
            return packet.drops(.dropUnallocated)
        }
        let replies = FlowKey(tuple: packet.tuple.reversed, direction: .reverse)
        if packet.flags.isBareSYN, let flow = flows[replies], flow.isClosed {
            flows[replies] = nil
            packet.count(.flowStaleCleared)
        }
        return packet.passes(.passNotService)
    }

    // MARK: Backend to client

    private mutating func egress(_ packet: inout Packet) -> Expectation {
        guard let flow = flows[FlowKey(tuple: packet.tuple, direction: .reverse)], !flow.isMasqueraded else {
            return packet.passes(.passNotService)
        }
        touch(&packet, .reverse, flow)
        packet.count(.reverseTranslated)
        return translated(&packet, to: flow.rewritten, nil)
    }

    // MARK: Out

    /// The packet with another tuple, passed or sent on.
    private mutating func translated(_ packet: inout Packet, to tuple: Tuple, _ path: Path?) -> Expectation {
        noteFragment(packet)
        let frame = packet.frame
        var bytes = frame.bytes
        Rewrite.translate(
            &bytes, frame.ip, frame.ip.isLaterFragment ? nil : tuple.source.transport, to: tuple, limit: frame.ip.end)
        return packet.leaves(bytes, path, node)
    }

    /// The ports of a first fragment, for those that follow.
    private mutating func noteFragment(_ packet: Packet) {
        let frame = packet.frame
        guard frame.ip.identification != nil, !frame.ip.isLaterFragment else { return }
        fragments[FragmentKey(frame, packet.tuple.source.transport)] = (
            packet.tuple.source.port, packet.tuple.destination.port
        )
    }
}

extension Model.FragmentKey {
    init(_ frame: ParsedFrame, _ transport: TransportProtocol) {
        self.init(
            source: frame.ip.source, destination: frame.ip.destination,
            identification: frame.ip.identification ?? 0, transport: transport)
    }
}
