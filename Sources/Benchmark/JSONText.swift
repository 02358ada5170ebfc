/// A JSON document to be written; members stay in their order.
enum JSONText {
    case null
    case bool(Bool)
    case string(String)
    case integer(Int)
    /// Written so that the same number is read back; JSON has no infinities, which become `null`.
    case number(Double)
    case array([JSONText])
    case object([(String, JSONText)])

    /// `nil` becomes `null`.
    static func optional<T>(_ value: T?, _ wrap: (T) -> JSONText) -> JSONText { value.map(wrap) ?? .null }

    /// The text, one member or element in a line down to `depth` levels.
    func text(depth: Int, indent: Int = 0) -> String {
        switch self {
        case .null: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .string(let value): return Self.quoted(value)
        case .integer(let value): return "\(value)"
        case .number(let value): return Self.shortest(value)
        case .array(let elements):
            return Self.list("[", elements.map { $0.text(depth: depth - 1, indent: indent + 2) }, "]", depth, indent)
        case .object(let members):
            let parts = members.map { "\(Self.quoted($0)): \($1.text(depth: depth - 1, indent: indent + 2))" }
            return Self.list("{", parts, "}", depth, indent)
        }
    }

    private static func shortest(_ value: Double) -> String {
        guard value.isFinite else { return "null" }
        return Int(exactly: value).map { "\($0)" } ?? "\(value)"
    }

    private static func list(_ open: String, _ parts: [String], _ close: String, _ depth: Int, _ indent: Int) -> String
    {
        guard depth > 0, !parts.isEmpty else { return open + parts.joined(separator: ", ") + close }
        let margin = String(repeating: " ", count: indent)
        return open + "\n" + parts.map { "\(margin)  \($0)" }.joined(separator: ",\n") + "\n\(margin)\(close)"
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case ..<" ":
                let code = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - code.count) + code
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

/// Decimal fractions.
enum Decimal {
    /// With three significant digits, or as many as there are before the point, in groups of three: `0.012`, `3.14`,
    /// `15,230`.
    static func significant(_ value: Double) -> String {
        let places =
            switch value.magnitude {
            case 99.95...: 0
            case 9.995...: 1
            case 0.9995...: 2
            default: 3
            }
        return grouped(text(value, places: places))
    }

    /// With commas between groups of three digits before the point.
    static func grouped(_ number: String) -> String {
        guard let first = number.firstIndex(where: \.isWholeNumber) else { return number }
        let end = number[first...].firstIndex { !$0.isWholeNumber } ?? number.endIndex
        let digits = Array(number[first..<end])
        var result = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { result.append(",") }
            result.append(digit)
        }
        return number[..<first] + result + number[end...]
    }

    /// Rounded to so many places; values beyond 9 × 10^15 are written as they are.
    static func text(_ value: Double, places: Int) -> String {
        var unit = 1.0
        for _ in 0..<places { unit *= 10 }
        let scaled = (value * unit).rounded()
        guard places > 0, scaled.magnitude < 9e15 else {
            return "\(scaled.magnitude < 9e15 ? "\(Int(scaled))" : "\(value)")"
        }
        let digits = "\(Int(scaled.magnitude))"
        let padded = String(repeating: "0", count: max(0, places + 1 - digits.count)) + digits
        return "\(scaled < 0 ? "-" : "")\(padded.dropLast(places)).\(padded.suffix(places))"
    }
}
