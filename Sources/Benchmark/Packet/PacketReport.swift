public import NetTypes

/// One line of the answer: what was measured.
public struct PacketCase: Sendable, Hashable {
    /// Program of the datapath by its name in the object, `floor`, `harness-xdp` or `harness-tc`.
    public let program: String
    /// What its packets are.
    public let kind: Kind
    /// The family of all addresses.
    public let family: IPFamily
    /// Flows walked through; for new flows, those the table has room for.
    public let flows: FlowCount

    /// What the packets of a case are.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// Nothing is under test: the empty program.
        case empty
        /// ``Floor/macSwap``.
        case macSwap = "mac-swap"
        /// ``Floor/lruHit``.
        case lruHit = "lru-hit"
        /// ``Floor/lruInsert``.
        case lruInsert = "lru-insert"
        /// Data from clients; another packet of the flow came in the same tick of the flow clock (0.54 s).
        case established
        /// Data from clients; the flow's first packet in the tick, which is when its entries are written to.
        case establishedFirst = "established-first"
        /// Data from the backend, otherwise as ``established``.
        case reply
        /// Data from the backend, otherwise as ``establishedFirst``.
        case replyFirst = "reply-first"
        /// A SYN of a tuple never seen before; the flow table is full.
        case newFlow = "new-flow"
        /// To or from an address that no frontend and no flow has.
        case notService = "not-a-service"
    }
}

/// What was measured of a case.
public struct PacketResult: Sendable, Hashable {
    /// What it is.
    public let what: PacketCase
    /// Repetitions of the program in one measurement.
    public let runs: Int
    /// Nanoseconds a run with the harness, as the kernel counts them: whole ones, rounded down.
    public let raw: Statistics?
    /// Nanoseconds a run without the harness: each measurement less that of the empty program in the same round.
    public let net: Statistics?
    /// Why the figures do not stand for the case: other counters moved than should have.
    public let problem: String?
}

/// The answer of a packet benchmark.
public struct PacketReport: Sendable {
    /// Where and when.
    public let machine: Machine
    /// What was asked.
    public let settings: PacketSettings
    /// Every case, in the order of the table.
    public let results: [PacketResult]
    /// Kernel memory of the process's BPF maps at the end, in bytes.
    public let mapBytes: UInt64
    /// The most memory the process itself has had resident, in bytes.
    public let peakBytes: UInt64
    /// Seconds from start to end.
    public let seconds: Double

    /// Whether every case measured what it is named after, and each has at least one measurement.
    public var succeeded: Bool { results.allSatisfy { $0.problem == nil && $0.net != nil } }

    /// The result of a case, if it was measured.
    public subscript(what: PacketCase) -> PacketResult? { results.first { $0.what == what } }

    /// A case's median net of the harness as a multiple of a floor's in the same family and at the same flows.
    public func ratio(_ result: PacketResult, to floor: Floor) -> Double? {
        guard let kind = PacketCase.Kind(rawValue: floor.rawValue), let net = result.net,
            let base = self[
                PacketCase(program: "floor", kind: kind, family: result.what.family, flows: result.what.flows)]?.net,
            base.median > 0
        else { return nil }
        return net.median / base.median
    }
}
