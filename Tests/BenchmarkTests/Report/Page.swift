/// A page taken apart as far as tests need: its tags must nest, and texts of pictures have places.
struct Page {
    struct Label {
        let text: String
        let left: Double
        let right: Double
        let baseline: Double
        let picture: Int
    }

    private(set) var problems: [String] = []
    private(set) var labels: [Label] = []
    /// Width and height of each picture.
    private(set) var pictures: [(width: Double, height: Double)] = []
    /// Names of all elements that occur.
    private(set) var elements: Set<String> = []
    /// Values of all attributes by which a page can load something.
    private(set) var links: [String] = []

    init(_ html: String) throws {
        var open: [String] = []
        for match in html.matches(of: /<(?<end>\/?)(?<name>[a-zA-Z][a-zA-Z0-9]*)(?<rest>[^<>]*)>(?<text>[^<]*)/) {
            let name = String(match.output.name)
            let attributes = Self.attributes(String(match.output.rest))
            elements.insert(name)
            links += ["href", "src", "srcset", "xlink:href", "data", "action"].compactMap { attributes[$0] }
            if match.output.end == "/" {
                if open.popLast() != name { problems.append("</\(name)> closes what is not open") }
                continue
            }
            if name == "svg" { picture(attributes) }
            if name == "text" { label(attributes, String(match.output.text)) }
            if !match.output.rest.hasSuffix("/"), name != "meta" { open.append(name) }
        }
        if !open.isEmpty { problems.append("left open: \(open)") }
        // Anything else in angle brackets would be text that was not escaped.
        let tags = html.count { $0 == "<" }
        let known = html.matches(of: /<\/?[a-zA-Z][a-zA-Z0-9]*[^<>]*>/).count + 1
        if tags != known { problems.append("\(tags) < for \(known) tags") }
        for (index, a) in labels.enumerated() {
            for b in labels[(index + 1)...] where a.picture == b.picture && Self.overlap(a, b) {
                problems.append("\"\(a.text)\" and \"\(b.text)\" overlap in picture \(a.picture)")
            }
        }
    }

    private static func overlap(_ a: Label, _ b: Label) -> Bool {
        abs(a.baseline - b.baseline) < 11 && a.left < b.right - 0.2 && b.left < a.right - 0.2
    }

    private static func attributes(_ text: String) -> [String: String] {
        Dictionary(
            text.matches(of: /([a-zA-Z:\-]+)="([^"]*)"/).map { (String($0.output.1), String($0.output.2)) },
            uniquingKeysWith: { first, _ in first })
    }

    private mutating func picture(_ attributes: [String: String]) {
        let box = (attributes["viewBox"] ?? "").split(separator: " ").compactMap { Double($0) }
        if box.count == 4 {
            pictures.append((box[2], box[3]))
        } else {
            problems.append("a picture has no size")
        }
    }

    private mutating func label(_ attributes: [String: String], _ text: String) {
        guard let x = Double(attributes["x"] ?? ""), let y = Double(attributes["y"] ?? ""), let size = pictures.last
        else {
            problems.append("\"\(text)\" has no place")
            return
        }
        // References such as &amp; are one character.
        let width = Double(text.replacing(/&[a-z0-9#]+;/, with: "&").count) * 12 * 0.55
        let left =
            switch attributes["text-anchor"] {
            case "middle": x - width / 2
            case "end": x - width
            default: x
            }
        if left < -1 || left + width > size.width + 1 || y > size.height || y < 8 {
            problems.append("\"\(text)\" leaves picture \(pictures.count)")
        }
        labels.append(Label(text: text, left: left, right: left + width, baseline: y, picture: pictures.count))
    }
}
