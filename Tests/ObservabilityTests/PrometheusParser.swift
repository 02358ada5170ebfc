/// Reads the text exposition format 0.0.4, and accepts nothing that a scrape would stumble over.
struct PrometheusText {
    struct Family {
        let name: String
        let type: String
        let help: String
        var series: [Series] = []
    }

    struct Series {
        let name: String
        let labels: [String: String]
        let value: Double
    }

    struct Problem: Error, CustomStringConvertible {
        let description: String
    }

    private(set) var families: [Family] = []

    init(_ text: String) throws {
        guard text.isEmpty || text.hasSuffix("\n") else { throw Problem(description: "the last line does not end") }
        var seen: Set<String> = []
        var help: (name: String, text: String)?
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            if line.hasPrefix("# HELP ") {
                let (name, text) = Self.twoWords(line.dropFirst(7))
                guard !families.contains(where: { $0.name == name }) else {
                    throw Problem(description: "twice: \(line)")
                }
                help = (name, text)
            } else if line.hasPrefix("# TYPE ") {
                let (name, type) = Self.twoWords(line.dropFirst(7))
                guard let about = help, about.name == name else { throw Problem(description: "no HELP before \(line)") }
                guard ["counter", "gauge", "histogram"].contains(type) else { throw Problem(description: "\(line)") }
                families.append(Family(name: name, type: type, help: about.text))
                help = nil
            } else {
                let series = try Self.series(String(line))
                let labels = series.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
                guard seen.insert("\(series.name){\(labels.joined(separator: ","))}").inserted else {
                    throw Problem(description: "the same series twice: \(line)")
                }
                try add(series, line)
            }
        }
        for family in families {
            guard !family.series.isEmpty else { throw Problem(description: "no series: \(family.name)") }
            if family.type == "histogram" { try Self.check(family) }
        }
    }

    private mutating func add(_ series: Series, _ line: Substring) throws {
        guard let family = families.last else { throw Problem(description: "no TYPE before \(line)") }
        let names =
            family.type == "histogram" ? ["_bucket", "_sum", "_count"].map { family.name + $0 } : [family.name]
        guard names.contains(series.name) else { throw Problem(description: "not of \(family.name): \(line)") }
        guard family.type != "counter" || series.value >= 0 else { throw Problem(description: "below zero: \(line)") }
        families[families.count - 1].series.append(series)
    }

    /// Buckets ascend, their counts never fall, the last is infinite and equals the count.
    private static func check(_ family: Family) throws {
        var groups: [[String: String]: [Series]] = [:]
        for series in family.series {
            groups[series.labels.filter { $0.key != "le" }, default: []].append(series)
        }
        for (labels, all) in groups {
            let buckets = all.filter { $0.name.hasSuffix("_bucket") }
            let bounds = buckets.compactMap { $0.labels["le"].flatMap(number) }
            let counts = buckets.map(\.value)
            let total = all.filter { $0.name.hasSuffix("_count") }.map(\.value)
            guard bounds.count == buckets.count, bounds == bounds.sorted(), Set(bounds).count == bounds.count,
                bounds.last == .infinity, counts == counts.sorted(), total == [counts.last],
                all.count(where: { $0.name.hasSuffix("_sum") }) == 1
            else { throw Problem(description: "no proper histogram: \(family.name) \(labels)") }
        }
    }

    private static func twoWords(_ text: Substring) -> (String, String) {
        let name = text.prefix { $0 != " " }
        return (String(name), String(text[name.endIndex...].dropFirst()))
    }

    private static func number(_ text: String) -> Double? {
        switch text {
        case "+Inf": .infinity
        case "-Inf": -.infinity
        case "NaN": .nan
        default: text.contains(where: { $0.isLetter && $0 != "e" }) ? nil : Double(text)
        }
    }

    private static func series(_ line: String) throws -> Series {
        let problem = Problem(description: "not a series: \(line)")
        var rest = Substring(line)
        func name() throws -> String {
            let name = rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == ":") }
            guard let first = name.first, !first.isNumber else { throw problem }
            rest = rest[name.endIndex...]
            return String(name)
        }
        func take(_ character: Character) throws {
            guard rest.first == character else { throw problem }
            rest.removeFirst()
        }
        func quoted() throws -> String {
            try take("\"")
            var value = ""
            while let character = rest.popFirst() {
                switch character {
                case "\"": return value
                case "\\":
                    switch rest.popFirst() {
                    case "n": value += "\n"
                    case "\\": value += "\\"
                    case "\"": value += "\""
                    default: throw problem
                    }
                default: value.append(character)
                }
            }
            throw problem
        }
        let metric = try name()
        var labels: [String: String] = [:]
        if rest.first == "{" {
            try take("{")
            while true {
                let label = try name()
                try take("=")
                guard labels.updateValue(try quoted(), forKey: label) == nil else { throw problem }
                if rest.first == "}" { break }
                try take(",")
            }
            try take("}")
        }
        try take(" ")
        guard let value = number(String(rest)) else { throw problem }
        return Series(name: metric, labels: labels, value: value)
    }

    subscript(name: String, labels: [String: String] = [:]) -> Double? {
        for family in families {
            for series in family.series where series.name == name && series.labels == labels { return series.value }
        }
        return nil
    }
}
