public import BPF
internal import NeedletailABI
internal import NetTypes
internal import Planning

/// A map of the datapath, and how full it is.
public struct MapUsage: Sendable, Hashable {
    /// The name it is pinned by.
    public let name: String
    /// What the kernel says of it.
    public let info: MapInfo
    /// How much is in use, in ``unit``.
    public let used: Int
    /// How much fits, in ``unit``.
    public let size: Int
    /// What ``used`` and ``size`` count: `entries`, or `slots` (16 to an entry).
    public let unit: String
    /// The agent's flag that sets the size; `nil` for maps of fixed size.
    public let setting: String?
}

extension DatapathMaps {
    /// All maps by name that hold something lasting, each read through once to count what is in use.
    ///
    /// - Parameter flows: Entries of the flow tables, where they have been counted lately: going through these takes a
    ///   second for a million entries.
    public func usage(flows: [FlowTable.Kind: Int]? = nil) throws -> [MapUsage] {
        func count<Key, Value>(
            _ map: BPFMap<Key, Value>, _ family: IPFamily, _ transport: TransportProtocol
        ) throws(BPFError) -> Int {
            guard let flows else { return try map.count() }
            return flows.reduce(0) { $0 + ($1.key.family == family && $1.key.transport == transport ? $1.value : 0) }
        }
        var lines = 0
        var sets = 0
        try self.sets.forEach { _, wire in
            guard let record = SetRecord(wire) else { return }
            sets += 1
            lines += record.lines
        }
        var backends = 0
        try self.backends.forEach { _, wire in if BackendRecord(wire) != nil { backends += 1 } }
        let slotsPerLine = Int(NT_SLOTS_PER_LINE)
        let services = try self.services.count()
        return [
            try MapUsage("nt_addresses4", addresses4, setting: "--max-frontends"),
            try MapUsage("nt_addresses6", addresses6, setting: "--max-frontends"),
            try MapUsage("nt_affinity", affinity, setting: "--max-affinity"),
            try MapUsage("nt_answers", answers, setting: nil),
            MapUsage("nt_backends", self.backends.info, used: backends, setting: "--max-backends"),
            MapUsage("nt_counters", counters.info, used: 1, setting: nil),
            try MapUsage("nt_devices", devices, setting: nil),
            try MapUsage("nt_fragments", fragments, setting: nil),
            try MapUsage("nt_frontends4", frontends4, setting: "--max-frontends"),
            try MapUsage("nt_frontends6", frontends6, setting: "--max-frontends"),
            MapUsage("nt_meta", meta.info, used: 1, setting: nil),
            MapUsage("nt_node", node.info, used: 1, setting: nil),
            try MapUsage("nt_ranges4", ranges4, setting: "--max-source-ranges"),
            try MapUsage("nt_ranges6", ranges6, setting: "--max-source-ranges"),
            MapUsage("nt_services", self.services.info, used: services, setting: "--max-services"),
            MapUsage("nt_sets", self.sets.info, used: sets, setting: "--max-sets"),
            MapUsage(
                name: "nt_slots", info: slots.info, used: lines * slotsPerLine,
                size: Int(slots.info.maxEntries) * slotsPerLine, unit: "slots", setting: "--max-slots"),
            // One for each service port; id 0 is none.
            MapUsage(
                name: "nt_stats", info: statistics.info, used: services, size: Int(statistics.info.maxEntries) - 1,
                unit: "entries", setting: "--max-services"),
            MapUsage(
                "nt_tcp_flows4", flows4.tcp.info, used: try count(flows4.tcp, .v4, .tcp),
                setting: "--max-tcp-flows"),
            MapUsage(
                "nt_tcp_flows6", flows6.tcp.info, used: try count(flows6.tcp, .v6, .tcp),
                setting: "--max-tcp-flows"),
            MapUsage(
                "nt_udp_flows4", flows4.udp.info, used: try count(flows4.udp, .v4, .udp),
                setting: "--max-udp-flows"),
            MapUsage(
                "nt_udp_flows6", flows6.udp.info, used: try count(flows6.udp, .v6, .udp),
                setting: "--max-udp-flows"),
        ]
    }
}

extension MapUsage {
    fileprivate init(_ name: String, _ info: MapInfo, used: Int, setting: String?) {
        self.init(
            name: name, info: info, used: used, size: Int(info.maxEntries), unit: "entries", setting: setting)
    }

    fileprivate init<Key, Value>(_ name: String, _ map: BPFMap<Key, Value>, setting: String?) throws(BPFError) {
        self.init(name, map.info, used: try map.count(), setting: setting)
    }
}
