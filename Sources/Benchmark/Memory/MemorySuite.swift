internal import Glibc
internal import NetLab
internal import NetTypes

/// What the control plane and the maps occupy.
///
/// Resident memory is that of a process that does what an agent does between a watch and the maps, and nothing else; that
/// of the agent itself is in the programming suite. Kernel memory is what the kernel charges for the maps.
public enum MemorySuite: Suite {
    /// Needs root, and the program `needletail-bench`: this one, or beside it.
    public static func run(_ settings: RunSettings, progress: (String) -> Void) throws -> [Measurement] {
        let namespace = try NetLab.NetworkNamespace(name: "memory")
        var figures = Figures()
        for round in 0..<settings.repeats {
            progress("round \(round + 1) of \(settings.repeats)")
            for count in settings.services { measure(services: count, settings, namespace, &figures) }
            for count in flowCounts(settings) { measure(flows: count, namespace, &figures) }
        }
        return figures.measurements
    }

    /// Tables of fewer flows than this take what their administration takes.
    private static let leastFlows = 1 << 10

    /// Fewer endpoints take less than what comes with the first of them.
    private static let leastEndpoints = 1000

    /// The numbers of flows that are big enough for a table to have a size.
    private static func flowCounts(_ settings: RunSettings) -> [FlowCount] {
        settings.flows.filter { $0.count >= leastFlows }
    }

    private static func measure(
        services count: Int, _ settings: RunSettings, _ namespace: NetLab.NetworkNamespace, _ figures: inout Figures
    ) {
        let conditions = [
            Measurement.Condition("services", "\(count)"), .init("backends", "\(settings.backends)"),
        ]
        do throws(PeerError) {
            let child = try child(["services", "\(count)", "\(settings.backends)"], namespace)
            guard let loaded = child["loaded"], let resident = child["resident"], let peak = child["peak"] else {
                throw .failed("the process did not say how much memory it has")
            }
            figures.add("resident, nothing programmed", "needletail", conditions, loaded)
            figures.add("resident", "needletail", conditions, resident)
            figures.add("resident, peak", "needletail", conditions, peak)
            let endpoints = count * settings.backends
            if endpoints >= leastEndpoints {
                let each = max(0, resident - loaded) / Double(endpoints)
                figures.add("resident, per endpoint", "needletail", conditions, each)
            }
            let maps = child.filter { isOfServices($0.key) }
            figures.add("maps of Services", "needletail", conditions, maps.values.reduce(0, +))
            guard count == settings.services.max() else { return }
            for (name, bytes) in maps.sorted(by: { $0.key < $1.key }) { figures.add("map", name, conditions, bytes) }
        } catch {
            figures.end("resident", "needletail", conditions, error.outcome)
        }
    }

    private static func measure(
        flows count: FlowCount, _ namespace: NetLab.NetworkNamespace, _ figures: inout Figures
    ) {
        for (family, map) in [("v4", "nt_tcp_flows4"), ("v6", "nt_tcp_flows6")] {
            let conditions = [Measurement.Condition("family", family), .init("flows", "\(count)")]
            do throws(PeerError) {
                let child = try child(["flows", "\(count.count)"], namespace)
                guard let bytes = child[map] else { throw .failed("the process did not tell of \(map)") }
                figures.add("flow table", "needletail", conditions, bytes)
                figures.add("flow table, per flow", "needletail", conditions, bytes / Double(count.count))
            } catch {
                figures.end("flow table", "needletail", conditions, error.outcome)
            }
        }
    }

    /// Whether a map's size is one of Services, not of flows.
    private static func isOfServices(_ name: String) -> Bool { name.hasPrefix("nt_") && !name.contains("flows") }

    /// What a new process measures: bytes by name.
    private static func child(
        _ arguments: [String], _ namespace: NetLab.NetworkNamespace
    ) throws(PeerError) -> [String: Double] {
        let program = "\(ProgramFile.directory)/needletail-bench"
        guard access(program, X_OK) == 0 else {
            throw .unavailable("there is no needletail-bench beside this program")
        }
        let run = try Tool(path: program).run([MemoryChild.subcommand] + arguments, in: namespace)
        var figures: [String: Double] = [:]
        for line in run.text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, let bytes = Double(words[1]) { figures[String(words[0])] = bytes }
        }
        return figures
    }
}

/// Measurements in bytes.
private struct Figures {
    private var series = MeasurementSeries()

    var measurements: [Measurement] { series.measurements }

    mutating func add(
        _ quantity: String, _ subject: String, _ conditions: [Measurement.Condition], _ bytes: Double
    ) {
        series.add(Measurement.Key(.memory, quantity, of: subject, conditions), .bytes, bytes)
    }

    mutating func end(
        _ quantity: String, _ subject: String, _ conditions: [Measurement.Condition], _ outcome: Measurement.Outcome
    ) {
        series.end(Measurement.Key(.memory, quantity, of: subject, conditions), .bytes, outcome)
    }
}
