internal import KubernetesWire

/// What the first sync took, in milliseconds by the clock.
public struct FirstSync: Sendable, Hashable {
    /// Bytes of the events.
    public let bytes: Int
    /// From bytes to objects.
    public let reading: Double
    /// From objects to what is desired.
    public let resolving: Double
    /// From what is desired to writes.
    public let planning: Double
    /// Performing them, the Maglev tables included.
    public let writing: Double

    /// All of it.
    public var total: Double { reading + resolving + planning + writing }
}

/// What was measured with a number of Services.
public struct ProgrammingResult: Sendable, Hashable {
    /// How many were in place.
    public let services: Int
    /// Putting them in place.
    public let firstSync: FirstSync
    /// Resident memory before that, in bytes.
    public let residentBefore: Int
    /// Resident memory after it, in bytes.
    public let resident: Int
    /// From the bytes of a change to the end of its map writes, in microseconds.
    public let changes: Latencies?
    /// Map writes of all changes.
    public let writes: Int
    /// Why the figures do not stand for what they are named after.
    public let problem: String?
}

/// The answer of a programming benchmark.
public struct ProgrammingReport: Sendable {
    /// Where and when.
    public let machine: Machine
    /// What was asked.
    public let settings: ProgrammingSettings
    /// In the order that was asked.
    public let results: [ProgrammingResult]

    /// Whether the maps were right in the end, each time.
    public var succeeded: Bool { results.allSatisfy { $0.problem == nil && $0.changes != nil } }

    /// The report for a person.
    public var table: String {
        let format = settings.format == .json ? "JSON" : "protobuf"
        var lines = [
            "\(machine.processor), \(machine.cores) cores, Linux \(machine.kernel), \(machine.date)",
            """
            \(settings.endpoints) endpoints a Service, watch events in \(format); change: from before its bytes are read to \
            after the last map write
            """, "",
        ]
        let header = [
            "Services", "change p50", "p90", "p99", "max µs", "first sync ms", "(read", "resolve", "plan", "write)",
            "resident MiB", "(before)",
        ]
        let rows = results.map { result -> [String] in
            let times = result.changes.map { [$0.p50, $0.p90, $0.p99, $0.max] } ?? []
            let first = result.firstSync
            let phases = [first.total, first.reading, first.resolving, first.planning, first.writing]
            let memory = [result.resident, result.residentBefore].map { Double($0) / 1_048_576 }
            return ["\(result.services)"] + (times + phases).map { Decimal.text($0, places: 0) }
                + memory.map { Decimal.text($0, places: 1) }
        }
        lines += TextColumns.aligned([header] + rows)
        for result in results {
            if let problem = result.problem { lines.append("FAILED: \(result.services) Services: \(problem)") }
        }
        return lines.map { "\($0)\n" }.joined()
    }

    /// The report as JSON. Keys stay as they are for as long as `schema` does.
    public var json: String {
        JSONText.object([
            ("schema", .string("needletail-bench/programming/1")), ("machine", machine.json),
            (
                "settings",
                .object([
                    ("services", .array(settings.services.map { .integer($0) })),
                    ("endpoints", .integer(settings.endpoints)), ("changes", .integer(settings.changes)),
                    ("format", .string(settings.format == .json ? "json" : "protobuf")),
                ])
            ),
            ("succeeded", .bool(succeeded)), ("results", .array(results.map(Self.json(of:)))),
        ]).text(depth: 2) + "\n"
    }

    private static func json(of result: ProgrammingResult) -> JSONText {
        let first = result.firstSync
        return .object([
            ("services", .integer(result.services)),
            (
                "change_us",
                .optional(result.changes) { times in
                    .object([
                        ("p50", .number(times.p50)), ("p90", .number(times.p90)), ("p99", .number(times.p99)),
                        ("max", .number(times.max)), ("count", .integer(times.count)),
                    ])
                }
            ),
            ("writes", .integer(result.writes)),
            (
                "first_sync_ms",
                .object([
                    ("total", .number(first.total)), ("read", .number(first.reading)),
                    ("resolve", .number(first.resolving)), ("plan", .number(first.planning)),
                    ("write", .number(first.writing)),
                ])
            ),
            ("bytes", .integer(first.bytes)), ("resident_bytes", .integer(result.resident)),
            ("resident_before_bytes", .integer(result.residentBefore)),
            ("problem", .optional(result.problem) { .string($0) }),
        ])
    }
}
