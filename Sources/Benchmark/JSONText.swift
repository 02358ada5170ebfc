/// A JSON document to be written; members stay in their order.
enum JSONText {
    case null
    case bool(Bool)
    case string(String)
    case integer(Int)
    /// Written with two decimals; JSON has no infinities, which become `null`.
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
        case .number(let value): return value.isFinite ? Decimal.text(value, places: 2) : "null"
        case .array(let elements):
            return Self.list("[", elements.map { $0.text(depth: depth - 1, indent: indent + 2) }, "]", depth, indent)
        case .object(let members):
            let parts = members.map { "\(Self.quoted($0)): \($1.text(depth: depth - 1, indent: indent + 2))" }
            return Self.list("{", parts, "}", depth, indent)
        }
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

extension Machine {
    var json: JSONText {
        .object([
            ("kernel", .string(kernel)), ("processor", .string(processor)), ("cores", .integer(cores)),
            ("date", .string(date)),
        ])
    }
}
