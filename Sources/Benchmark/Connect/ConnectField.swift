internal import Dataplane
internal import Glibc
internal import NetLab
internal import NetTypes

/// All that is measured with one number of Services in place: every forwarder on a chain of its own, all at the same
/// time, so that samples can be taken in turns.
final class ConnectField {
    private struct Case {
        let kind: LoadKind
        let path: ConnectPath
        let family: IPFamily
        /// `nil` if it could not be set up.
        let station: ConnectStation?
        var measurement: Measurement
        var latencies = HdrHistogram(highest: LoadClient.longest)
    }

    /// Somebody on the node; what it is called depends on the way.
    private struct Entrant {
        let station: ConnectStation?
        let outcome: Measurement.Outcome
        let subject: (ConnectPath) -> String
        /// Why a path cannot be measured, if the others can.
        var missing: [ConnectPath: String] = [:]
    }

    private let settings: RunSettings
    private let connections: Int
    private var cases: [Case] = []
    private var round = 0

    /// What came out so far.
    var measurements: [Measurement] {
        cases.map { what in
            var measurement = what.measurement
            measurement.latencies = what.latencies.summary
            return measurement
        }
    }

    /// The stations there are, in the order of their cases.
    var stations: [ConnectStation] { cases.compactMap(\.station) }

    /// Sets everything up. What cannot be is answered as skipped or failed.
    init(_ settings: RunSettings, services count: Int, connections: Int, progress: (String) -> Void) throws {
        self.settings = settings
        self.connections = connections
        let services = try BenchServices(count: count, backends: settings.backends)
        let entrants = Self.entrants(settings, services, progress)
        for kind in LoadKind.allCases {
            for path in ConnectPath.allCases {
                for family in settings.families {
                    for entrant in entrants { add(kind, path, family, count, entrant) }
                }
            }
        }
    }

    /// Takes one sample of each case, neighbours in time next to what they are compared with.
    func takeRound(progress: (String) -> Void) {
        round += 1
        progress("round \(round) of \(settings.repeats)")
        // Whatever the one before leaves behind is not always left to the same one.
        for i in round % 2 == 1 ? Array(cases.indices) : cases.indices.reversed() { take(i) }
    }

    private func take(_ i: Int) {
        guard let station = cases[i].station, case .measured = cases[i].measurement.outcome else { return }
        do {
            let result = try station.sample(
                cases[i].kind, cases[i].path, cases[i].family, connections: connections, duration: settings.duration)
            cases[i].measurement.samples.append(result.rate(cases[i].kind))
            cases[i].latencies.merge(result.latencies)
        } catch {
            cases[i].measurement.outcome = .failed("round \(round): \(error)")
        }
    }

    private func add(
        _ kind: LoadKind, _ path: ConnectPath, _ family: IPFamily, _ services: Int, _ entrant: Entrant
    ) {
        let conditions = [
            Measurement.Condition("path", path.rawValue), Measurement.Condition("services", "\(services)"),
            Measurement.Condition("family", "v\(family.rawValue)"),
        ]
        let key = { Measurement.Key(.connect, kind.rawValue, of: $0, conditions) }
        let subject = entrant.subject(path)
        let direct = Forwarder.direct.subject
        cases.append(
            Case(
                kind: kind, path: path, family: family, station: entrant.station,
                measurement: Measurement(
                    key(subject), in: kind.unit, reference: subject == direct ? nil : key(direct),
                    outcome: entrant.missing[path].map { .skipped($0) } ?? entrant.outcome,
                    note: kind.note(connections))))
    }

    // MARK: who takes part

    private static func entrants(
        _ settings: RunSettings, _ services: BenchServices, _ progress: (String) -> Void
    ) -> [Entrant] {
        var entrants = [enter(.direct, services, progress)]
        entrants.append(enterNeedletail(services, progress))
        for peer in settings.peers.flatMap(\.forwarders) { entrants.append(enter(peer, services, progress)) }
        return entrants
    }

    private static func enter(
        _ forwarder: Forwarder, _ services: BenchServices, _ progress: (String) -> Void
    ) -> Entrant {
        let subject = forwarder.subject
        progress("setting up \(subject) with \(services.count) services")
        do {
            let station = try ConnectStation(forwarder, services)
            return Entrant(station: station, outcome: .measured, subject: { _ in subject })
        } catch {
            return Entrant(station: nil, outcome: Measurement.Outcome(of: error), subject: { _ in subject })
        }
    }

    /// All hooks are on one node: none sees what another has led to a backend.
    private static func enterNeedletail(_ services: BenchServices, _ progress: (String) -> Void) -> Entrant {
        progress("setting up needletail with \(services.count) services")
        let subject = { (path: ConnectPath) in path.needletail.subject }
        var cgroup: Cgroup?
        var missing: [ConnectPath: String] = [:]
        do {
            guard let root = CgroupMount.find() else {
                throw LabError("find", "cgroup v2", .other("it is not mounted"))
            }
            cgroup = try Cgroup(below: root, name: "needletail-bench")
        } catch {
            missing[.host] = "no cgroup for the socket hooks: \(error)"
        }
        do {
            let hooks = NeedletailHooks(xdp: true, cgroup: cgroup?.path)
            let station = try ConnectStation(.needletail(hooks), services, cgroup: cgroup)
            return Entrant(station: station, outcome: .measured, subject: subject, missing: missing)
        } catch {
            return Entrant(station: nil, outcome: Measurement.Outcome(of: error), subject: subject)
        }
    }
}
