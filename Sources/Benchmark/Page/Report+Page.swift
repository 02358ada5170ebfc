extension Report {
    /// The report as one page that needs nothing else: no script, no file, no network.
    public var page: String { page(comparison: nil) }

    /// The page, with a comparison to an earlier report in it.
    public func page(comparison: Comparison?) -> String {
        let sections = ReportSection.all(of: self)
        let byKey = byKey
        var parts = [
            PageStyle.head(title: "Needletail, measured \(header.machine.date)"), header.html(seconds: seconds),
        ]
        parts.append(summary(sections, comparison))
        let failed = sections.flatMap(\.failed)
        if !failed.isEmpty {
            parts.append("<section class=\"failed\"><h2>Failed</h2>\n\(PageStyle.list(failed))</section>")
        }
        if let comparison { parts.append(comparison.html) }
        parts += sections.map { $0.html(byKey) }
        return parts.joined(separator: "\n") + "\n</main></body></html>\n"
    }

    private func summary(_ sections: [ReportSection], _ comparison: Comparison?) -> String {
        let measured = sections.flatMap(\.groups).reduce(0) { $0 + $1.measurements.count }
        let failed = sections.reduce(0) { $0 + $1.failed.count }
        let skipped = measurements.count { $0.skip != nil }
        var links = sections.map { "<a href=\"#\($0.suite.rawValue)\">\($0.suite.rawValue)</a>" }
        if comparison != nil { links.insert("<a href=\"#comparison\">comparison</a>", at: 0) }
        return """
            <nav>\(links.joined(separator: " "))</nav>
            <p>\(measured) measured, \(skipped) skipped, \(failed) failed. Samples of everything are taken in turns, \
            \(header.settings.repeats) of each. Spread is the distance of the greatest from the least as a part of the \
            median. A ratio is the median over pairs of samples of the same turn.</p>
            """
    }
}

extension Report.Header {
    fileprivate func html(seconds: Double) -> String {
        let loads = [loadAtStart, loadAtEnd].map { Decimal.text($0, places: 1) }
        let facts = [
            ("Version", version), ("Date", machine.date),
            ("Processor", "\(machine.processor), \(machine.cores) cores"), ("Kernel", "Linux \(machine.kernel)"),
            ("Load", "\(loads[0]) at the start, \(loads[1]) at the end"),
            ("Took", "\(Decimal.text(seconds, places: 0)) s"),
            ("Families", settings.families.map { "\($0)" }.joined(separator: ", ")),
            ("Flows", settings.flows.map(\.description).joined(separator: ", ")),
            (
                "Services",
                settings.services.map(String.init).joined(separator: ", ") + ", \(settings.backends) backends each"
            ),
            ("Against", settings.peers.map(\.rawValue).joined(separator: ", ")),
            ("A sample takes", "\(settings.duration) s where time decides"),
            ("Command", command.joined(separator: " ")),
        ]
        let rows = facts.map { Markup.element("dt", $0) + Markup.element("dd", $1) }.joined(separator: "\n")
        return "<h1>Needletail, measured</h1>\n<dl>\n\(rows)\n</dl>"
    }
}

extension ReportSection {
    fileprivate func html(_ byKey: [Measurement.Key: Measurement]) -> String {
        var parts = [
            "<section id=\"\(suite.rawValue)\">", Markup.element("h2", "\(suite.rawValue): \(suite.title)"),
        ]
        for group in groups {
            parts.append("<figure>")
            parts.append(
                "<h3>\(Markup.escape(group.quantity)) <small>\(Markup.escape(group.scale.name)), \(group.unit.direction)</small></h3>"
            )
            parts.append(Figure(group).html)
            if let latencies = Figure(latenciesOf: group) { parts.append(latencies.html) }
            parts.append(group.table(byKey).html(styles: []))
            parts.append("</figure>")
        }
        if !skipped.isEmpty { parts.append("<h3>Skipped</h3>\n" + PageStyle.list(skipped)) }
        return (parts + ["</section>"]).joined(separator: "\n")
    }
}

extension Figure {
    fileprivate var html: String {
        let keys = legend.map { name, style in
            var swatch = Drawing(width: 30, height: 12)
            swatch.path([(2, 6), (28, 6)], class: "curve \(style.shape.dash) \(style.colour)")
            swatch.mark(15, 6, style, tip: name)
            return "<span>\(swatch.svg(label: ""))\(Markup.escape(name))</span>"
        }
        let legend = keys.isEmpty ? "" : "<div class=\"legend\">\(keys.joined(separator: "\n"))</div>\n"
        return """
            <div class="chart">\(legend)<div class="panels">\(pictures.joined(separator: "\n"))</div>
            \(Markup.element("p", caption, class: "caption"))</div>
            """
    }
}

extension ReportTable {
    /// As an element of a page; `styles` are classes of the rows, none if there are fewer.
    fileprivate func html(styles: [String]) -> String {
        let head = columns.map { Markup.element("th", $0.title, class: $0.isFigures ? "figures" : nil) }.joined()
        let body = rows.enumerated().map { index, row in
            let cells = zip(row, columns).map { Markup.element("td", $0, class: $1.isFigures ? "figures" : nil) }
                .joined()
            return "<tr\(index < styles.count ? " class=\"\(styles[index])\"" : "")>\(cells)</tr>"
        }
        let notes = notes.map { Markup.element("p", $0, class: "note") }
        return """
            <div class="scroll"><table><thead><tr>\(head)</tr></thead>
            <tbody>\(body.joined(separator: "\n"))</tbody></table></div>
            \(notes.joined(separator: "\n"))
            """
    }
}

extension Comparison {
    fileprivate var html: String {
        let texts = introduction + [summary]
        let others = onlyThen.map { "only then: \($0)" } + onlyNow.map { "only now: \($0)" }
        return """
            <section id="comparison"><h2>Compared with an earlier run</h2>
            \(texts.map { Markup.element("p", $0) }.joined(separator: "\n"))
            \(entries.isEmpty ? "" : table.html(styles: ranked.map(\.verdict.name)))
            \(others.isEmpty ? "" : PageStyle.list(others))
            </section>
            """
    }
}
