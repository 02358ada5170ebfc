internal import BPF
internal import CLinux
internal import Dataplane

/// The process in which memory is measured: a new one for each figure, so that what one leaves behind is not counted for
/// the next.
public enum MemoryChild {
    /// What the hidden subcommand of `needletail-bench` is called that leads to ``run(_:)``.
    public static let subcommand = "memory-child"

    /// Measures in this process, which should end then.
    ///
    /// - Parameter arguments: `services N M` for N Services of M endpoints, or `flows N` for tables of so many.
    /// - Returns: a line for each figure: its name and bytes.
    /// - Throws: ``BenchmarkError/unusableSetting(_:)``, or what keeps the datapath from being loaded.
    public static func run(_ arguments: [String]) throws -> String {
        let numbers = arguments.dropFirst().compactMap { Int($0) }
        let figures: [(String, UInt64)]
        switch (arguments.first, numbers.count) {
        case ("services", 2): figures = try services(numbers[0], backends: numbers[1])
        case ("flows", 1): figures = try flows(numbers[0])
        default: throw BenchmarkError.unusableSetting("\(subcommand): give `services N M` or `flows N`")
        }
        return figures.map { "\($0) \($1)\n" }.joined()
    }

    private static func services(_ count: Int, backends: Int) throws -> [(String, UInt64)] {
        let node = try ProgrammedNode(endpoints: backends)
        let loaded = Memory.trimmed
        _ = try node.program(services: count)
        let programmed = Memory.trimmed
        if let problem = try node.problem() { throw BenchmarkError.preparationFailed(problem) }
        return [("loaded", loaded), ("resident", programmed), ("peak", Memory.peak)] + (try maps(node.datapathMaps))
    }

    private static func flows(_ count: Int) throws -> [(String, UInt64)] {
        var options = DatapathSettings()
        options.maxTCPFlows = UInt32(clamping: count)
        options.maxUDPFlows = 1024
        return try maps(try Datapath.load(options, pins: nil).maps)
    }

    /// Kernel memory of each map.
    private static func maps(_ maps: DatapathMaps) throws -> [(String, UInt64)] {
        let sizes = Memory.mapsByID
        return try maps.usage().map { ($0.name, sizes[$0.info.id] ?? 0) }
    }
}

extension Memory {
    /// What is resident when what is free has been given back, in bytes.
    fileprivate static var trimmed: UInt64 {
        malloc_trim(0)
        return UInt64(resident)
    }
}
