/// A table of a report, for text and pages alike.
struct ReportTable {
    struct Column {
        let title: String
        /// Whether it is aligned by the last digit.
        let isFigures: Bool
    }

    let columns: [Column]
    let rows: [[String]]
    /// What is said below it. Cells refer to notes by the number that these begin with; a note without one is for all.
    let notes: [String]

    /// Lines of text, indented.
    var lines: [String] {
        let figures = Set(columns.indices.filter { columns[$0].isFigures })
        return TextColumns.aligned([columns.map(\.title)] + rows, figures: figures)
            + notes.map { "  \($0)" }
    }
}

/// Measurements of one quantity in one unit: a table and a chart.
struct MeasurementGroup {
    let suite: SuiteName
    let quantity: String
    let unit: Measurement.Unit
    /// Measured ones, at least one.
    let measurements: [Measurement]
    /// Names of the conditions of any of them, in the order of columns.
    let conditions: [String]
    /// Of the medians.
    let scale: Scale

    init(_ suite: SuiteName, _ quantity: String, _ unit: Measurement.Unit, _ measurements: [Measurement]) {
        self.suite = suite
        self.quantity = quantity
        self.unit = unit
        self.measurements = measurements
        var names: [String] = []
        for condition in measurements.flatMap(\.key.conditions) where !names.contains(condition.name) {
            names.append(condition.name)
        }
        conditions = names
        scale = Scale(unit, largest: measurements.compactMap { Statistics($0.samples)?.median.magnitude }.max() ?? 0)
    }

    /// The table; `byKey` is where references are looked up.
    func table(_ byKey: [Measurement.Key: Measurement]) -> ReportTable {
        var notes: [String] = []
        for note in measurements.compactMap(\.note) where !notes.contains(note) { notes.append(note) }
        let areNotesNumbered = notes.count > 1 || measurements.contains { $0.note == nil }
        let hasLatencies = measurements.contains { $0.latencies != nil }
        let hasReferences = measurements.contains { $0.reference != nil }
        let hasSeveral = measurements.contains { $0.samples.count > 1 }
        let rows = measurements.map { measurement in
            let statistics = Statistics(measurement.samples) ?? .zero
            var row = [measurement.key.subject] + conditions.map { measurement.key[$0] ?? "" }
            row.append(scale.text(statistics.median))
            if hasSeveral {
                row += [scale.text(statistics.min), scale.text(statistics.max)]
                row.append(statistics.spread.map { Decimal.text($0 * 100, places: 0) + "%" } ?? "")
            }
            if hasReferences { row += Self.ratioCells(measurement, byKey, spread: hasSeveral) }
            if hasLatencies {
                row += Self.percentiles.map { percentile in
                    measurement.latencies?[percentile].map(Decimal.significant) ?? ""
                }
            }
            if areNotesNumbered, let number = measurement.note.flatMap(notes.firstIndex(of:)) {
                row[0] += " [\(number + 1)]"
            }
            return row
        }
        var columns = [ReportTable.Column(title: "subject", isFigures: false)]
        columns += conditions.map { .init(title: $0, isFigures: true) }
        var figures = ["median"]
        if hasSeveral { figures += ["least", "greatest", "spread"] }
        if hasReferences { figures += hasSeveral ? ["ratio", "least", "greatest"] : ["ratio"] }
        columns += figures.map { .init(title: $0, isFigures: true) }
        if hasReferences { columns.append(.init(title: "reference", isFigures: false)) }
        if hasLatencies { columns += Self.percentileTitles.map { .init(title: $0, isFigures: true) } }
        return ReportTable(
            columns: columns, rows: rows,
            notes: areNotesNumbered ? notes.enumerated().map { "[\($0 + 1)] \($1)" } : notes)
    }

    private static let percentiles = [50, 90, 99, 99.9, 100]
    private static let percentileTitles = ["p50 µs", "p90", "p99", "p99.9", "max"]

    /// Median, least and greatest multiple of the reference (the first only without `spread`), and what that is.
    private static func ratioCells(
        _ measurement: Measurement, _ byKey: [Measurement.Key: Measurement], spread: Bool
    ) -> [String] {
        let none = [String](repeating: "", count: spread ? 4 : 2)
        guard let key = measurement.reference else { return none }
        let ratios = byKey[key].map(measurement.ratios) ?? []
        guard let ratio = Statistics(ratios) else { return none }
        return (spread ? [ratio.median, ratio.min, ratio.max] : [ratio.median]).map {
            Decimal.text($0, places: $0.magnitude < 0.1 ? 3 : $0.magnitude < 10 ? 2 : 1)
        } + [name(of: key, seenFrom: measurement.key)]
    }

    /// What differs between a reference and what refers to it.
    private static func name(of reference: Measurement.Key, seenFrom key: Measurement.Key) -> String {
        var parts: [String] = []
        if reference.suite != key.suite { parts.append(reference.suite.rawValue) }
        if reference.quantity != key.quantity { parts.append(reference.quantity) }
        if reference.subject != key.subject { parts.append(reference.subject) }
        parts += reference.conditions.filter { !key.conditions.contains($0) }.map { "\($0.name) \($0.value)" }
        return parts.joined(separator: ", ")
    }
}

/// What a report says of one suite.
struct ReportSection {
    let suite: SuiteName
    /// In the order of the measurements.
    let groups: [MeasurementGroup]
    /// What could not be taken, and why: lines that each stand for all measurements of a subject with one reason.
    let skipped: [String]
    /// What does not stand for what it is named after, and why.
    let failed: [String]

    /// One for each suite that has measurements, in the order of the report.
    static func all(of report: Report) -> [ReportSection] {
        var order: [SuiteName] = []
        for measurement in report.measurements where !order.contains(measurement.key.suite) {
            order.append(measurement.key.suite)
        }
        return order.map { suite in ReportSection(suite, report.measurements.filter { $0.key.suite == suite }) }
    }

    private init(_ suite: SuiteName, _ measurements: [Measurement]) {
        self.suite = suite
        struct Kind: Hashable {
            let quantity: String
            let unit: Measurement.Unit
        }
        var kinds: [Kind] = []
        var members: [Kind: [Measurement]] = [:]
        for measurement in measurements where measurement.isMeasured {
            let kind = Kind(quantity: measurement.key.quantity, unit: measurement.unit)
            if members[kind] == nil { kinds.append(kind) }
            members[kind, default: []].append(measurement)
        }
        groups = kinds.map { MeasurementGroup(suite, $0.quantity, $0.unit, members[$0] ?? []) }
        skipped = Self.skips(measurements)
        failed = measurements.compactMap { measurement in measurement.failure.map { "\(measurement.key): \($0)" } }
    }

    private static func skips(_ measurements: [Measurement]) -> [String] {
        struct Kind: Hashable {
            let subject: String
            let reason: String
        }
        var kinds: [Kind] = []
        var keys: [Kind: [Measurement.Key]] = [:]
        for measurement in measurements {
            guard let reason = measurement.skip else { continue }
            let kind = Kind(subject: measurement.key.subject, reason: reason)
            if keys[kind] == nil { kinds.append(kind) }
            keys[kind, default: []].append(measurement.key)
        }
        return kinds.map { kind in
            let all = keys[kind] ?? []
            guard all.count > 1 else { return "\(all[0]): \(kind.reason)" }
            var quantities: [String] = []
            for key in all where !quantities.contains(key.quantity) { quantities.append(key.quantity) }
            return "\(kind.subject), \(all.count) measurements (\(quantities.joined(separator: ", "))): \(kind.reason)"
        }
    }
}
