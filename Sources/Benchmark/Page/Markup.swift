/// Pieces of HTML and SVG.
enum Markup {
    /// Text for elements and attributes: what has a meaning in HTML is written as a reference. Control characters, which
    /// HTML does not allow at all, become U+FFFD.
    static func escape(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            case "\n", "\t": result.unicodeScalars.append(scalar)
            case ..<" ", "\u{7F}"..."\u{9F}": result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// An element with text in it, which is escaped.
    static func element(_ name: String, _ text: String, class style: String? = nil) -> String {
        "<\(name)\(style.map { " class=\"\($0)\"" } ?? "")>\(escape(text))</\(name)>"
    }

    /// A coordinate: pixels, to a tenth.
    static func pixels(_ value: Double) -> String { Decimal.text(value, places: 1) }
}

/// A picture that is put together element by element; the origin is at its top left.
struct Drawing {
    let width: Double
    let height: Double
    private var elements: [String] = []

    /// Size of all text in it, in pixels.
    static let textSize = 12.0

    init(width: Double, height: Double) {
        self.width = width
        self.height = height
    }

    /// No fewer pixels than the text takes in any usual font without serifs.
    static func width(of text: String) -> Double { Double(text.count) * textSize * 0.6 }

    /// As much of the text as takes no more than so many pixels.
    static func shortened(_ text: String, to room: Double) -> String {
        width(of: text) <= room ? text : text.prefix(max(Int(room / width(of: "x")) - 1, 0)) + "…"
    }

    mutating func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, class style: String) {
        elements.append(
            """
            <line class="\(style)" x1="\(Markup.pixels(x1))" y1="\(Markup.pixels(y1))" x2="\(Markup.pixels(x2))" \
            y2="\(Markup.pixels(y2))"/>
            """)
    }

    mutating func path(_ points: [(x: Double, y: Double)], class style: String) {
        guard !points.isEmpty else { return }
        let places = points.map { "\(Markup.pixels($0.x)) \(Markup.pixels($0.y))" }
        elements.append("<path class=\"\(style)\" d=\"M\(places.joined(separator: "L"))\"/>")
    }

    mutating func bar(_ x: Double, _ y: Double, _ width: Double, _ height: Double, class style: String, tip: String) {
        elements.append(
            """
            <rect class="\(style)" x="\(Markup.pixels(x))" y="\(Markup.pixels(y))" width="\(Markup.pixels(max(width, 0.5)))" \
            height="\(Markup.pixels(height))"><title>\(Markup.escape(tip))</title></rect>
            """)
    }

    /// A mark of a series: the shape changes when the colours have been used up.
    mutating func mark(_ x: Double, _ y: Double, _ series: SeriesStyle, tip: String) {
        let shape =
            switch series.shape {
            case .circle: "<circle cx=\"\(Markup.pixels(x))\" cy=\"\(Markup.pixels(y))\" r=\"3.5\""
            case .square:
                "<rect x=\"\(Markup.pixels(x - 3.2))\" y=\"\(Markup.pixels(y - 3.2))\" width=\"6.4\" height=\"6.4\""
            case .triangle:
                "<path d=\"M\(Markup.pixels(x)) \(Markup.pixels(y - 4.4))l4.4 7.6h-8.8z\""
            }
        elements.append(
            "\(shape) class=\"mark \(series.colour)\"><title>\(Markup.escape(tip))</title></\(series.shape.element)>")
    }

    enum Anchor: String { case start, middle, end }

    mutating func text(
        _ x: Double, _ y: Double, _ text: String, _ anchor: Anchor = .start, class style: String = "tick"
    ) {
        elements.append(
            """
            <text class="\(style)" x="\(Markup.pixels(x))" y="\(Markup.pixels(y))" text-anchor="\(anchor.rawValue)">\
            \(Markup.escape(text))</text>
            """)
    }

    /// As an element of a page; `label` says what it shows to those who cannot see it.
    func svg(label: String) -> String {
        """
        <svg role="img" aria-label="\(Markup.escape(label))" viewBox="0 0 \(Markup.pixels(width)) \(Markup.pixels(height))" \
        width="\(Markup.pixels(width))">\n\(elements.joined(separator: "\n"))\n</svg>
        """
    }
}

/// How a series looks, in pictures and legends.
struct SeriesStyle: Hashable {
    enum Shape: CaseIterable {
        case circle, square, triangle

        var element: String {
            switch self {
            case .circle: "circle"
            case .square: "rect"
            case .triangle: "path"
            }
        }

        /// Class of a line of such marks.
        var dash: String {
            switch self {
            case .circle: "solid"
            case .square: "dashed"
            case .triangle: "dotted"
            }
        }
    }

    /// Class that gives the colour.
    let colour: String
    let shape: Shape

    /// Colours in the style sheet.
    static let colours = 8

    init(_ index: Int) {
        colour = "s\(index % Self.colours)"
        shape = Shape.allCases[index / Self.colours % Shape.allCases.count]
    }
}
