internal import KubernetesWire
internal import NetLab
internal import NetTypes

/// From a change to the maps or rules: how long it takes until a node serves what a cluster wants, all of it at first,
/// then change by change.
///
/// Of `needletail`, from the bytes of watch events to the maps, in this process; of `needletail-agent`, the agent itself,
/// from a file of manifests to the maps; of the peers, the program that kube-proxy runs for the same change, without
/// kube-proxy's own work. All by IPv4.
public enum ProgrammingSuite: Suite {
    /// Needs root.
    public static func run(_ settings: RunSettings, progress: (String) -> Void) throws -> [Measurement] {
        try run(settings, format: .protobuf, progress: progress)
    }

    /// The same with watch events written in a format.
    static func run(
        _ settings: RunSettings, format: WireFormat, progress: (String) -> Void
    ) throws -> [Measurement] {
        for count in settings.services
        where !ProgrammedNode.hasRoom(services: count, endpoints: settings.backends) || settings.backends < 2 {
            throw BenchmarkError.unusableSetting(
                "services \(count), backends \(settings.backends): must be from 2 to what there are addresses for")
        }
        var results = MeasurementSeries()
        let peers = settings.peers.flatMap(PeerKind.kinds(of:)).map(PeerProgramming.init)
        let agent = AgentProgramming()
        for round in 0..<settings.repeats {
            for count in settings.services {
                progress("\(count) Services, round \(round + 1) of \(settings.repeats)")
                let place = Place(services: count, backends: settings.backends)
                try measure(place, settings, format, &results)
                for peer in peers { peer.measure(place, settings, &results) }
                agent.measure(place, settings, &results)
            }
        }
        return results.measurements
    }

    /// Changes a second that are tried.
    static let churnRates = [100, 1000]

    private static func measure(
        _ place: Place, _ settings: RunSettings, _ format: WireFormat, _ results: inout MeasurementSeries
    ) throws {
        let name = "needletail"
        let node = try ProgrammedNode(endpoints: place.backends, format: format)
        let first = try node.program(services: place.services)
        results.add(place.key("full", name), .milliseconds, first.total)
        for (phase, time) in [
            ("read", first.reading), ("resolve", first.resolving), ("plan", first.planning), ("write", first.writing),
        ] { results.add(place.key("full, \(phase)", name), .milliseconds, time) }
        let changes = try node.change(for: .seconds(settings.duration), atMost: 10_000)
        results.add(place.key("change", name), .microseconds, latencies: changes.latencies)
        results.add(
            place.key("change, processor", name), .microseconds,
            changes.processor / Double(changes.latencies.count))
        for rate in churnRates {
            let churn = try node.churn(rate, for: .seconds(settings.duration))
            results.add(place.key("churn", name, rate: rate), .microseconds, latencies: churn.latencies)
            results.add(place.key("churn, processor", name, rate: rate), .percent, churn.load)
            results.add(place.key("churn, taken in", name, rate: rate), .changesPerSecond, churn.rate)
        }
        results.add(
            place.key("audit", name), .microseconds, try node.audit(),
            note: "the longest step of the look for what somebody else has changed in the maps")
        if let problem = try node.problem() { results.fail(place, name, problem) }
    }
}

/// Where something is measured.
struct Place: Hashable {
    let services: Int
    let backends: Int

    /// A key of the suite.
    func key(_ quantity: String, _ subject: String, rate: Int? = nil) -> Measurement.Key {
        var conditions = [Measurement.Condition("services", "\(services)"), .init("backends", "\(backends)")]
        if let rate { conditions.append(.init("changes/s", "\(rate)")) }
        return Measurement.Key(.programming, quantity, of: subject, conditions)
    }
}
