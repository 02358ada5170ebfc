public import BPF
internal import NeedletailABI
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
    /// All maps by name, each read through once to count what is in use.
    public func usage() throws -> [MapUsage] {
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
        return [
            MapUsage("nt_backends", self.backends.info, used: backends, setting: "--max-backends"),
            MapUsage("nt_counters", counters.info, used: 1, setting: nil),
            MapUsage("nt_flows4", flows4.info, used: try flows4.count(), setting: "--max-flows"),
            MapUsage("nt_flows6", flows6.info, used: try flows6.count(), setting: "--max-flows"),
            MapUsage("nt_frontends4", frontends4.info, used: try frontends4.count(), setting: "--max-frontends"),
            MapUsage("nt_frontends6", frontends6.info, used: try frontends6.count(), setting: "--max-frontends"),
            MapUsage("nt_meta", meta.info, used: 1, setting: nil),
            MapUsage("nt_services", services.info, used: try services.count(), setting: "--max-services"),
            MapUsage("nt_sets", self.sets.info, used: sets, setting: "--max-sets"),
            MapUsage(
                name: "nt_slots", info: slots.info, used: lines * slotsPerLine,
                size: Int(slots.info.maxEntries) * slotsPerLine, unit: "slots", setting: "--max-slots"),
        ]
    }
}

extension MapUsage {
    fileprivate init(_ name: String, _ info: MapInfo, used: Int, setting: String?) {
        self.init(
            name: name, info: info, used: used, size: Int(info.maxEntries), unit: "entries", setting: setting)
    }
}
