internal import Dataplane
internal import NetTypes

extension PacketReport {
    /// The report as JSON. Keys stay as they are for as long as `schema` does; times are in nanoseconds for one packet,
    /// sizes in bytes, flows and runs are counts.
    public var json: String {
        JSONText.object([
            ("schema", .string("needletail-bench/packet/1")),
            ("machine", machine.json),
            (
                "settings",
                .object([
                    ("flows", .array(settings.flows.map { .integer($0.count) })),
                    ("programs", .array(settings.programs.map { .string($0.name) })),
                    ("families", .array(settings.families.map { .string("v\($0.rawValue)") })),
                    ("repeat", .integer(settings.runs)), ("rounds", .integer(settings.rounds)),
                    ("seconds", .integer(settings.seconds)),
                ])
            ),
            ("seconds", .number(seconds)),
            (
                "memory",
                .object([
                    ("maps_bytes", .integer(Int(mapBytes))), ("process_peak_bytes", .integer(Int(peakBytes))),
                ])
            ),
            ("succeeded", .bool(succeeded)),
            ("results", .array(results.map(json(of:)))),
        ]).text(depth: 2) + "\n"
    }

    private func json(of result: PacketResult) -> JSONText {
        .object([
            ("program", .string(result.what.program)), ("case", .string(result.what.kind.rawValue)),
            ("family", .string("v\(result.what.family.rawValue)")), ("flows", .integer(result.what.flows.count)),
            ("repeat", .integer(result.runs)), ("measurements", .integer(result.net?.count ?? 0)),
            ("ns", .optional(result.net, Self.json(of:))), ("raw_ns", .optional(result.raw, Self.json(of:))),
            (
                "ratio",
                .object(Floor.allCases.map { ($0.rawValue, .optional(ratio(result, to: $0)) { .number($0) }) })
            ),
            ("problem", .optional(result.problem) { .string($0) }),
        ])
    }

    private static func json(of statistics: Statistics) -> JSONText {
        .object([
            ("min", .number(statistics.min)), ("median", .number(statistics.median)), ("max", .number(statistics.max)),
        ])
    }
}
