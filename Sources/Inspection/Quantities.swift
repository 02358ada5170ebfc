internal import FoundationEssentials

/// Numbers as people read them.
enum Quantity {
    /// `12.50`.
    static func fixed(_ value: Double, digits: Int) -> String {
        let scale = (0..<digits).reduce(1.0) { product, _ in product * 10 }
        let rounded = (value.magnitude * scale).rounded()
        guard rounded < 1e15 else { return "\(value)" }
        let whole = String(Int(rounded))
        let sign = value < 0 && rounded > 0 ? "-" : ""
        guard digits > 0 else { return sign + whole }
        let padded = String(repeating: "0", count: max(0, digits + 1 - whole.count)) + whole
        return "\(sign)\(padded.dropLast(digits)).\(padded.suffix(digits))"
    }

    /// `33.33%`.
    static func percent(_ value: Double) -> String { fixed(value, digits: 2) + "%" }

    /// A percentage rounded to four digits, for documents.
    static func percentage(_ part: Int, of whole: Int) -> Double {
        guard whole > 0 else { return 0 }
        return (Double(part) / Double(whole) * 1_000_000).rounded() / 10_000
    }

    /// Rounded to four digits, for documents.
    static func rounded(_ value: Double) -> Double { (value * 10_000).rounded() / 10_000 }

    /// `1.2 MiB`.
    static func bytes(_ count: UInt64) -> String {
        guard count >= 1024 else { return "\(count) B" }
        var value = Double(count)
        var unit = "B"
        for larger in ["KiB", "MiB", "GiB", "TiB"] where value >= 1024 {
            value /= 1024
            unit = larger
        }
        return "\(fixed(value, digits: 1)) \(unit)"
    }

    /// `45s`, `3m20s`, `2h5m`, `4d3h`: the two largest units.
    static func duration(_ seconds: Int) -> String {
        let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)]
        var rest = max(0, seconds)
        guard let first = units.firstIndex(where: { rest >= $0.1 }) else { return "0s" }
        var text = ""
        for (name, size) in units[first...].prefix(2) {
            if rest / size > 0 { text += "\(rest / size)\(name)" }
            rest %= size
        }
        return text
    }

    /// `1 flow`, `2 flows`.
    static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
}

/// A moment as the agent records it, in nanoseconds of CLOCK_REALTIME.
struct Moment {
    let nanoseconds: UInt64

    /// `nil` for 0, which is no moment.
    init?(_ nanoseconds: UInt64) {
        guard nanoseconds > 0 else { return nil }
        self.nanoseconds = nanoseconds
    }

    /// `2026-01-31T12:00:00Z`.
    var text: String {
        Date(timeIntervalSince1970: Double(nanoseconds / 1_000_000_000)).formatted(.iso8601)
    }

    /// Whole seconds from then to now; 0 for a moment to come.
    var age: Int { max(0, Int(Date().timeIntervalSince1970 - Double(nanoseconds) / 1e9)) }
}
