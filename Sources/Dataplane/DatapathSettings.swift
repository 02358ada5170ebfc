internal import Glibc
internal import NeedletailABI
internal import Planning

/// What is fixed when the datapath is loaded. Sizes hold for the life of the pinned maps.
public struct DatapathSettings: Sendable, Hashable {
    /// Whose sockets are led to backends when they connect, without work for each packet.
    public enum Sockets: String, Sendable, Hashable, CaseIterable {
        /// Nobody's: each packet is translated.
        case off
        /// Those of the node's own network namespace.
        case host
        /// Those of pods too.
        case all

        var wire: UInt32 {
            switch self {
            case .off: NT_SOCKETS_OFF
            case .host: NT_SOCKETS_HOST
            case .all: NT_SOCKETS_ALL
            }
        }
    }

    /// Frontends of each family, and addresses of theirs.
    public var maxFrontends: UInt32 = 65_536
    /// Distinct backend sets.
    public var maxSets: UInt32 = 65_536
    /// Maglev slots of all sets together, 4 bytes each: at least 100 for each member of each set and 251 for each set,
    /// and then one for each member, in whole sixteens.
    public var maxSlots: UInt32 = 16 << 20
    /// Backends.
    public var maxBackends: UInt32 = 131_072
    /// Service ports. Each takes 72 bytes for each possible CPU, used or not.
    public var maxServices: UInt32 = 32_767
    /// TCP flows of each family; each takes two entries. `nil`: by the machine's memory (``FlowCapacity``), or as the
    /// adopted maps have it.
    public var maxTCPFlows: UInt32?
    /// UDP flows of each family, likewise.
    public var maxUDPFlows: UInt32?
    /// Clients and service ports for which session affinity is remembered.
    public var maxAffinity: UInt32 = 65_536
    /// Prefixes of each family in `loadBalancerSourceRanges` of all service ports together.
    public var maxSourceRanges: UInt32 = 65_536
    /// Source ports given to flows that are masqueraded, or whose reply tuple is taken, in host byte order.
    public var natPorts: ClosedRange<UInt16> = 61_000...65_535
    /// New flows that a CPU stores in a second, about; what is above is forwarded without an entry where that is
    /// possible. 0: no limit.
    public var newFlowLimit: UInt32 = 100_000
    /// Resets and ICMP messages that a source address is sent in a second, about. 0: none at all.
    public var answerLimit: UInt32 = 60
    /// Whose sockets are led to backends.
    public var sockets: Sockets = .off
    /// Whether processes of the node are kept from binding NodePorts.
    public var protectsNodePorts = false
    /// Idle times; only that of answered UDP flows is known to the programs, the rest to the collector.
    public var timeouts = FlowTimeouts()

    /// The defaults: room for some 100,000 endpoints.
    public init() {}

    /// The maps' names and sizes in elements, save those of flows.
    var sizes: [(map: String, entries: UInt32)] {
        [
            ("nt_frontends4", maxFrontends), ("nt_frontends6", maxFrontends), ("nt_sets", maxSets),
            ("nt_slots", UInt32(SetRecord.lines(for: Int(maxSlots)))), ("nt_backends", maxBackends),
            ("nt_services", maxServices), ("nt_affinity", maxAffinity), ("nt_ranges4", maxSourceRanges),
            ("nt_ranges6", maxSourceRanges), ("nt_addresses4", maxFrontends), ("nt_addresses6", maxFrontends),
            // Ids begin at 1.
            ("nt_stats", maxServices + 1),
        ]
    }

    /// The constants of the programs.
    ///
    /// - Parameter tracing: for the twins of the programs that change nothing.
    func config(tracing: Bool) throws -> nt_config {
        nt_config(
            host_netns: try NetworkNamespace.cookie(), nat_port_first: natPorts.lowerBound,
            nat_port_last: natPorts.upperBound,
            udp_idle: UInt32(clamping: (Int128(timeouts.udpEstablished) * 1_000_000_000) >> Int128(NT_TICK_SHIFT)),
            new_flow_limit: Self.perTick(newFlowLimit), answer_limit: Self.perTick(answerLimit),
            sockets: sockets.wire, tracing: tracing ? 1 : 0)
    }

    /// A rate in a second as one in a tick; a limit that is there does not become none.
    static func perTick(_ rate: UInt32) -> UInt32 {
        rate == 0 ? 0 : max(1, UInt32(clamping: (UInt64(rate) << UInt64(NT_TICK_SHIFT)) / 1_000_000_000))
    }
}

/// How many flows a table has room for when nobody has said: a share of the machine's memory, so that small nodes do
/// not pay for large ones.
public enum FlowCapacity {
    /// TCP flows of each family: what fits into 1/400 of the memory at the size of an IPv6 flow.
    public static func tcp(memory: UInt64) -> UInt32 {
        UInt32(clamping: min(max(memory / 400 / bytesPerFlow, 65_536), 2 << 20))
    }

    /// UDP flows of each family: a quarter of that.
    public static func udp(memory: UInt64) -> UInt32 { tcp(memory: memory) / 4 }

    /// Lines of marks for so many flows: places of 8 bytes for three times as many at least, so that few lines are full
    /// before others.
    static func markLines(flows: UInt64) -> UInt32 {
        var lines: UInt32 = 1 << 8
        while UInt64(lines) * UInt64(NT_MARKS_PER_LINE) < flows * 3, lines < 1 << 20 { lines <<= 1 }
        return lines
    }

    /// Kernel memory of the two entries of an IPv6 flow.
    static let bytesPerFlow: UInt64 = 384

    /// The machine's memory in bytes (`MemTotal`).
    static var memory: UInt64 {
        UInt64(max(0, sysconf(Int32(_SC_PHYS_PAGES)))) * UInt64(max(0, sysconf(Int32(_SC_PAGESIZE))))
    }
}
