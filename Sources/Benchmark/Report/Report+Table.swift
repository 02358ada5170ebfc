extension Report {
    /// The report for people: a table for each quantity, then what was skipped and what failed.
    public var table: String { text(comparison: nil) }

    /// The tables, with a comparison to an earlier report below them.
    public func text(comparison: Comparison?) -> String {
        var lines = header.lines(seconds: seconds)
        let byKey = byKey
        for section in ReportSection.all(of: self) {
            lines += ["", "\(section.suite.rawValue): \(section.suite.title)"]
            for group in section.groups {
                lines += ["", "\(group.quantity), \(group.scale.name), \(group.unit.direction)"]
                lines += group.table(byKey).lines
            }
            if !section.skipped.isEmpty || !section.failed.isEmpty { lines.append("") }
            lines += section.skipped.map { "skipped: \($0)" } + section.failed.map { "FAILED: \($0)" }
        }
        if let comparison { lines += ["", ""] + comparison.lines }
        return lines.map { "\($0)\n" }.joined()
    }
}

extension Report.Header {
    fileprivate func lines(seconds: Double) -> [String] {
        let loads = [loadAtStart, loadAtEnd].map { Decimal.text($0, places: 1) }
        return [
            "needletail-bench \(version), \(machine.date), \(Decimal.text(seconds, places: 0)) s",
            """
            \(machine.processor), \(machine.cores) cores, Linux \(machine.kernel), load \(loads[0]) at the start, \
            \(loads[1]) at the end
            """,
            command.joined(separator: " "),
            """
            samples of everything taken in turns, \(settings.repeats) of each; spread: (greatest - least) / median; \
            ratio: of samples of the same turn
            """,
        ]
    }
}
