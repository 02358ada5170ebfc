internal import NetTypes

extension Report {
    /// What documents say they are. It is raised when a key changes its meaning or goes; keys may be added.
    public static let schema = "needletail-bench/run/1"

    /// The report as a document; `docs/bench.schema.json` describes it. ``init(json:)`` reads it back.
    public var json: String { document(comparison: nil) }

    /// The document, with a comparison to an earlier one in it.
    public func document(comparison: Comparison?) -> String {
        var members: [(String, JSONText)] = [
            ("schema", .string(Self.schema)), ("version", .string(header.version)),
            ("command", .array(header.command.map { .string($0) })), ("machine", header.machine.json),
            ("load", .object([("start", .number(header.loadAtStart)), ("end", .number(header.loadAtEnd))])),
            ("settings", header.settings.json), ("seconds", .number(seconds)), ("succeeded", .bool(succeeded)),
        ]
        let byKey = byKey
        members.append(
            ("measurements", .array(measurements.map { $0.json(reference: $0.reference.flatMap { byKey[$0] }) })))
        if let comparison { members.append(("comparison", comparison.json)) }
        return JSONText.object(members).text(depth: 2) + "\n"
    }
}

extension Machine {
    fileprivate var json: JSONText {
        .object([
            ("kernel", .string(kernel)), ("processor", .string(processor)), ("cores", .integer(cores)),
            ("date", .string(date)),
        ])
    }
}

extension RunSettings {
    fileprivate var json: JSONText {
        .object([
            ("suites", .array(suites.map { .string($0.rawValue) })),
            ("against", .array(peers.map { .string($0.rawValue) })),
            ("services", .array(services.map { .integer($0) })), ("backends", .integer(backends)),
            ("flows", .array(flows.map { .string($0.description) })),
            ("families", .array(families.map { .string("\($0)") })), ("duration", .number(duration)),
            ("repeat", .integer(repeats)),
            (
                "with",
                .array(others.map { .object([("name", .string($0.name)), ("pin", .string($0.path))]) })
            ),
        ])
    }
}

extension Measurement.Key {
    /// Members that a measurement's object, or one that refers to it, begins with.
    var json: [(String, JSONText)] {
        [
            ("suite", .string(suite.rawValue)), ("quantity", .string(quantity)), ("subject", .string(subject)),
            (
                "conditions",
                .array(conditions.map { .object([("name", .string($0.name)), ("value", .string($0.value))]) })
            ),
        ]
    }
}

extension Measurement {
    fileprivate func json(reference: Measurement?) -> JSONText {
        let (name, reason): (String, String?) =
            switch outcome {
            case .measured: ("measured", nil)
            case .skipped(let reason): ("skipped", reason)
            case .failed(let reason): ("failed", reason)
            }
        var members = key.json
        members += [
            ("unit", .string(unit.rawValue)), ("outcome", .string(name)),
            ("reason", .optional(reason) { .string($0) }), ("note", .optional(note) { .string($0) }),
            ("samples", .array(samples.map { .number($0) })),
            ("summary", .optional(Statistics(samples)) { $0.json }),
            ("latencies", .optional(latencies) { $0.json }),
            ("reference", .optional(self.reference) { .object($0.json) }),
            ("ratio", .optional(reference.flatMap { Statistics(ratios(to: $0)) }) { $0.json }),
        ]
        return .object(members)
    }
}

extension Statistics {
    var json: JSONText {
        .object([("min", .number(min)), ("median", .number(median)), ("max", .number(max))])
    }
}

extension LatencySummary {
    fileprivate var json: JSONText {
        .object([
            ("count", .integer(count)),
            ("points", .array(points.map { .array([.number($0.percentile), .number($0.latency)]) })),
        ])
    }
}
