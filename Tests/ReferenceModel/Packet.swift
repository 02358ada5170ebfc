internal import NeedletailABI
internal import NetTypes
internal import PacketKit

/// One packet on its way through a program.
struct Packet {
    let program: DatapathProgram
    let device: UInt32
    let time: ModelTime
    let observed: Observation
    let frame: ParsedFrame
    /// As it is on the wire; of a later fragment, with the ports of the first. Of anything else, nothing.
    var tuple: Tuple
    let flags: ConnectionFlags
    var counters: [DatapathCounter: Int] = [:]
    /// Its tuple had a flow that is of no use any more.
    var replacesFlow = false
    /// The backend it came encapsulated for.
    var tunnelled: Int?

    init(
        program: DatapathProgram, device: UInt32, time: ModelTime, observed: Observation, frame: ParsedFrame
    ) {
        self.program = program
        self.device = device
        self.time = time
        self.observed = observed
        self.frame = frame
        let nowhere = TransportEndpoint(frame.ip.source, 0, .udp)
        tuple = frame.tuple ?? Tuple(nowhere, nowhere)
        flags = ConnectionFlags(frame)
    }

    var isIngress: Bool { program != .externalEgress && program != .workloadEgress }
    var scope: Scope { program == .workloadIngress || program == .workloadEgress ? .internal : .external }
    /// Has VLAN tags.
    var isTagged: Bool { frame.ip.start > 14 }
    var isXDP: Bool { program == .externalXDP }

    mutating func count(_ counter: DatapathCounter) { counters[counter, default: 0] += 1 }

    mutating func countNewFlow() {
        count(.forwardNew)
        if replacesFlow { count(.flowReselected) }
        if tuple.source.transport == .tcp, !flags.syn { count(.flowPickedUp) }
    }

    func passes(_ counter: DatapathCounter, or others: DatapathCounter...) -> Expectation {
        func with(_ counter: DatapathCounter) -> [DatapathCounter: Int] {
            var copy = self
            copy.count(counter)
            return copy.counters
        }
        return Expectation(
            verdict: .pass, output: .bytes(frame.bytes), counters: with(counter), otherCounters: others.map(with))
    }

    func drops(_ counter: DatapathCounter) -> Expectation {
        var copy = self
        copy.count(counter)
        return Expectation(verdict: .drop, output: .none, counters: copy.counters)
    }

    /// Changed bytes, up the stack or along a path.
    func leaves(_ bytes: [UInt8], _ path: Path?, _ node: ModelNode) -> Expectation {
        guard let path else { return Expectation(verdict: .pass, output: .bytes(bytes), counters: counters) }
        var bytes = bytes
        Rewrite.decrementHopLimit(&bytes, frame.ip)
        if let neighbour = path.neighbour {
            bytes.put(neighbour + (node.devices[path.device]?.hardwareAddress ?? []), 0)
        }
        return Expectation(
            verdict: path.device == device ? .sentBack : .sentOn,
            output: path.neighbour == nil ? .withoutLink(Array(bytes.dropFirst(12))) : .bytes(bytes),
            counters: counters)
    }
}

/// The way out of the node.
struct Path {
    let device: UInt32
    let neighbour: [UInt8]?
}

/// The end of a packet that goes no further.
struct Ended: Error {
    let expectation: Expectation
}

/// What the state of a connection depends on; all false for UDP and for fragments without a header.
struct ConnectionFlags {
    let isTCP: Bool
    let syn: Bool
    let ack: Bool
    let fin: Bool
    let rst: Bool

    init(_ frame: ParsedFrame) {
        let flags = frame.flags ?? []
        isTCP = frame.flags != nil
        syn = flags.contains(.syn)
        ack = flags.contains(.ack)
        fin = flags.contains(.fin)
        rst = flags.contains(.rst)
    }

    /// What a flow that begins with such a packet has seen.
    var ofNewFlow: UInt32 {
        var seen: UInt32 = 0
        if syn { seen |= NT_FLOW_SYN }
        // Picked up, it has been open before.
        if isTCP, !syn { seen |= NT_FLOW_REPLIED }
        if fin { seen |= NT_FLOW_FIN_FORWARD }
        if rst { seen |= NT_FLOW_RST }
        return seen
    }

    /// Begins a connection.
    var isBareSYN: Bool { syn && !ack }
}
