public import BPF
public import NeedletailABI
public import ServiceModel

/// What the programs have counted for a service port, summed over all CPUs, since it has its id.
public struct ServiceStatistics: Sendable, Hashable {
    /// Translated packets and their bytes, from the IP header on.
    public struct Traffic: Sendable, Hashable {
        /// Packets.
        public var packets: UInt64 = 0
        /// Bytes.
        public var bytes: UInt64 = 0
    }

    /// From clients to backends.
    public var forward = Traffic()
    /// From backends to clients.
    public var reverse = Traffic()
    /// Flows begun.
    public var newFlows: UInt64 = 0
    /// Packets refused, by reason; reasons without any are left out.
    public var refused: [StatRefusal: UInt64] = [:]

    /// Nothing yet.
    public init() {}

    /// Refused for whatever reason.
    public var allRefused: UInt64 { refused.values.reduce(0, +) }

    /// Of both together.
    public static func + (a: ServiceStatistics, b: ServiceStatistics) -> ServiceStatistics {
        var sum = a
        sum.forward.packets += b.forward.packets
        sum.forward.bytes += b.forward.bytes
        sum.reverse.packets += b.reverse.packets
        sum.reverse.bytes += b.reverse.bytes
        sum.newFlows += b.newFlows
        sum.refused.merge(b.refused, uniquingKeysWith: +)
        return sum
    }

    init(_ processors: [nt_service_stats]) {
        for stats in processors {
            forward.packets += stats.packets.0
            forward.bytes += stats.bytes.0
            reverse.packets += stats.packets.1
            reverse.bytes += stats.bytes.1
            newFlows += stats.new_flows
            withUnsafeBytes(of: stats.refused) { bytes in
                for (reason, count) in zip(StatRefusal.allCases, bytes.bindMemory(to: UInt64.self)) where count > 0 {
                    refused[reason, default: 0] += count
                }
            }
        }
    }

    /// The statistics of these service ports; those without an element in the map are left out.
    public static func read(
        _ maps: DatapathMaps, ids: some Sequence<ServiceID>
    ) throws(BPFError) -> [ServiceID: ServiceStatistics] {
        var found: [ServiceID: ServiceStatistics] = [:]
        for id in ids {
            if let processors = try maps.statistics.lookup(id) { found[id] = ServiceStatistics(processors) }
        }
        return found
    }

    /// The statistics of all service ports that have a name.
    public static func read(_ maps: DatapathMaps) throws -> [ServiceID: ServiceStatistics] {
        var ids: [ServiceID] = []
        try maps.services.forEach { id, _ in ids.append(id) }
        return try read(maps, ids: ids)
    }

    /// Whose they are: the names of all service ports.
    public static func names(_ maps: DatapathMaps) throws -> [ServiceID: ServicePortName] {
        var names: [ServiceID: ServicePortName] = [:]
        try maps.services.forEach { id, wire in names[id] = ServicePortName(wire) }
        return names
    }

    /// What came between two readings. An id that has been given to another service port began from zero meanwhile:
    /// then it is the later reading.
    public func since(_ earlier: ServiceStatistics) -> ServiceStatistics {
        let (difference, isLater) = subtracting(earlier)
        return isLater ? difference : self
    }

    private func subtracting(_ earlier: ServiceStatistics) -> (ServiceStatistics, isLater: Bool) {
        var difference = self
        var isLater = true
        func subtract(_ path: WritableKeyPath<ServiceStatistics, UInt64>) {
            let (result, overflow) = self[keyPath: path].subtractingReportingOverflow(earlier[keyPath: path])
            difference[keyPath: path] = result
            if overflow { isLater = false }
        }
        for path in [
            \ServiceStatistics.forward.packets, \.forward.bytes, \.reverse.packets, \.reverse.bytes, \.newFlows,
        ] {
            subtract(path)
        }
        for reason in StatRefusal.allCases {
            let (now, before) = (refused[reason] ?? 0, earlier.refused[reason] ?? 0)
            if now < before { isLater = false }
            difference.refused[reason] = now > before ? now - before : nil
        }
        return (difference, isLater)
    }
}

extension StatRefusal: @retroactive CaseIterable {
    /// In the order of their numbers.
    public static var allCases: [StatRefusal] { (0..<NT_STAT_REFUSAL_COUNT).compactMap(StatRefusal.init(rawValue:)) }

    /// A stable name: that of the counter, where there is one.
    public var name: String {
        switch self {
        case .noEndpoints: DatapathCounter.dropNoEndpoints.name
        case .noLocalEndpoints: DatapathCounter.dropNoLocalEndpoints.name
        case .sourceRange: DatapathCounter.dropSourceRange.name
        case .other: "other"
        }
    }
}

extension DatapathMaps {
    /// Lets ids that are given to service ports begin from zero.
    func clearStatistics(_ ids: some Sequence<ServiceID>) throws(BPFError) {
        let zeros = [nt_service_stats](repeating: nt_service_stats(), count: try KernelFeatures.possibleCPUs())
        for id in ids { try statistics.update(id, zeros) }
    }
}
