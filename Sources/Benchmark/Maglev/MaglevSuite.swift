internal import Maglev
internal import NetTypes

/// Tables of consistent hashing by themselves: no kernel, no root.
///
/// Backends are made up anew for each repeat, from its number, so that the spread of what is counted is that between
/// sets of backends; times are those of the machine.
enum MaglevSuite: Suite {
    /// Sizes: what the planner takes for 1, 10, 100 and 1000 backends, and the paper's 65537.
    static let sizes = [251, 1021, 16_381, 65_537, 131_071]
    /// Numbers of backends.
    static let backends = [1, 10, 100, 1000]
    /// A table with fewer slots for each backend says nothing of how tables are used.
    private static let fewestSlots = 16

    /// What is measured of each table.
    private enum Quantity: String, CaseIterable {
        case build, unevenness, scratch
        case movesAdding = "needless-moves-adding-one"
        case movesRemoving = "needless-moves-removing-one"

        var unit: Measurement.Unit {
            switch self {
            case .build: .microseconds
            case .unevenness, .movesAdding, .movesRemoving: .percent
            case .scratch: .bytes
            }
        }

        var note: String {
            switch self {
            case .build: "one table, scratch memory in place; reference: a table of as many slots for one backend"
            case .unevenness: "how much more than its due the busiest backend owns"
            case .scratch: "held by the builder after a build"
            case .movesAdding, .movesRemoving: "part of all slots that changed hands without need"
            }
        }
    }

    private struct Case: Hashable {
        let slots: Int
        let backends: Int
        let isWeighted: Bool

        var subject: String { isWeighted ? "weights 1-4" : "equal weights" }

        func key(_ quantity: Quantity) -> Measurement.Key {
            Measurement.Key(
                .maglev, quantity.rawValue, of: subject,
                [.init("slots", "\(slots)"), .init("backends", "\(backends)")])
        }
    }

    static func run(_ settings: RunSettings, progress: (String) -> Void) throws -> [Measurement] {
        let cases = [false, true].flatMap { isWeighted in
            sizes.flatMap { slots in
                backends.filter { slots >= $0 * fewestSlots && !($0 == 1 && isWeighted) }
                    .map { Case(slots: slots, backends: $0, isWeighted: isWeighted) }
            }
        }
        var samples: [Case: [Quantity: [Double]]] = [:]
        for round in 0..<settings.repeats {
            progress("round \(round + 1) of \(settings.repeats)")
            for what in cases {
                for (quantity, sample) in try measure(what, round: round, seconds: settings.duration) {
                    samples[what, default: [:]][quantity, default: []].append(sample)
                }
            }
        }
        return Quantity.allCases.flatMap { quantity in
            cases.compactMap { what in
                guard let taken = samples[what]?[quantity] else { return nil }
                let single = Case(slots: what.slots, backends: 1, isWeighted: false)
                let reference = quantity == .build && what != single ? single.key(.build) : nil
                return Measurement(
                    what.key(quantity), in: quantity.unit, samples: taken, reference: reference, note: quantity.note)
            }
        }
    }

    private static func measure(_ what: Case, round: Int, seconds: Double) throws(MaglevError) -> [Quantity: Double] {
        // One more than there are, to be added.
        let all = (0...what.backends).map { index in
            let address = IPAddress(v4: firstAddress + UInt32(round % mostRounds * 1001 + index))
            return MaglevBackend(
                identity: TransportEndpoint(address, 80, .tcp), weight: what.isWeighted ? UInt32(index % 4 + 1) : 1)
        }
        let members = Array(all.dropLast())
        var builder = MaglevBuilder()
        var table = [UInt32](repeating: 0, count: what.slots)
        try build(&table, members, &builder)
        var samples: [Quantity: Double] = [.scratch: Double(builder.scratchBytes)]

        var weights: [UInt32: UInt32] = [:]
        for (index, member) in members.enumerated() { weights[UInt32(index)] = member.weight }
        samples[.unevenness] = (MaglevReport(table: table.span, weights: weights).evenness - 1) * 100

        var other = table
        try build(&other, all, &builder)
        samples[.movesAdding] = MaglevDisruption(from: table.span, to: other.span).excess * 100
        if members.count > 1 {
            try build(&other, Array(members.dropLast()), &builder)
            samples[.movesRemoving] = MaglevDisruption(from: table.span, to: other.span).excess * 100
        }

        samples[.build] = try time(members, &table, &builder, seconds: seconds)
        return samples
    }

    /// Microseconds of one build, the mean of as many as fit into the time, at least one.
    private static func time(
        _ members: [MaglevBackend], _ table: inout [UInt32], _ builder: inout MaglevBuilder, seconds: Double
    ) throws(MaglevError) -> Double {
        let ids = members.indices.map { UInt32($0) }
        let started = ContinuousClock.now
        var builds = 0.0
        while true {
            var span = table.mutableSpan
            try builder.build(into: &span, backends: members.span, ids: ids.span)
            builds += 1
            let taken = (ContinuousClock.now - started).components
            let elapsed = Double(taken.seconds) + Double(taken.attoseconds) / 1e18
            if elapsed >= seconds { return elapsed * 1e6 / builds }
        }
    }

    private static func build(
        _ table: inout [UInt32], _ members: [MaglevBackend], _ builder: inout MaglevBuilder
    ) throws(MaglevError) {
        let ids = members.indices.map { UInt32($0) }
        var span = table.mutableSpan
        try builder.build(into: &span, backends: members.span, ids: ids.span)
    }

    /// Of 198.18.0.0/15, which is set aside for benchmarks (RFC 2544).
    private static let firstAddress: UInt32 = 0xC612_0001
    /// As many sets of backends as there are addresses for.
    private static let mostRounds = 130
}
