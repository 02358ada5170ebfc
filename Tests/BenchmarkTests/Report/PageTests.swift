import Foundation
import Testing

@testable import Benchmark

@Suite struct PageTests {
    @Test("A page needs nothing but itself, and its labels are readable")
    func selfContained() throws {
        let report = try MadeUp.complete
        let html = report.page(comparison: Comparison(from: report, to: report))
        let page = try Page(html)
        #expect(page.problems == [])
        #expect(page.elements.isDisjoint(with: ["script", "link", "img", "iframe", "object", "embed", "base", "form"]))
        #expect(page.links.allSatisfy { $0.hasPrefix("#") } && !page.links.isEmpty)
        for word in ["http:", "https:", "@import", "url(", "javascript:"] { #expect(!html.contains(word), "\(word)") }
        for part in [
            "prefers-color-scheme:dark", "@media print", "id=\"packet\"", "id=\"connect\"", "id=\"comparison\"",
        ] {
            #expect(html.contains(part), "\(part)")
        }
    }

    @Test("Whatever is in a name is text in the page")
    func escaped() throws {
        let html = try MadeUp.complete.page
        for raw in ["<EPYC>", "<ip_vs>", "\u{7}", "& \"friends\""] { #expect(!html.contains(raw), "\(raw)") }
        for text in ["AMD &lt;EPYC&gt; &amp; &quot;friends&quot;", "no &lt;ip_vs&gt;", "&amp; \u{FFFD} &quot;quoted"] {
            #expect(html.contains(text), "\(text)")
        }
    }

    @Test("Every figure that was measured is in the page, skips and failures too")
    func complete() throws {
        let report = try MadeUp.complete
        let html = report.page
        for section in ReportSection.all(of: report) {
            for group in section.groups {
                #expect(html.contains(">\(group.quantity) <small>"))
                for row in group.table(report.byKey).rows {
                    for cell in row { #expect(html.contains(">\(Markup.escape(cell))</td>"), "\(cell)") }
                }
            }
            for line in section.skipped + section.failed { #expect(html.contains(Markup.escape(line)), "\(line)") }
        }
    }

    private func group(_ measurements: [Measurement]) throws -> MeasurementGroup {
        try #require(ReportSection.all(of: try MadeUp.report(measurements)).first?.groups.first)
    }

    private func measurement(_ subject: String, _ conditions: [String], _ sample: Double = 1) -> Measurement {
        Measurement(
            .init(
                .forward, "syn", of: subject,
                conditions.map { text in
                    let parts = text.split(separator: " ").map(String.init)
                    return .init(parts[0], parts[1])
                }), in: .packetsPerSecond, samples: [sample])
    }

    @Test("The condition with most numbers is the axis; the others make panels, or few lines")
    func layout() throws {
        let subjects = ["direct", "needletail-xdp", "nftables"]
        var all: [Measurement] = []
        for family in ["v4", "v6"] {
            for flows in ["1", "64k", "1M"] {
                for services in ["1", "5000"] {
                    let conditions = ["family \(family)", "flows \(flows)", "services \(services)", "hook tc"]
                    all += subjects.map { measurement($0, conditions) }
                }
            }
        }
        let group = try group(all)
        let layout = ChartLayout(group, measurements: group.measurements, usesAxis: true)
        #expect(layout.axis == "flows")
        #expect(layout.caption == "hook tc")
        #expect(
            layout.panels.map(\.title) == [
                "family v4, services 1", "family v4, services 5000", "family v6, services 1",
                "family v6, services 5000",
            ])
        #expect(layout.panels.allSatisfy { $0.series.map(\.name) == subjects })
        #expect(layout.panels.allSatisfy { panel in panel.series.allSatisfy { $0.members.count == 3 } })
        #expect(layout.legend.map(\.name) == subjects && Set(layout.legend.map(\.style)).count == 3)
    }

    /// With 1 and 100 Services.
    private func inFamilies(_ subjects: [String]) -> [Measurement] {
        var all: [Measurement] = []
        for services in ["1", "100"] {
            for family in ["v4", "v6"] {
                all += subjects.map { measurement($0, ["family \(family)", "services \(services)"]) }
            }
        }
        return all
    }

    @Test("Few lines share a panel")
    func fewLines() throws {
        let group = try group(inFamilies(["a", "b"]))
        let layout = ChartLayout(group, measurements: group.measurements, usesAxis: true)
        #expect(layout.axis == "services" && layout.panels.count == 1)
        #expect(layout.legend.map(\.name) == ["a, family v4", "b, family v4", "a, family v6", "b, family v6"])
    }

    @Test("What lacks a condition is in every panel, and not moved along an axis")
    func withoutCondition() throws {
        let subjects = ["a", "b", "c", "d"]
        let direct = ["v4", "v6"].map { measurement("direct", ["family \($0)"]) }
        let group = try group(direct + inFamilies(subjects))
        let layout = ChartLayout(group, measurements: group.measurements, usesAxis: true)
        #expect(layout.panels.map(\.title) == ["family v4", "family v6"])
        #expect(layout.panels.allSatisfy { $0.series.map(\.name) == ["direct"] + subjects })
        #expect(layout.panels.allSatisfy { $0.series[0].members.count == 1 })
    }

    @Test("What has a condition only at times is told apart")
    func sometimes() throws {
        var all: [Measurement] = []
        for flows in ["1", "64k"] {
            all.append(measurement("floor", ["flows \(flows)"]))
            for subject in ["a", "b", "c"] {
                all.append(measurement(subject, ["flows \(flows)"]))
                all += ["100", "5000"].map { measurement(subject, ["flows \(flows)", "services \($0)"]) }
            }
        }
        let layout = ChartLayout(try group(all), measurements: all, usesAxis: true)
        #expect(layout.axis == "flows" && layout.caption.isEmpty)
        #expect(layout.panels.map(\.title) == ["", "services 100", "services 5000"])
        for panel in layout.panels {
            #expect(panel.series.map(\.name) == ["floor", "a", "b", "c"])
            #expect(panel.series.allSatisfy { $0.members.count == 2 })
        }
    }

    @Test(
        "Axes begin and end at round numbers around the values, rising",
        arguments: [
            ([3, 7], [0, 2, 4, 6, 8]), ([0], [0, 0.2, 0.4, 0.6, 0.8, 1]), ([-3, 9], [-5, -2.5, 0, 2.5, 5, 7.5, 10]),
            ([1030], [0, 250, 500, 750, 1000, 1250]), ([0.012], [0, 0.0025, 0.005, 0.0075, 0.01, 0.0125]),
        ] as [([Double], [Double])])
    func linearAxis(_ values: [Double], _ expected: [Double]) {
        let axis = Axis.linear(values)
        #expect(
            zip(axis.ticks, expected).allSatisfy { abs($0.value - $1) < 1e-9 } && axis.ticks.count == expected.count)
        #expect(axis.ticks.first.map { axis.place($0.value) } == 0)
        #expect(axis.ticks.last.map { abs(axis.place($0.value) - 1) < 1e-9 } == true)
    }

    @Test(
        "Logarithmic axes too, with fewer ticks over many decades",
        arguments: [
            ([31, 1558], ["20", "50", "100", "200", "500", "1,000", "2,000"]),
            ([1, 10], ["1", "2", "5", "10"]), ([0.5, 50_000], ["1", "10", "100", "1,000", "10,000"]),
            ([5], ["5", "10"]),
            ([0.003, 0.02], ["0.002", "0.005", "0.01", "0.02"]),
        ] as [([Double], [String])])
    func logarithmicAxis(_ values: [Double], _ labels: [String]) {
        let axis = Axis.logarithmic(values)
        #expect(axis.ticks.map(\.label) == labels)
        for value in values { #expect((0...1.000001).contains(axis.place(value)), "\(value)") }
        let places = axis.ticks.map { axis.place($0.value) }
        #expect(places == places.sorted() && Set(places).count == places.count)
    }

    @Test("Any values fit on an axis", arguments: UInt64(1)...50)
    func anyAxis(_ seed: UInt64) {
        var generator = Seeded(seed)
        let isPositive = Bool.random(using: &generator)
        let values = (0..<Int.random(in: 1...6, using: &generator)).map { _ in
            Double.random(in: isPositive ? 0.1...1 : -1...1, using: &generator)
                * pow(10, Double(Int.random(in: -5...9, using: &generator)))
        }
        let axis = Axis.fitting(values)
        #expect((1...20).contains(axis.ticks.count), "seed \(seed): \(values)")
        for value in values { #expect((-0.000001...1.000001).contains(axis.place(value)), "seed \(seed): \(value)") }
    }

    @Test("A name that is too long for its place is cut, not the picture")
    func longNames() throws {
        let name = String(repeating: "needletail-xdp ", count: 12)
        let report = try MadeUp.report([measurement(name, ["family v4"]), measurement("direct", ["family v4"])])
        #expect(try Page(report.page).problems == [])
    }

    @Test("Series beyond the colours differ by shape") func styles() {
        #expect(Set((0..<24).map { SeriesStyle($0) }).count == 24)
    }
}
