internal import Manifests

/// JSON that is being written.
indirect enum JSONText: Sendable, Hashable {
    case string(String)
    case boolean(Bool)
    case integer(Int)
    case number(Double)
    case null
    case array([JSONText])
    case members([Member])

    struct Member: Sendable, Hashable {
        let key: String
        let value: JSONText
    }

    static func object(_ fields: [(String, JSONText)]) -> JSONText {
        .members(fields.map { Member(key: $0.0, value: $0.1) })
    }

    /// A part of a YAML document.
    init(_ cursor: Cursor) throws(ManifestProblem) {
        if cursor.isNull {
            self = .null
        } else if let entries = try? cursor.entries() {
            var members: [Member] = []
            for (key, value) in entries { members.append(Member(key: key, value: try JSONText(value))) }
            self = .members(members)
        } else if let elements = try? cursor.elements() {
            var values: [JSONText] = []
            for element in elements { values.append(try JSONText(element)) }
            self = .array(values)
        } else if let value = try? cursor.boolean() {
            self = .boolean(value)
        } else if let value = try? cursor.integer() {
            self = .integer(value)
        } else if let value = try? cursor.number() {
            self = .number(value)
        } else {
            self = .string(try cursor.string())
        }
    }

    /// The text, without white space.
    var text: String {
        switch self {
        case .string(let text): Self.quoted(text)
        case .boolean(let value): value ? "true" : "false"
        case .integer(let value): String(value)
        case .number(let value): "\(value)"
        case .null: "null"
        case .array(let values): "[\(values.map(\.text).joined(separator: ","))]"
        case .members(let members):
            "{\(members.map { "\(Self.quoted($0.key)):\($0.value.text)" }.joined(separator: ","))}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\u{0}"..."\u{1F}":
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
