public import BPF
public import NeedletailABI

extension DatapathProgram: @retroactive CaseIterable {
    /// In the order of their numbers.
    public static var allCases: [DatapathProgram] { (0..<NT_PROGRAM_COUNT).compactMap(DatapathProgram.init(rawValue:)) }

    /// Those that are programs of the BPF object, and are attached to devices; ``socket`` stands for the programs of
    /// the cgroup hooks together, as far as counting goes.
    public static var attachable: [DatapathProgram] { allCases.filter { $0 != .socket } }

    /// A number in a record; `nil` for one that is no program's.
    init?(wire: UInt8) {
        guard wire < NT_PROGRAM_COUNT else { return nil }
        self.init(rawValue: UInt32(wire))
    }

    /// The name of the program in the BPF object; of ``socket``, what its counters are shown under.
    public var name: String {
        switch self {
        case .externalXDP: "external_xdp"
        case .externalIngress: "external_ingress"
        case .externalEgress: "external_egress"
        case .workloadIngress: "workload_ingress"
        case .workloadEgress: "workload_egress"
        case .socket: "socket"
        }
    }
}

extension DatapathCounter: @retroactive CaseIterable {
    /// In the order of their numbers.
    public static var allCases: [DatapathCounter] { (0..<NT_COUNTER_COUNT).compactMap(DatapathCounter.init(rawValue:)) }

    /// A number in a record; `nil` for one that is no counter's.
    init?(wire: UInt8) {
        guard wire < NT_COUNTER_COUNT else { return nil }
        self.init(rawValue: UInt32(wire))
    }

    /// What became of the packet.
    public enum Class: String, Sendable, CaseIterable {
        /// It was passed on untouched.
        case passed
        /// It was translated.
        case translated
        /// It was answered by the datapath itself; why is counted besides.
        case answered
        /// A rare path was taken on the way.
        case fallback
        /// It was refused.
        case dropped
    }

    /// What became of the packet.
    public var outcome: Class {
        switch self {
        case .passNotIP, .passNotService, .passOtherProtocol, .passFragment, .passMalformed, .passExtensionHeaders,
            .passRetired, .passToTC:
            .passed
        case .forwardEstablished, .forwardNew, .reverseTranslated, .icmpTranslated, .dsrEncapsulated, .dsrDecapsulated:
            .translated
        case .answerReset, .answerUnreachable, .answerEcho, .answerTimeExceeded, .answerTooBig: .answered
        case .flowPickedUp, .flowReselected, .flowRepaired, .flowReplyTaken, .flowPortRemapped,
            .flowStaleCleared, .flowUntracked, .raceRetried, .fragmentReordered, .eventLost:
            .fallback
        case .dropNoEndpoints, .dropNoLocalEndpoints, .dropUnknownPort, .dropUnallocated, .dropSourceRange,
            .dropBadSlot, .dropFlowTable, .dropPortClash, .dropFlood, .dropNoRoute, .dropHopLimit, .dropTooBig,
            .dropAnswerLimit, .dropRace, .dropRewrite:
            .dropped
        }
    }

    /// A stable name: lower case, words joined by `-`.
    public var name: String {
        switch self {
        case .passNotIP: "not-ip"
        case .passNotService: "not-service"
        case .passOtherProtocol: "other-protocol"
        case .passFragment: "fragment"
        case .passMalformed: "malformed"
        case .passExtensionHeaders: "extension-headers"
        case .passRetired: "retired-frontend"
        case .passToTC: "to-tc"
        case .forwardEstablished: "forward-established"
        case .forwardNew: "forward-new"
        case .reverseTranslated: "reverse"
        case .icmpTranslated: "icmp"
        case .dsrEncapsulated: "dsr-encapsulated"
        case .dsrDecapsulated: "dsr-decapsulated"
        case .answerReset: "reset"
        case .answerUnreachable: "unreachable"
        case .answerEcho: "echo"
        case .answerTimeExceeded: "time-exceeded"
        case .answerTooBig: "too-big-sent"
        case .flowPickedUp: "picked-up"
        case .flowReselected: "reselected"
        case .flowRepaired: "repaired"
        case .flowReplyTaken: "reply-taken"
        case .flowPortRemapped: "port-remapped"
        case .flowStaleCleared: "stale-cleared"
        case .flowUntracked: "untracked"
        case .raceRetried: "race-retried"
        case .fragmentReordered: "fragment-reordered"
        case .dropNoEndpoints: "no-endpoints"
        case .dropNoLocalEndpoints: "no-local-endpoints"
        case .dropUnknownPort: "unknown-port"
        case .dropUnallocated: "unallocated"
        case .dropSourceRange: "source-range"
        case .dropBadSlot: "bad-slot"
        case .dropFlowTable: "flow-table"
        case .dropPortClash: "port-clash"
        case .dropFlood: "flood"
        case .dropNoRoute: "no-route"
        case .dropHopLimit: "hop-limit"
        case .dropTooBig: "too-big"
        case .dropAnswerLimit: "answer-limit"
        case .dropRace: "race"
        case .dropRewrite: "rewrite"
        case .eventLost: "event-lost"
        }
    }

    /// One sentence for a person.
    public var explanation: String {
        switch self {
        case .passNotIP: "neither IPv4 nor IPv6"
        case .passNotService: "the destination is no frontend; on egress, no flow has this reply"
        case .passOtherProtocol: "neither TCP nor UDP, nor what belongs to them"
        case .passFragment: "an IP fragment of a datagram whose first fragment is not known"
        case .passMalformed: "lengths or headers contradict each other"
        case .passExtensionHeaders: "IPv6 extension headers: too many, too long, or source routed"
        case .passRetired: "a new flow to a frontend that has been removed"
        case .passToTC: "left to tc, because XDP cannot send it on"
        case .forwardEstablished: "client to backend, flow known"
        case .forwardNew: "client to backend, flow created"
        case .reverseTranslated: "backend to client"
        case .icmpTranslated: "an ICMP error about a translated flow"
        case .dsrEncapsulated: "client to backend, encapsulated for the node that answers it"
        case .dsrDecapsulated: "came encapsulated from the node the client addressed"
        case .answerReset: "TCP reset sent"
        case .answerUnreachable: "ICMP port unreachable sent"
        case .answerEcho: "echo reply sent, in the name of a Service's address"
        case .answerTimeExceeded: "ICMP time exceeded sent"
        case .answerTooBig: "ICMP fragmentation needed, or packet too big, sent"
        case .flowPickedUp: "a TCP flow without an entry was picked up in the middle"
        case .flowReselected: "a flow got another backend: its own is gone, or a SYN reused its tuple"
        case .flowRepaired: "one direction of a flow had been evicted and was put back"
        case .flowReplyTaken:
            "a flow began anew: its reply entry had been evicted, and the reply tuple was another flow's by then"
        case .flowPortRemapped: "the client's source port was changed: two flows had the same reply tuple"
        case .flowStaleCleared: "a direct connection took over the tuple of a closed flow"
        case .flowUntracked: "too many new flows: forwarded without an entry"
        case .raceRetried: "a frontend changed under the lookup, which was repeated"
        case .fragmentReordered: "a fragment waited for the first one of its datagram"
        case .dropNoEndpoints: "the Service has no usable endpoints"
        case .dropNoLocalEndpoints: "the traffic policy wants an endpoint on this node and there is none"
        case .dropUnknownPort: "no Service of this ClusterIP has the port"
        case .dropUnallocated: "an address of the service CIDRs that no Service has"
        case .dropSourceRange: "the source is not in loadBalancerSourceRanges"
        case .dropBadSlot: "a set, slot or backend that should exist does not: a bug, please report it"
        case .dropFlowTable: "the kernel refused a flow entry"
        case .dropPortClash: "no free source port for the reply tuple"
        case .dropFlood: "too many new flows, and this one cannot go without an entry"
        case .dropNoRoute: "no route to the backend, or back to the client"
        case .dropHopLimit: "the hop limit ran out"
        case .dropTooBig: "larger than the way out takes, and not to be fragmented"
        case .dropAnswerLimit: "refused without a word: this source has been told often enough"
        case .dropRace: "a frontend changed under two lookups"
        case .dropRewrite: "the kernel refused to change the packet"
        case .eventLost: "no packet, but an event that `needletail monitor` was too slow to take"
        }
    }
}

/// A reading of the counters, summed over all CPUs.
public struct CounterReading: Sendable, Hashable {
    /// By program, then counter; zero where absent.
    public private(set) var values: [DatapathProgram: [DatapathCounter: UInt64]] = [:]

    /// Reads them.
    public init(_ maps: DatapathMaps) throws(BPFError) {
        for cpu in try maps.counters.lookup(0) ?? [] {
            withUnsafeBytes(of: cpu) { bytes in
                let words = bytes.bindMemory(to: UInt64.self)
                for program in DatapathProgram.allCases {
                    for counter in DatapathCounter.allCases {
                        let word = words[Int(program.rawValue * NT_COUNTER_COUNT + counter.rawValue)]
                        if word > 0 { values[program, default: [:]][counter, default: 0] += word }
                    }
                }
            }
        }
    }

    /// One program's counter.
    public subscript(program: DatapathProgram, counter: DatapathCounter) -> UInt64 { values[program]?[counter] ?? 0 }

    /// A counter over all programs.
    public subscript(counter: DatapathCounter) -> UInt64 {
        DatapathProgram.allCases.reduce(0) { $0 + self[$1, counter] }
    }
}
