public import BPF
public import NeedletailABI

extension DatapathProgram: @retroactive CaseIterable {
    /// In the order of their numbers.
    public static var allCases: [DatapathProgram] { (0..<NT_PROGRAM_COUNT).compactMap(DatapathProgram.init(rawValue:)) }

    /// The name of the program in the BPF object.
    public var name: String {
        switch self {
        case .externalXDP: "external_xdp"
        case .externalIngress: "external_ingress"
        case .externalEgress: "external_egress"
        case .workloadIngress: "workload_ingress"
        case .workloadEgress: "workload_egress"
        }
    }
}

extension DatapathCounter: @retroactive CaseIterable {
    /// In the order of their numbers.
    public static var allCases: [DatapathCounter] { (0..<NT_COUNTER_COUNT).compactMap(DatapathCounter.init(rawValue:)) }

    /// What became of the packet.
    public enum Class: String, Sendable, CaseIterable {
        /// It was passed on untouched.
        case passed
        /// It was translated.
        case translated
        /// A rare path was taken on the way.
        case fallback
        /// It was refused.
        case dropped
    }

    /// What became of the packet.
    public var outcome: Class {
        switch self {
        case .passNotIP, .passNotService, .passOtherProtocol, .passFragment, .passMalformed, .passExtensionHeaders,
            .passRetired:
            .passed
        case .forwardEstablished, .forwardNew, .reverseTranslated: .translated
        case .flowPickedUp, .flowReselected, .flowRepaired, .flowPortRemapped, .flowStaleCleared, .raceRetried:
            .fallback
        case .dropNoEndpoints, .dropNoLocalEndpoints, .dropNoLocalBackend, .dropBadSlot, .dropFlowTable,
            .dropPortClash, .dropRace, .dropRewrite:
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
        case .forwardEstablished: "forward-established"
        case .forwardNew: "forward-new"
        case .reverseTranslated: "reverse"
        case .flowPickedUp: "picked-up"
        case .flowReselected: "reselected"
        case .flowRepaired: "repaired"
        case .flowPortRemapped: "port-remapped"
        case .flowStaleCleared: "stale-cleared"
        case .raceRetried: "race-retried"
        case .dropNoEndpoints: "no-endpoints"
        case .dropNoLocalEndpoints: "no-local-endpoints"
        case .dropNoLocalBackend: "no-local-backend"
        case .dropBadSlot: "bad-slot"
        case .dropFlowTable: "flow-table"
        case .dropPortClash: "port-clash"
        case .dropRace: "race"
        case .dropRewrite: "rewrite"
        }
    }

    /// One sentence for a person.
    public var explanation: String {
        switch self {
        case .passNotIP: "neither IPv4 nor IPv6"
        case .passNotService: "the destination is no frontend; on egress, no flow has this reply"
        case .passOtherProtocol: "neither TCP nor UDP"
        case .passFragment: "an IP fragment"
        case .passMalformed: "lengths or headers contradict each other"
        case .passExtensionHeaders: "IPv6 extension headers: too many, too long, or source routed"
        case .passRetired: "a new flow to a frontend that has been removed"
        case .forwardEstablished: "client to backend, flow known"
        case .forwardNew: "client to backend, flow created"
        case .reverseTranslated: "backend to client"
        case .flowPickedUp: "a TCP flow without an entry was picked up in the middle"
        case .flowReselected: "a flow got another backend: its own is gone, or a SYN reused its tuple"
        case .flowRepaired: "one direction of a flow had been evicted and was put back"
        case .flowPortRemapped: "the client's source port was changed: two flows had the same reply tuple"
        case .flowStaleCleared: "a direct connection took over the tuple of a closed flow"
        case .raceRetried: "a frontend changed under the lookup, which was repeated"
        case .dropNoEndpoints: "the Service has no usable endpoints"
        case .dropNoLocalEndpoints: "the traffic policy wants an endpoint on this node and there is none"
        case .dropNoLocalBackend: "usable endpoints are on other nodes only, which outside traffic cannot reach yet"
        case .dropBadSlot: "a set, slot or backend that should exist does not: a bug, please report it"
        case .dropFlowTable: "the kernel refused a flow entry"
        case .dropPortClash: "no free source port for a reply tuple that is taken"
        case .dropRace: "a frontend changed under two lookups"
        case .dropRewrite: "the kernel refused to change the packet"
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
