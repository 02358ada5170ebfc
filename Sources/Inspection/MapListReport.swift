internal import BPF
internal import Dataplane

/// A map and how full it is.
public struct MapView: Encodable, Sendable {
    /// The name it is pinned by.
    public let name: String
    /// The kernel's kind of map.
    public let type: String
    /// The kernel's id, as `bpftool map` shows it.
    public let id: UInt32
    /// Size of a key in bytes.
    public let keySize: Int
    /// Size of a value in bytes.
    public let valueSize: Int
    /// Entries it can hold.
    public let maxEntries: UInt32
    /// How much is in use, in ``unit``.
    public let used: Int
    /// How much fits, in ``unit``.
    public let size: Int
    /// `entries`, or `slots` (16 to an entry).
    public let unit: String
    /// How full it is, in percent.
    public let percent: Double
    /// Kernel memory in bytes; absent when it cannot be read.
    public let bytes: UInt64?
    /// The agent's flag that sets the size; absent for maps of fixed size.
    public let setting: String?
}

/// The maps, one to a row.
public struct MapListReport: Report {
    /// By name.
    public let maps: [MapView]

    /// One row for each map.
    public func text(_ detail: Detail) -> String {
        var table = TextTable(
            [
                .left("MAP"), .left("TYPE"), .right("ID"), .right("KEY"), .right("VALUE"), .right("USED"),
                .right("SIZE"), .left("UNIT"), .right("FULL"), .right("MEMORY"), .right("MAX-ENTRIES").wide,
                .right("BYTES").wide, .left("SETTING"),
            ], detail)
        for map in maps {
            table.add([
                map.name, map.type, "\(map.id)", "\(map.keySize)", "\(map.valueSize)", "\(map.used)", "\(map.size)",
                map.unit, Quantity.percent(map.percent), map.bytes.map(Quantity.bytes) ?? "", "\(map.maxEntries)",
                map.bytes.map(String.init) ?? "", map.setting ?? "-",
            ])
        }
        return table.render()
    }
}

extension Inspector {
    /// The maps and how full they are.
    public func mapUsage() throws -> MapListReport {
        MapListReport(
            maps: try maps.usage().map { map in
                MapView(
                    name: map.name, type: "\(map.info.type)", id: map.info.id, keySize: map.info.keySize,
                    valueSize: map.info.valueSize, maxEntries: map.info.maxEntries, used: map.used, size: map.size,
                    unit: map.unit, percent: Quantity.percentage(map.used, of: map.size), bytes: map.info.memlock,
                    setting: map.setting)
            })
    }
}
