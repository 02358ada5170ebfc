extension Comparison {
    /// Entries with what matters first: worse, better, undecided, the same.
    var ranked: [Entry] {
        entries.enumerated().sorted { ($0.element.rank, $0.offset) < ($1.element.rank, $1.offset) }.map(\.element)
    }

    /// The comparison in one line.
    var summary: String {
        let count = { (rank: Int) in entries.count { $0.rank == rank } }
        return """
            \(count(0)) worse, \(count(1)) better, \(count(3)) no difference beyond noise, \(count(2)) undecided; \
            \(onlyThen.count) measured only then, \(onlyNow.count) only now
            """
    }

    /// What is compared with, and what was different.
    var introduction: [String] {
        [
            "compared with \(earlier.machine.date), needletail-bench \(earlier.version): \(earlier.command.joined(separator: " "))"
        ]
            + remarks
    }

    /// A row for each entry.
    var table: ReportTable {
        let titles = ["verdict", "measurement", "conditions", "then", "now", "", "change", "p"]
        let figures: Set = ["then", "now", "change", "p"]
        let rows = ranked.map { entry in
            let scale = Scale(entry.unit, largest: max(entry.then.median.magnitude, entry.now.median.magnitude))
            let text = { (value: Double) in entry.isRatio ? Decimal.significant(value) : scale.text(value) }
            let what = "\(entry.key.suite.rawValue) \(entry.key.quantity) of \(entry.key.subject)"
            return [
                entry.verdict.text, what, entry.key.conditions.text, text(entry.then.median), text(entry.now.median),
                entry.isRatio ? "× reference" : scale.name, entry.change.map(Self.percent) ?? "",
                Decimal.text(entry.probability, places: 3),
            ]
        }
        return ReportTable(
            columns: titles.map { .init(title: $0, isFigures: figures.contains($0)) }, rows: rows, notes: [])
    }

    var lines: [String] {
        var lines = introduction + [summary]
        if !entries.isEmpty { lines += [""] + table.lines }
        lines += onlyThen.map { "only then: \($0)" } + onlyNow.map { "only now: \($0)" }
        return lines
    }

    private static func percent(_ change: Double) -> String {
        let text = Decimal.text(change * 100, places: 1)
        return (change > 0 ? "+" : "") + text + "%"
    }

    /// The comparison as a member of the document.
    var json: JSONText {
        .object([
            (
                "earlier",
                .object([
                    ("date", .string(earlier.machine.date)), ("version", .string(earlier.version)),
                    ("kernel", .string(earlier.machine.kernel)),
                ])
            ),
            ("remarks", .array(remarks.map { .string($0) })), ("entries", .array(entries.map(\.json))),
            ("only_then", .array(onlyThen.map { .object($0.json) })),
            ("only_now", .array(onlyNow.map { .object($0.json) })),
        ])
    }
}

extension Comparison.Verdict {
    /// Its name in documents and pages.
    var name: String {
        switch self {
        case .better: "better"
        case .worse: "worse"
        case .same: "same"
        case .undecided: "undecided"
        }
    }

    fileprivate var reason: String? { if case .undecided(let reason) = self { reason } else { nil } }

    fileprivate var text: String {
        switch self {
        case .better: "better"
        case .worse: "WORSE"
        case .same: "no difference"
        case .undecided(let reason): "undecided: \(reason)"
        }
    }
}

extension Comparison.Entry {
    fileprivate var rank: Int {
        switch verdict {
        case .worse: 0
        case .better: 1
        case .undecided: 2
        case .same: 3
        }
    }

    fileprivate var json: JSONText {
        .object(
            key.json + [
                ("unit", .string(unit.rawValue)), ("basis", .string(isRatio ? "ratio" : "samples")),
                ("then", then.json), ("now", now.json), ("change", .optional(change) { .number($0) }),
                ("p", .number(probability)), ("verdict", .string(verdict.name)),
                ("reason", .optional(verdict.reason) { .string($0) }),
            ])
    }
}
