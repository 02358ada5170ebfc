internal import Glibc

/// How the measurements of a group are laid out in pictures.
///
/// A condition that all share goes into the caption. Of those that differ, the first with numbers of most different
/// values becomes the horizontal axis; the others make panels side by side, or, where these would hold few lines, series.
struct ChartLayout {
    /// A line or bar by its name.
    struct Series {
        let name: String
        let style: SeriesStyle
        let members: [Measurement]
    }

    struct Panel {
        /// What its measurements have in common and others have not; empty if there is one panel only.
        let title: String
        let series: [Series]
    }

    /// The condition along the horizontal axis, if any.
    let axis: String?
    let panels: [Panel]
    /// What all have in common.
    let caption: String
    /// All series of all panels, each once.
    let legend: [(name: String, style: SeriesStyle)]

    /// As many series in one panel can still be told apart, when they could be in several.
    private static let mostSeries = 6

    init(_ group: MeasurementGroup, measurements: [Measurement], usesAxis: Bool) {
        // No value is a value, too: then the condition is none of some measurements'.
        let values = Dictionary(
            uniqueKeysWithValues: group.conditions.map { name in
                (name, Self.distinct(measurements.map { $0.key[name] }))
            })
        let varying = group.conditions.filter { (values[$0]?.count ?? 0) > 1 }
        caption = group.conditions.filter { values[$0]?.count == 1 }
            .compactMap { name in values[name]?.first?.map { "\(name) \($0)" } }.joined(separator: ", ")
        let numbers = { (name: String) in (values[name] ?? []).compactMap { $0 } }
        let scaling = varying.filter { name in
            numbers(name).count > 1 && numbers(name).allSatisfy { Self.number($0) != nil }
        }
        let most = scaling.map { numbers($0).count }.max() ?? 0
        axis = usesAxis ? scaling.first { numbers($0).count == most } : nil
        let others = varying.filter { [axis] in $0 != axis }

        let subjects = Self.distinct(measurements.map(\.key.subject))
        // What a subject never has does not matter to it: it is in all panels. Where it has it only at times, both are told
        // apart.
        var dependencies: [String: Set<String>] = [:]
        for measurement in measurements {
            dependencies[measurement.key.subject, default: []].formUnion(measurement.key.conditions.map(\.name))
        }
        let matters = { (measurement: Measurement) in
            others.map { dependencies[measurement.key.subject]?.contains($0) ?? false }
        }
        let complete = measurements.filter { !matters($0).contains(false) }
        let combinations = Self.distinct((complete.isEmpty ? measurements : complete).map { Self.values($0, others) })
        let areSeries = axis != nil && subjects.count * combinations.count <= Self.mostSeries
        let seriesName = { (measurement: Measurement) in
            let own = areSeries ? Self.label(others, Self.values(measurement, others)) : ""
            return own.isEmpty ? measurement.key.subject : "\(measurement.key.subject), \(own)"
        }
        let names = Self.distinct(measurements.map(seriesName))
        let styles = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, SeriesStyle($0)) })
        let series = { (members: [Measurement]) in
            Self.distinct(members.map(seriesName)).map { name in
                Series(
                    name: name, style: styles[name] ?? SeriesStyle(0),
                    members: members.filter { seriesName($0) == name })
            }
        }
        legend = names.map { ($0, styles[$0] ?? SeriesStyle(0)) }
        if areSeries || combinations.count < 2 {
            panels = [Panel(title: "", series: series(measurements))]
        } else {
            panels = combinations.map { combination in
                let members = measurements.filter { measurement in
                    zip(zip(Self.values(measurement, others), combination), matters(measurement))
                        .allSatisfy { !$1 || $0.0 == $0.1 }
                }
                return Panel(title: Self.label(others, combination), series: series(members))
            }
        }
    }

    /// Reads `5000`, `64k` or `1M`.
    static func number(_ text: String) -> Double? {
        let (digits, unit): (Substring, Double) =
            switch text.last {
            case "k": (text.dropLast(), 1024)
            case "M": (text.dropLast(), 1_048_576)
            default: (text[...], 1)
            }
        return Double(digits).flatMap { $0 >= 0 && $0.isFinite ? $0 * unit : nil }
    }

    private static func values(_ measurement: Measurement, _ names: [String]) -> [String?] {
        names.map { measurement.key[$0] }
    }

    private static func label(_ names: [String], _ values: [String?]) -> String {
        zip(names, values).compactMap { name, value in value.map { "\(name) \($0)" } }.joined(separator: ", ")
    }

    private static func distinct<T: Hashable>(_ values: [T]) -> [T] {
        var seen: Set<T> = []
        return values.filter { seen.insert($0).inserted }
    }
}

/// The pictures of a group, one for each panel, and what belongs to them.
struct Figure {
    let pictures: [String]
    /// What is named in a legend: nothing where labels are at the bars themselves.
    let legend: [(name: String, style: SeriesStyle)]
    let caption: String

    /// Bars, or lines if there is something to scale over.
    init(_ group: MeasurementGroup) {
        let layout = ChartLayout(group, measurements: group.measurements, usesAxis: true)
        let label = "\(group.suite.rawValue), \(group.quantity), \(group.scale.name)"
        let width = layout.panels.count > 1 ? Panels.narrow : Panels.wide
        if let name = layout.axis {
            let chart = LineChart(group, layout, conditionName: name, width: width)
            pictures = layout.panels.map { chart.draw($0).svg(label: "\(label), \($0.title)") }
            legend = layout.legend
            caption =
                Self.sentence(layout.caption)
                + "Medians, with least and greatest; \(name) on a logarithmic scale"
                + (chart.isLogarithmic ? ", and so are the figures." : ".")
        } else {
            let chart = BarChart(group, layout, width: width)
            pictures = layout.panels.map { chart.draw($0).svg(label: "\(label), \($0.title)") }
            legend = []
            caption =
                Self.sentence(layout.caption)
                + (chart.isLogarithmic
                    ? "Marks are medians on a logarithmic scale, whiskers least and greatest."
                    : "Bars are medians, whiskers least and greatest.")
        }
    }

    /// Curves of latencies, if there are any.
    init?(latenciesOf group: MeasurementGroup) {
        let measurements = group.measurements.filter { ($0.latencies?.points.count ?? 0) > 1 }
        guard !measurements.isEmpty else { return nil }
        let layout = ChartLayout(group, measurements: measurements, usesAxis: false)
        let width = layout.panels.count > 1 ? Panels.narrow : Panels.wide
        let chart = LatencyChart(measurements, width: width)
        pictures = layout.panels.map {
            chart.draw($0).svg(label: "\(group.suite.rawValue), \(group.quantity), latency by percentile, \($0.title)")
        }
        legend = layout.legend
        caption =
            Self.sentence(layout.caption)
            + "Latency of single operations: each further nine to the right is a tenth of them."
    }

    private static func sentence(_ text: String) -> String { text.isEmpty ? "" : "For all: \(text). " }
}

/// Widths of pictures.
enum Panels {
    static let wide = 760.0
    static let narrow = 553.0
}

/// Where in a drawing the values are, and its frame of axes.
struct PlotArea {
    let left: Double
    let right: Double
    let top: Double
    let bottom: Double

    func x(_ place: Double) -> Double { left + place * (right - left) }
    func y(_ place: Double) -> Double { bottom - place * (bottom - top) }

    /// The vertical axis with a line across at each tick, and what it is in above it.
    func drawVertical(_ axis: Axis, title: String, heading: String, in drawing: inout Drawing) {
        drawing.text(2, 14, title, class: "axis")
        let room = right - Drawing.width(of: title) - 12
        if !heading.isEmpty {
            drawing.text(right, 14, Drawing.shortened(heading, to: room), .end, class: "heading")
        }
        for tick in axis.ticks {
            let y = y(axis.place(tick.value))
            drawing.line(left, y, right, y, class: "grid")
            drawing.text(left - 6, y + 4, tick.label, .end)
        }
    }

    /// The horizontal axis. Labels that would touch the one before are left out, the last one never.
    func drawHorizontal(_ ticks: [(place: Double, label: String)], title: String, in drawing: inout Drawing) {
        drawing.line(left, bottom, right, bottom, class: "frame")
        var free = drawing.width
        for tick in ticks.reversed() {
            let (x, half) = (x(tick.place), Drawing.width(of: tick.label) / 2)
            drawing.line(x, bottom, x, bottom + 4, class: "frame")
            // Labels at the ends stay within the picture.
            let middle = min(max(x, half), drawing.width - half)
            guard middle + half <= free else { continue }
            drawing.text(middle, bottom + 17, tick.label, .middle)
            free = middle - half - 6
        }
        drawing.text((left + right) / 2, bottom + 34, title, .middle, class: "axis")
    }
}

/// How a quantity grows with a condition.
struct LineChart {
    private let group: MeasurementGroup
    private let conditionName: String
    private let width: Double
    private let vertical: Axis
    /// Values of the condition, ascending, with their text.
    private let columns: [(value: Double, label: String)]

    var isLogarithmic: Bool { vertical.isLogarithmic }

    init(_ group: MeasurementGroup, _ layout: ChartLayout, conditionName: String, width: Double) {
        self.group = group
        self.conditionName = conditionName
        self.width = width
        let scale = group.scale
        vertical = Axis.fitting(group.measurements.flatMap { $0.samples.map(scale.value) })
        var labels: [Double: String] = [:]
        for measurement in group.measurements {
            guard let text = measurement.key[conditionName], let value = ChartLayout.number(text) else { continue }
            labels[value] = text
        }
        columns = labels.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// Where a value of the condition is, from 0 to 1, on a logarithmic scale; 0 itself comes before 1.
    private func place(_ value: Double) -> Double {
        guard let first = columns.first?.value, let last = columns.last?.value, last > first else { return 0.5 }
        let shift = first == 0 ? 1.0 : 0
        return log((value + shift) / (first + shift)) / log((last + shift) / (first + shift))
    }

    func draw(_ panel: ChartLayout.Panel) -> Drawing {
        var drawing = Drawing(width: width, height: 280)
        // Room at both ends for series that are set apart.
        let inset = 8 + 2 * Double(panel.series.count)
        let area = PlotArea(left: max(vertical.labelWidth + 12, 30), right: width - 10, top: 28, bottom: 236)
        let inner = PlotArea(left: area.left + inset, right: area.right - inset, top: area.top, bottom: area.bottom)
        area.drawVertical(vertical, title: group.scale.name, heading: panel.title, in: &drawing)
        drawing.line(area.left, area.bottom, area.right, area.bottom, class: "frame")
        inner.drawHorizontal(
            columns.map { (place($0.value), $0.label) }, title: conditionName, in: &drawing)
        for (index, series) in panel.series.enumerated() {
            let offset = (Double(index) - Double(panel.series.count - 1) / 2) * 4
            draw(series, inner, area, offset: offset, in: &drawing)
        }
        return drawing
    }

    private func draw(
        _ series: ChartLayout.Series, _ inner: PlotArea, _ area: PlotArea, offset: Double, in drawing: inout Drawing
    ) {
        let scale = group.scale
        var points: [(x: Double, y: Double)] = []
        var marks: [(x: Double, statistics: Statistics, where: String)] = []
        let members = series.members.sorted { number($0) ?? 0 < number($1) ?? 0 }
        for member in members {
            guard let statistics = Statistics(member.samples) else { continue }
            guard let value = number(member) else {
                // It does not depend on the condition: a line all across.
                let y = area.y(vertical.place(scale.value(statistics.median)))
                drawing.path([(area.left, y), (area.right, y)], class: "curve dotted \(series.style.colour)")
                continue
            }
            let x = inner.x(place(value)) + offset
            points.append((x, inner.y(vertical.place(scale.value(statistics.median)))))
            marks.append((x, statistics, "\(conditionName) \(member.key[conditionName] ?? "")"))
        }
        drawing.path(points, class: "curve \(series.style.shape.dash) \(series.style.colour)")
        for mark in marks {
            let place = { (figure: Double) in inner.y(vertical.place(scale.value(figure))) }
            let (low, high) = (place(mark.statistics.min), place(mark.statistics.max))
            if low - high > 1 {
                drawing.line(mark.x, low, mark.x, high, class: "whisker \(series.style.colour)")
                for y in [low, high] {
                    drawing.line(mark.x - 3, y, mark.x + 3, y, class: "whisker \(series.style.colour)")
                }
            }
            drawing.mark(
                mark.x, place(mark.statistics.median), series.style,
                tip: "\(series.name), \(mark.where): \(scale.text(mark.statistics))")
        }
    }

    private func number(_ measurement: Measurement) -> Double? {
        measurement.key[conditionName].flatMap(ChartLayout.number)
    }
}

extension Scale {
    /// `103 (96-107) ns/packet`.
    func text(_ statistics: Statistics) -> String {
        "\(text(statistics.median)) (\(text(statistics.min))-\(text(statistics.max))) \(name)"
    }
}

/// One row for each measurement: a bar from 0, or a mark where the range is too wide for bars.
struct BarChart {
    private let group: MeasurementGroup
    private let width: Double
    private let axis: Axis
    /// Pixels that the longest name takes.
    private let names: Double

    var isLogarithmic: Bool { axis.isLogarithmic }

    private static let row = 24.0

    init(_ group: MeasurementGroup, _ layout: ChartLayout, width: Double) {
        self.group = group
        self.width = width
        let scale = group.scale
        // A bar's length is its figure: only where that hides all but a few are there marks on a logarithmic scale.
        axis = Axis.fitting(group.measurements.flatMap { $0.samples.map(scale.value) }, upTo: 100)
        names = min(layout.legend.map { Drawing.width(of: $0.name) }.max() ?? 0, width / 2)
    }

    func draw(_ panel: ChartLayout.Panel) -> Drawing {
        let rows = panel.series.flatMap { series in series.members.map { (series, $0) } }
        let top = panel.title.isEmpty ? 6.0 : 24
        let bottom = top + Self.row * Double(rows.count) + 4
        var drawing = Drawing(width: width, height: bottom + 40)
        if !panel.title.isEmpty { drawing.text(2, 14, Drawing.shortened(panel.title, to: width - 4), class: "heading") }
        let scale = group.scale
        let figures = rows.map { scale.text(Statistics($0.1.samples)?.median ?? 0) }
        let room = figures.map(Drawing.width).max() ?? 0
        let area = PlotArea(left: names + 10, right: width - room - 14, top: top, bottom: bottom)
        for tick in axis.ticks {
            let x = area.x(axis.place(tick.value))
            drawing.line(x, top, x, bottom, class: "grid")
        }
        area.drawHorizontal(axis.ticks.map { (axis.place($0.value), $0.label) }, title: scale.name, in: &drawing)
        for (index, (series, measurement)) in rows.enumerated() {
            guard let statistics = Statistics(measurement.samples) else { continue }
            let middle = top + Self.row * (Double(index) + 0.5) + 2
            drawing.text(names + 4, middle + 4, Drawing.shortened(series.name, to: names), .end, class: "name")
            let x = { (figure: Double) in area.x(axis.place(scale.value(figure))) }
            let tip = "\(series.name): \(scale.text(statistics))"
            if !axis.isLogarithmic {
                let (zero, end) = (area.x(axis.place(0)), x(statistics.median))
                drawing.bar(
                    min(zero, end), middle - 7, (end - zero).magnitude, 14, class: "bar \(series.style.colour)",
                    tip: tip)
            }
            let (low, high) = (x(statistics.min), x(statistics.max))
            if high - low > 1 {
                drawing.line(low, middle, high, middle, class: "whisker over")
                for end in [low, high] { drawing.line(end, middle - 4, end, middle + 4, class: "whisker over") }
            }
            if axis.isLogarithmic { drawing.mark(x(statistics.median), middle, series.style, tip: tip) }
            drawing.text(max(high, area.x(axis.place(0))) + 7, middle + 4, figures[index], class: "value")
        }
        return drawing
    }
}

/// Latencies by percentile, as HdrHistogram's plots show them: the axis is in nines, so that rare ones have room.
struct LatencyChart {
    private let width: Double
    private let vertical: Axis
    /// Nines at the right end.
    private let nines: Double

    init(_ measurements: [Measurement], width: Double) {
        self.width = width
        let latencies = measurements.compactMap(\.latencies)
        vertical = Axis.fitting(latencies.flatMap { $0.points.map(\.latency) })
        nines = min(max(log10(Double(latencies.map(\.count).max() ?? 1)), 2), 7)
    }

    /// How many nines a percentile is: 0 at 0, 1 at 90, 2 at 99. The last of `count` operations has as many as can be
    /// told from them.
    private func place(_ percentile: Double, count: Int) -> Double {
        let most = min(log10(Double(max(count, 10))), nines)
        guard percentile < 100 else { return most / nines }
        return min(-log10(1 - percentile / 100), most) / nines
    }

    func draw(_ panel: ChartLayout.Panel) -> Drawing {
        var drawing = Drawing(width: width, height: 280)
        let area = PlotArea(left: max(vertical.labelWidth + 12, 30), right: width - 30, top: 28, bottom: 236)
        area.drawVertical(vertical, title: "µs", heading: panel.title, in: &drawing)
        var ticks = [(place: 0.0, label: "0%"), (place: -log10(0.5) / nines, label: "50%")]
        for nine in 1...Int(nines) {
            let label = nine == 1 ? "90%" : "99\(nine > 2 ? "." : "")\(String(repeating: "9", count: nine - 2))%"
            ticks.append((Double(nine) / nines, label))
        }
        for tick in ticks {
            drawing.line(area.x(tick.place), area.top, area.x(tick.place), area.bottom, class: "grid")
        }
        area.drawHorizontal(ticks, title: "percentile", in: &drawing)
        for series in panel.series {
            for member in series.members {
                guard let latencies = member.latencies else { continue }
                let points = latencies.points.map { point in
                    (
                        x: area.x(place(point.percentile, count: latencies.count)),
                        y: area.y(vertical.place(point.latency))
                    )
                }
                drawing.path(points, class: "curve \(series.style.shape.dash) \(series.style.colour)")
            }
        }
        return drawing
    }
}
