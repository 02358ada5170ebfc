internal import Planning

/// What is fixed when the datapath is loaded. Sizes hold for the life of the pinned maps.
public struct DatapathSettings: Sendable, Hashable {
    /// Frontends of each family.
    public var maxFrontends: UInt32 = 65_536
    /// Distinct backend sets.
    public var maxSets: UInt32 = 65_536
    /// Maglev slots of all sets together, 4 bytes each: at least 100 for each member of each set and 251 for each set,
    /// and then one for each member, in whole sixteens.
    public var maxSlots: UInt32 = 16 << 20
    /// Backends.
    public var maxBackends: UInt32 = 131_072
    /// Service ports.
    public var maxServices: UInt32 = 65_536
    /// Flows of each family; each takes two entries.
    public var maxFlows: UInt32 = 131_072
    /// Source ports given to flows whose reply tuple is taken, in host byte order.
    public var remapPorts: ClosedRange<UInt16> = 61_000...65_535
    /// Idle times; only that of answered UDP flows is known to the programs, the rest to the collector.
    public var timeouts = FlowTimeouts()

    /// The defaults: room for some 100,000 endpoints and 131,072 connections of each family.
    public init() {}

    /// The maps' names and sizes in elements.
    var sizes: [(map: String, entries: UInt32)] {
        [
            ("nt_frontends4", maxFrontends), ("nt_frontends6", maxFrontends), ("nt_sets", maxSets),
            ("nt_slots", UInt32(SetRecord.lines(for: Int(maxSlots)))), ("nt_backends", maxBackends),
            ("nt_services", maxServices), ("nt_flows4", maxFlows * 2), ("nt_flows6", maxFlows * 2),
        ]
    }
}
