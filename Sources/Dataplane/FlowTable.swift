internal import BPF
internal import Glibc
public import NeedletailABI
public import NetTypes
public import Planning

/// One direction of a flow, as the datapath holds it.
public struct FlowEntry: Sendable, Hashable {
    /// State bits of a flow (`nt_flow.flags`).
    public struct Flags: OptionSet, Sendable, Hashable {
        /// The bits.
        public let rawValue: UInt32
        /// From the bits.
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// Opened by a SYN that was seen.
        public static let syn = Flags(rawValue: NT_FLOW_SYN)
        /// The backend has answered.
        public static let replied = Flags(rawValue: NT_FLOW_REPLIED)
        /// The client has sent a FIN.
        public static let finForward = Flags(rawValue: NT_FLOW_FIN_FORWARD)
        /// The backend has sent a FIN.
        public static let finReverse = Flags(rawValue: NT_FLOW_FIN_REVERSE)
        /// Either has sent a RST.
        public static let rst = Flags(rawValue: NT_FLOW_RST)
        /// The client's port was changed.
        public static let remapped = Flags(rawValue: NT_FLOW_REMAPPED)
        /// The source was changed to an address of this node.
        public static let masqueraded = Flags(rawValue: NT_FLOW_MASQUERADED)
        /// Sent on encapsulated; the backend's node answers the client.
        public static let dsr = Flags(rawValue: NT_FLOW_DSR)
        /// Came encapsulated from another node; this one answers the client.
        public static let dsrReply = Flags(rawValue: NT_FLOW_DSR_REPLY)
    }

    /// Where a flow is in its life.
    public enum State: String, Sendable, Hashable, CaseIterable {
        /// Opened by the client, no answer yet.
        case opening
        /// Both sides have spoken.
        case established
        /// One side has finished.
        case closing
        /// Both have, or one has reset it.
        case closed

        init(_ flags: Flags) {
            if flags.contains(.rst) || flags.isSuperset(of: [.finForward, .finReverse]) {
                self = .closed
            } else if !flags.isDisjoint(with: [.finForward, .finReverse]) {
                self = .closing
            } else {
                // Replies of an encapsulated flow do not pass this node.
                self = flags.isDisjoint(with: [.replied, .dsr]) ? .opening : .established
            }
        }
    }

    /// Which way.
    public var direction: FlowDirection
    /// As the packets arrive.
    public var onWire: FlowTuple
    /// As they leave.
    public var rewritten: FlowTuple
    /// The backend's id.
    public var backend: BackendID
    /// The service port's id.
    public var service: ServiceID
    /// State bits.
    public var flags: Flags
    /// Seconds since the first packet, to about half a second.
    public var age: Int
    /// Seconds since the last packet in either direction, to about half a second.
    public var idle: Int

    /// The protocol.
    public var transport: TransportProtocol { onWire.source.transport }

    /// Where it is in its life.
    public var state: State { State(flags) }

    /// The client, the frontend it addresses and the backend it reaches, from either direction's entry.
    public var parties: (client: TransportEndpoint, frontend: TransportEndpoint, backend: TransportEndpoint) {
        switch direction {
        case .forward: (onWire.source, onWire.destination, rewritten.destination)
        case .reverse: (rewritten.destination, rewritten.source, onWire.source)
        }
    }
}

/// How long a flow is kept without a packet, in seconds.
public struct FlowTimeouts: Sendable, Hashable {
    /// TCP before the backend's answer.
    public var tcpOpening = 60
    /// TCP with both sides open.
    public var tcpEstablished = 21_600
    /// TCP with one side finished. Programs that read long after they finished writing are alive.
    public var tcpClosing = 3600
    /// TCP finished or reset.
    public var tcpClosed = 30
    /// UDP without an answer (as `nf_conntrack_udp_timeout`).
    public var udpOpening = 30
    /// UDP with one (as `nf_conntrack_udp_timeout_stream`).
    public var udpEstablished = 120

    /// The defaults.
    public init() {}

    func limit(_ transport: TransportProtocol, _ state: FlowEntry.State) -> Int {
        if transport == .udp { return state == .opening ? udpOpening : udpEstablished }
        return switch state {
        case .opening: tcpOpening
        case .established: tcpEstablished
        case .closing: tcpClosing
        case .closed: tcpClosed
        }
    }
}

/// UDP flows that must not go on, as of now: those that begin later are others.
public struct FlowEnding: Sendable {
    let flows: EndedFlows
    private let since: UInt32

    /// Of this moment, when the maps say already where new flows go.
    public init(_ flows: EndedFlows) {
        self.flows = flows
        since = FlowTable.currentTick()
    }

    /// The same moment, as the datapath counts time, for both.
    public func union(_ other: FlowEnding) -> FlowEnding? {
        since == other.since ? FlowEnding(flows: flows.union(other.flows), since: since) : nil
    }

    private init(flows: EndedFlows, since: UInt32) {
        self.flows = flows
        self.since = since
    }

    func contains(_ head: nt_flow) -> Bool {
        // What names no service is no flow of a service.
        head.service.rawValue != 0 && Int32(bitPattern: head.created &- since) <= 0
            && flows.contains(FlowOwner(service: head.service, backend: head.backend))
    }
}

/// The datapath's flows.
public struct FlowTable: Sendable {
    let maps: DatapathMaps

    /// The flows of these maps.
    public init(_ maps: DatapathMaps) {
        self.maps = maps
    }

    /// CLOCK_MONOTONIC in the datapath's ticks (see `tick()` in bpf/flow.h).
    static func currentTick() -> UInt32 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
        let nanoseconds = UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
        return UInt32(truncatingIfNeeded: (nanoseconds >> UInt64(NT_TICK_SHIFT)) + 1)
    }

    /// Calls `body` with each entry, both directions. The table changes meanwhile: see `BPFMap.forEachBatch`.
    public func forEach(_ body: (FlowEntry) throws -> Void) throws {
        let now = Self.currentTick()
        try Self.forEach(maps.flows4, now, body)
        try Self.forEach(maps.flows6, now, body)
    }

    private static func forEach<Key: WireFlowKey & BitwiseCopyable, Value: WireFlowValue & BitwiseCopyable>(
        _ maps: FlowMaps<Key, Value>, _ now: UInt32, _ body: (FlowEntry) throws -> Void
    ) throws {
        for map in maps.all {
            try map.forEach { key, value in if let flow = FlowEntry(key, value, now) { try body(flow) } }
        }
    }

    /// What entries are counted by.
    public struct Kind: Sendable, Hashable {
        /// The family.
        public let family: IPFamily
        /// The protocol.
        public let transport: TransportProtocol
        /// The state.
        public let state: FlowEntry.State
    }

    /// What a pass over the table found and did.
    public struct Pass: Sendable {
        /// Entries seen and kept, by family.
        public var entries: [IPFamily: Int] = [.v4: 0, .v6: 0]
        /// The same, by protocol and state too. A flow has two entries, each with the state as its direction knows it.
        public var kinds: [Kind: Int] = [:]
        /// Entries removed because they were idle for too long.
        public var expired = 0
        /// What the kept entries name.
        public var usage = FlowUsage()
    }

    /// Removes what has been idle for too long, and notes what the rest names, of what `candidates` are; of everything
    /// if there are none given. Takes a second or so for a million entries, a few thousand at a time.
    public func collect(_ timeouts: FlowTimeouts, noting candidates: ReclaimCandidates? = nil) throws -> Pass {
        var pass = Pass()
        for transport in [TransportProtocol.tcp, .udp] {
            try Self.collect(maps.flows4[transport], .v4, transport, timeouts, candidates, &pass)
            try Self.collect(maps.flows6[transport], .v6, transport, timeouts, candidates, &pass)
        }
        return pass
    }

    static func collect<Key: WireFlowKey & BitwiseCopyable, Value: WireFlowValue & BitwiseCopyable>(
        _ map: BPFMap<Key, Value>, _ family: IPFamily, _ transport: TransportProtocol, _ timeouts: FlowTimeouts,
        _ candidates: ReclaimCandidates?, _ pass: inout Pass
    ) throws {
        // By flags: states are told apart once, at the end.
        var kept = [Int](repeating: 0, count: 1 << UInt8.bitWidth)
        var expired = 0
        var usage = pass.usage
        // The times as they are in the entries: most of them are neither expired nor name a candidate, and need not
        // be taken apart.
        func isExpired(_ key: Key, _ head: nt_flow, _ now: UInt32) -> Bool {
            guard let transport = key.transport else { return false }
            let state = FlowEntry.State(FlowEntry.Flags(rawValue: head.flags))
            return FlowEntry.seconds(now, since: head.seen) > timeouts.limit(transport, state)
        }
        func keep(_ key: Key, _ value: Value, _ now: UInt32) {
            let head = value.head
            kept[Int(UInt8(truncatingIfNeeded: head.flags))] += 1
            guard let candidates else {
                if let flow = FlowEntry(key, value, now) { usage.note(flow) }
                return
            }
            if candidates.backends.contains(head.backend) { usage.backends.insert(head.backend) }
            if candidates.services.contains(head.service) { usage.services.insert(head.service) }
            guard !candidates.frontends.isEmpty, let frontend = FlowEntry(key, value, now)?.parties.frontend else {
                return
            }
            if candidates.frontends.contains(frontend) { usage.frontends.insert(frontend) }
        }
        try map.forEachBatch { keys, values in
            let now = currentTick()
            for index in keys.indices {
                let key = keys[index]
                guard isExpired(key, values[index].head, now) else {
                    keep(key, values[index], now)
                    continue
                }
                // A packet may have come since: what is taken out is looked at once more, and put back.
                guard let value = try map.lookupAndDelete(key) else { continue }
                if isExpired(key, value.head, currentTick()) {
                    expired += 1
                } else {
                    try? map.update(key, value, mode: .noExist)
                    keep(key, value, now)
                }
            }
        }
        pass.usage = usage
        pass.expired += expired
        for (flags, count) in kept.enumerated() where count > 0 {
            let state = FlowEntry.State(FlowEntry.Flags(rawValue: UInt32(flags)))
            pass.kinds[Kind(family: family, transport: transport, state: state), default: 0] += count
            pass.entries[family, default: 0] += count
        }
    }

    /// Removes the flows that `matches` picks by their forward entry, with their reply entries.
    ///
    /// - Returns: how many flows.
    public func flush(_ matches: (FlowEntry) -> Bool) throws -> Int {
        let flows4 = try maps.flows4.all.reduce(0) { try $0 + flush($1, matches) }
        let flows = try maps.flows6.all.reduce(flows4) { try $0 + flush($1, matches) }
        try unmark()
        return flows
    }

    /// Uses as many lines for marks as so many flows need. Otherwise than with a few too many, marks of flows are lost,
    /// and are made again.
    public func fitMarks(toFlows flows: Int) throws {
        let lines = min(FlowCapacity.markLines(flows: UInt64(max(0, flows))), maps.marks.info.maxEntries)
        let used = (try maps.marking.lookup(0)?.mask ?? 0) &+ 1
        guard used < lines || used > lines * 4 || used > maps.marks.info.maxEntries else { return }
        try maps.marking.update(0, nt_marking(mask: lines - 1, pad: 0))
    }

    /// Lets the next packet of each flow ask the table, instead of going by a mark.
    public func unmark() throws {
        try maps.marks.withMapped(elements: 0..<Int(maps.marks.info.maxEntries), writable: true) { bytes in
            _ = bytes.initializeMemory(as: UInt8.self, repeating: 0)
        }
    }

    /// What a pass that ends flows found and did.
    public struct Ending: Sendable, Equatable {
        /// Entries removed, by family.
        public var removed: [IPFamily: Int] = [.v4: 0, .v6: 0]
        /// Entries that stay, since an answer may be on its way: to be asked for again in a second.
        public var remaining = 0
    }

    /// Removes the entries of UDP flows that must not go on: the client's next packet begins a new flow. The entry of
    /// the other direction follows when no packet has come for about a second, for there may be an answer on its
    /// way that would reach the client in the backend's name.
    ///
    /// What is stored meanwhile may be missed: programs that could still begin such a flow must have ended (see
    /// `GracePeriod`).
    public func end(_ endings: [FlowEnding]) throws -> Ending {
        var ending = Ending()
        guard endings.contains(where: { !$0.flows.isEmpty }) else { return ending }
        try end(endings, in: maps.flows4.udp, .v4, &ending)
        try end(endings, in: maps.flows6.udp, .v6, &ending)
        return ending
    }

    private func end<Key: WireFlowKey & BitwiseCopyable, Value: WireFlowValue & BitwiseCopyable>(
        _ endings: [FlowEnding], in map: BPFMap<Key, Value>, _ family: IPFamily, _ ending: inout Ending
    ) throws {
        var (removed, remaining) = (0, 0)
        func isSilent(_ key: Key, _ head: nt_flow) -> Bool {
            key.flowDirection == .forward || Int32(bitPattern: Self.currentTick() &- head.seen) > 2
        }
        try map.forEachBatch { keys, values in
            for index in keys.indices where endings.contains(where: { $0.contains(values[index].head) }) {
                let key = keys[index]
                guard isSilent(key, values[index].head) else {
                    remaining += 1
                    continue
                }
                // A packet may have come since: what is taken out is looked at once more, and put back.
                guard let value = try map.lookupAndDelete(key) else { continue }
                if endings.contains(where: { $0.contains(value.head) }), isSilent(key, value.head) {
                    removed += 1
                } else {
                    try? map.update(key, value, mode: .noExist)
                    remaining += 1
                }
            }
        }
        ending.removed[family, default: 0] += removed
        ending.remaining += remaining
    }

    private func flush<Key: WireFlowKey & BitwiseCopyable, Value: WireFlowValue & BitwiseCopyable>(
        _ map: BPFMap<Key, Value>, _ matches: (FlowEntry) -> Bool
    ) throws -> Int {
        var keys: [Key] = []
        // Not the forward entries alone: one of the two may have been evicted.
        var flows: Set<FlowTuple> = []
        let now = Self.currentTick()
        try map.forEach { key, value in
            guard let flow = FlowEntry(key, value, now)?.asForward, matches(flow) else { return }
            keys.append(key)
            flows.insert(flow.onWire)
        }
        try map.delete(keys: keys.span)
        return flows.count
    }
}

extension FlowUsage {
    fileprivate mutating func note(_ flow: FlowEntry) {
        // What answers a connection of the node itself has an entry, but neither backend nor service.
        if flow.backend.rawValue != 0 { backends.insert(flow.backend) }
        if flow.service.rawValue != 0 { services.insert(flow.service) }
        frontends.insert(flow.parties.frontend)
    }
}

extension FlowEntry {
    init?<Key: WireFlowKey, Value: WireFlowValue>(_ key: Key, _ value: Value, _ now: UInt32) {
        guard let tuple = key.tuple, let direction = key.flowDirection else { return nil }
        let transport = tuple.source.transport
        let addresses = value.rewritten
        let head = value.head
        self.init(
            direction: direction, onWire: tuple,
            rewritten: FlowTuple(
                source: TransportEndpoint(addresses.source, head.sport.port, transport),
                destination: TransportEndpoint(addresses.destination, head.dport.port, transport)),
            backend: head.backend, service: head.service, flags: Flags(rawValue: head.flags),
            age: Self.seconds(now, since: head.created), idle: Self.seconds(now, since: head.seen))
    }

    fileprivate static func seconds(_ now: UInt32, since then: UInt32) -> Int {
        // An entry may be younger than the reading of the clock.
        let ticks = UInt64(max(0, Int32(bitPattern: now &- then)))
        return Int(ticks << UInt64(NT_TICK_SHIFT) / 1_000_000_000)
    }

    /// The same flow seen from its client.
    public var asForward: FlowEntry {
        guard direction == .reverse else { return self }
        var flow = self
        flow.direction = .forward
        flow.onWire = rewritten.reversed
        flow.rewritten = onWire.reversed
        return flow
    }
}
