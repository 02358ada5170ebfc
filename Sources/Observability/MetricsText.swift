/// Prometheus' text exposition format 0.0.4: metrics by name, series by the values of their labels, as Go's client
/// writes them.
public struct MetricsText: Sendable {
    /// The media type of the format.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// What a series is worth.
    public enum Value: Sendable, Hashable {
        /// A whole number, written in full.
        case count(UInt64)
        /// Any number.
        case number(Double)
        /// A histogram.
        case histogram(HistogramValue)
    }

    /// One series.
    public struct Sample: Sendable, Hashable {
        /// The values of the family's labels, in their order.
        public var labels: [String]
        /// What it is worth.
        public var value: Value

        /// Puts the two together.
        public init(_ labels: [String] = [], _ value: Value) {
            self.labels = labels
            self.value = value
        }
    }

    private var families: [MetricFamily: [Sample]] = [:]

    /// Nothing yet.
    public init() {}

    /// Adds series of a metric. Of two with the same labels the first one stays: Prometheus refuses all of a scrape
    /// that has the same series twice.
    public mutating func add(_ family: MetricFamily, _ samples: [Sample]) {
        families[family, default: []] += samples
    }

    /// Adds the only series of a metric without labels.
    public mutating func add(_ family: MetricFamily, _ value: Value) { add(family, [Sample([], value)]) }

    /// The text. Metrics without a series are left out.
    public func render() -> String {
        var text = ""
        for (family, samples) in families.sorted(by: { $0.key.name < $1.key.name }) where !samples.isEmpty {
            text += "# HELP \(family.name) \(Self.escaped(family.help, quote: false))\n"
            text += "# TYPE \(family.name) \(family.kind.rawValue)\n"
            var written: Set<[String]> = []
            for sample in samples.sorted(by: { $0.labels.lexicographicallyPrecedes($1.labels) })
            where written.insert(sample.labels).inserted {
                Self.write(family, sample, to: &text)
            }
        }
        return text
    }

    private static func write(_ family: MetricFamily, _ sample: Sample, to text: inout String) {
        let labels = zip(family.labels, sample.labels).map { "\($0)=\"\(escaped($1, quote: true))\"" }
            .joined(separator: ",")
        let braced = labels.isEmpty ? "" : "{\(labels)}"
        switch sample.value {
        case .count(let count): text += "\(family.name)\(braced) \(count)\n"
        case .number(let number): text += "\(family.name)\(braced) \(goText(number))\n"
        case .histogram(let histogram):
            let prefix = labels.isEmpty ? "" : labels + ","
            var cumulative: UInt64 = 0
            for (bound, count) in zip(histogram.bounds + [.infinity], histogram.counts) {
                cumulative += count
                text += "\(family.name)_bucket{\(prefix)le=\"\(goText(bound))\"} \(cumulative)\n"
            }
            text += "\(family.name)_sum\(braced) \(goText(histogram.sum))\n"
            text += "\(family.name)_count\(braced) \(cumulative)\n"
        }
    }

    private static func escaped(_ text: String, quote: Bool) -> String {
        guard text.utf8.contains(where: { $0 == 0x5C || $0 == 0x0A || (quote && $0 == 0x22) }) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quote: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// A number as Go's client writes it (`strconv.AppendFloat` with `'g'` and -1): the shortest digits that read back
    /// as the same number, with an exponent of at least two digits below 1e-04 and from 1e+06 on.
    static func goText(_ number: Double) -> String {
        if number.isNaN { return "NaN" }
        if number.isInfinite { return number < 0 ? "-Inf" : "+Inf" }
        if number == 0 { return number.sign == .minus ? "-0" : "0" }
        let (digits, point) = shortestDigits(number.magnitude)
        let sign = number < 0 ? "-" : ""
        let exponent = point - 1
        if exponent < -4 || exponent >= 6 {
            let rest = digits.count > 1 ? "." + digits.dropFirst() : ""
            let magnitude = exponent.magnitude < 10 ? "0\(exponent.magnitude)" : "\(exponent.magnitude)"
            return "\(sign)\(digits.prefix(1))\(rest)e\(exponent < 0 ? "-" : "+")\(magnitude)"
        }
        if point <= 0 { return "\(sign)0.\(String(repeating: "0", count: -point))\(digits)" }
        if digits.count <= point { return "\(sign)\(digits)\(String(repeating: "0", count: point - digits.count))" }
        return "\(sign)\(digits.prefix(point)).\(digits.dropFirst(point))"
    }

    /// The significant digits of a number above zero, and how many of them stand before the decimal point.
    private static func shortestDigits(_ number: Double) -> (digits: String, point: Int) {
        // Swift's description has the shortest digits too, in one of the forms 0.001, 12.5 and 1e-07.
        let parts = number.description.split(separator: "e")
        let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        let whole = String(mantissa[0])
        let fraction = mantissa.count > 1 && mantissa[1] != "0" ? String(mantissa[1]) : ""
        let exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
        let all = whole + fraction
        let leading = all.prefix { $0 == "0" }.count
        var digits = all.dropFirst(leading)
        while digits.last == "0" { digits.removeLast() }
        return (String(digits), whole.count - leading + exponent)
    }
}
