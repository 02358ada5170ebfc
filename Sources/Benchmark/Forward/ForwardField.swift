internal import Dataplane
internal import NeedletailABI
internal import NetLab
internal import NetTypes
internal import Netlink

/// All who are compared, each with a chain of his own and the same Services.
final class ForwardField {
    private let services: BenchServices
    private let settings: RunSettings
    private var entrants: [Entrant] = []
    /// By what is measured, in the order of the report.
    private var series: [Case: Series] = [:]
    private var order: [Case] = []

    /// Somebody who takes part.
    private final class Entrant {
        let forwarder: Forwarder
        let node: NodeUnderTest
        let generator: TrafficGenerator

        init(_ forwarder: Forwarder, _ node: NodeUnderTest) throws {
            self.forwarder = forwarder
            self.node = node
            generator = try TrafficGenerator(node.chain)
        }

        var knowsFlows: Bool {
            if case .direct = forwarder { false } else { true }
        }

        var isPeer: Bool {
            if case .peer = forwarder { true } else { false }
        }
    }

    private struct Case: Hashable {
        let subject: String
        let quantity: ForwardQuantity
        let family: IPFamily
        /// `nil` where every packet is of another.
        let flows: FlowCount?
    }

    private struct Series {
        var perPacket: [Double] = []
        var rate: [Double] = []
        var sent = 0
        var delivered = 0
        var outcome = Measurement.Outcome.measured
    }

    /// Builds all chains. Whoever cannot be had here is noted as such.
    init(_ services: BenchServices, _ settings: RunSettings, _ progress: (String) -> Void) throws {
        self.services = services
        self.settings = settings
        let forwarders: [Forwarder] =
            [.direct, .needletail(.xdp), .needletail(.tc)] + settings.peers.flatMap(\.forwarders)
        for forwarder in forwarders {
            for what in Self.cases(of: forwarder, services, settings) {
                order.append(what)
                series[what] = Series()
            }
            do {
                progress("setting up \(forwarder.subject)")
                let node = try NodeUnderTest(forwarder, services, flows: Self.room(settings))
                entrants.append(try Entrant(forwarder, node))
            } catch {
                // Without this one there is nothing to compare with.
                if case .direct = forwarder { throw error }
                for what in order where what.subject == forwarder.subject {
                    series[what]?.outcome = Measurement.Outcome(of: error)
                }
            }
        }
    }

    /// Flows that tables have room for.
    private static func room(_ settings: RunSettings) -> Int {
        max(1 << 16, settings.flows.map(\.count).max() ?? 1)
    }

    private static func cases(
        of forwarder: Forwarder, _ services: BenchServices, _ settings: RunSettings
    ) -> [Case] {
        ForwardQuantity.allCases.filter { $0.placement == services.placement }.flatMap { quantity in
            settings.families.flatMap { family in
                (quantity == .newFlow ? [nil] : settings.flows.map(Optional.some)).map {
                    Case(subject: forwarder.subject, quantity: quantity, family: family, flows: $0)
                }
            }
        }
    }
}

// MARK: Measuring

extension ForwardField {
    /// Takes all samples, in rounds, and says what came out.
    func measure(_ progress: (String) -> Void) throws -> [Measurement] {
        // New flows come last: they drive others out of tables.
        for quantity in ForwardQuantity.allCases where quantity.placement == services.placement {
            if quantity != .newFlow { openFlows(quantity, progress) }
            for round in 1...settings.repeats {
                progress("\(quantity.rawValue), round \(round) of \(settings.repeats)")
                for family in settings.families {
                    for flows in quantity == .newFlow ? [nil] : settings.flows.map(Optional.some) {
                        try takeTurns(quantity, family, flows)
                    }
                }
            }
        }
        return order.flatMap(measurements)
    }

    /// Opens the flows of everybody, so that what is measured is established on the node. Fewer flows are among the most.
    private func openFlows(_ quantity: ForwardQuantity, _ progress: (String) -> Void) {
        for entrant in entrants {
            for family in settings.families {
                var most: FlowCount?
                for flows in settings.flows {
                    if let reason = limit(entrant, quantity, flows) {
                        series[opened(entrant, quantity, family, flows)]?.outcome = .skipped(reason)
                    } else {
                        most = max(flows, most ?? flows)
                    }
                }
                // Plain forwarding knows no flows.
                guard let most, entrant.knowsFlows else { continue }
                do {
                    progress("opening \(most) flows of \(entrant.forwarder.subject)")
                    try entrant.generator.open(most, to: entrant.node.destination(quantity.frontend, family))
                } catch {
                    for flows in settings.flows where flows <= most {
                        series[opened(entrant, quantity, family, flows)]?.outcome = .failed("\(error)")
                    }
                }
            }
        }
    }

    private func opened(
        _ entrant: Entrant, _ quantity: ForwardQuantity, _ family: IPFamily, _ flows: FlowCount
    ) -> Case {
        Case(subject: entrant.forwarder.subject, quantity: quantity, family: family, flows: flows)
    }

    /// Why so many flows cannot be open at once.
    private func limit(_ entrant: Entrant, _ quantity: ForwardQuantity, _ flows: FlowCount) -> String? {
        // Of each backend's 64 k ports of the node's address, at most a quarter, so that a free one is found at once.
        if quantity == .masqueraded, flows.count > services.backends << 14 {
            return "\(flows) flows to \(services.backends) backends need more ports than the node's address has"
        }
        guard entrant.isPeer, let most = Self.trackedConnections else { return nil }
        let wanted = flows.count * settings.families.count
        return wanted > most - most / 8
            ? "the kernel tracks \(most) connections at most (net.netfilter.nf_conntrack_max)" : nil
    }

    /// What connection tracking has room for in a namespace.
    private static var trackedConnections: Int? {
        SmallFile.read("/proc/sys/net/netfilter/nf_conntrack_max").flatMap { Int($0.prefix { $0 != "\n" }) }
    }

    /// One slice of everybody, and before them one of the generator alone.
    private func takeTurns(_ quantity: ForwardQuantity, _ family: IPFamily, _ flows: FlowCount?) throws {
        var idle: Double?
        for entrant in entrants {
            let what = Case(
                subject: entrant.forwarder.subject, quantity: quantity, family: family, flows: flows)
            guard case .measured = series[what]?.outcome else { continue }
            let destination = entrant.node.destination(quantity.frontend, family)
            let walked = flows ?? FlowCount(largest: ())
            do {
                if idle == nil {
                    idle = try entrant.generator.idle(walked, to: destination, count: Self.calibration).perFrame
                }
                try takeSlice(entrant, what, walked, destination, idle: idle ?? 0)
            } catch {
                series[what]?.outcome = .failed("\(error)")
            }
        }
    }

    /// Packets from which the generator's own cost is taken.
    private static let calibration = 50_000
    /// Packets that tell how many fill a slice.
    private static let trial = 2000
    /// Slices that are tried when packets are lost.
    private static let attempts = 3
    /// What a slice has at least.
    private static let least = 10_000

    private func takeSlice(
        _ entrant: Entrant, _ what: Case, _ flows: FlowCount, _ destination: TransportEndpoint, idle: Double
    ) throws {
        let trial = try entrant.generator.send(what.quantity.kind, flows, to: destination, count: Self.trial)
        var count = max(Self.least, Int(settings.duration * 1e9 / max(1, trial.wallTime)))
        if what.quantity == .newFlow, entrant.isPeer, let most = Self.trackedConnections {
            count = min(count, most - most / 8)
        }
        var counted: CounterReading?
        var slice = TrafficGenerator.Outcome()
        // What a kernel thread was to forward that came too late is lost: another slice may do better.
        for _ in 0..<Self.attempts {
            if what.quantity != .newFlow {
                try entrant.generator.warm(flows, to: destination, count: count)
            } else if entrant.isPeer {
                // The trial's are there too, and those of the slice before.
                try flush(entrant)
            }
            counted = try entrant.node.needletail?.counters()
            slice = try entrant.generator.send(what.quantity.kind, flows, to: destination, count: count)
            if !Self.isTooFew(slice.delivered, of: slice.sent) { break }
        }
        series[what]?.perPacket.append(max(0, slice.perFrame - idle))
        series[what]?.rate.append(1e9 / max(1, slice.wallTime) * Double(slice.delivered) / Double(slice.sent))
        series[what]?.sent += slice.sent
        series[what]?.delivered += slice.delivered
        if let counted, let needletail = entrant.node.needletail {
            let expected = what.quantity == .newFlow ? DatapathCounter.forwardNew : .forwardEstablished
            let moved = try needletail.counters()[expected] - counted[expected]
            if moved < slice.delivered {
                throw BenchmarkError.preparationFailed("\(expected.name) \(moved) of \(slice.delivered)")
            }
        }
        if what.quantity == .newFlow, entrant.isPeer { try flush(entrant) }
    }

    private func flush(_ entrant: Entrant) throws {
        try entrant.node.chain.node.namespace.run { try ConnectionTracking.flush() }
    }
}

// MARK: Report

extension ForwardField {
    /// The part of all packets that may be lost without the figures being other ones.
    private static let tolerance = 0.01

    private static func isTooFew(_ delivered: Int, of sent: Int) -> Bool {
        Double(sent - delivered) > Double(sent) * tolerance
    }

    private func measurements(_ what: Case) -> [Measurement] {
        guard let series = series[what] else { return [] }
        var outcome = series.outcome
        var note = what.quantity.note(what.family)
        let lost = series.sent - series.delivered
        if case .measured = outcome, Self.isTooFew(series.delivered, of: series.sent) {
            outcome = .failed("\(lost) of \(series.sent) packets did not arrive")
        } else if lost > 0 {
            note += "; \(lost) of \(series.sent) packets did not arrive"
        }
        if let generator = entrants.first?.generator, !generator.seesKernelThreads {
            note += "; without the time of ksoftirqd, which is not to be seen here"
        }
        let reference =
            what.subject == "direct"
            ? nil
            : Case(
                subject: "direct", quantity: what.quantity, family: what.family, flows: what.flows)
        return [
            ("", Measurement.Unit.nanosecondsPerPacket, series.perPacket), (" rate", .packetsPerSecond, series.rate),
        ]
        .map { suffix, unit, samples in
            Measurement(
                key(what, suffix), in: unit, samples: samples, reference: reference.map { key($0, suffix) },
                outcome: outcome, note: note)
        }
    }

    private func key(_ what: Case, _ suffix: String) -> Measurement.Key {
        var conditions = [Measurement.Condition("family", "v\(what.family.rawValue)")]
        if let flows = what.flows { conditions.append(Measurement.Condition("flows", "\(flows)")) }
        conditions.append(Measurement.Condition("services", "\(services.count)"))
        return Measurement.Key(.forward, what.quantity.rawValue + suffix, of: what.subject, conditions)
    }
}
