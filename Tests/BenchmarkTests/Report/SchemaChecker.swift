import Foundation

/// Checks documents against the part of JSON Schema (2020-12) that `docs/bench.schema.json` uses. A keyword that it does
/// not know is an error, so that a schema cannot say more than is checked.
struct SchemaChecker {
    private let root: [String: Any]

    /// The schema of a run's documents.
    static let documents = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "docs/bench.schema.json")

    init(contentsOf url: URL) throws {
        let json = try JSONSerialization.jsonObject(with: Data(contentsOf: url))
        root = json as? [String: Any] ?? [:]
    }

    /// What does not conform, each with its place.
    func problems(_ document: String) throws -> [String] {
        let json = try JSONSerialization.jsonObject(with: Data(document.utf8), options: .fragmentsAllowed)
        return check(json, root, "$")
    }

    private func check(_ value: Any, _ schema: [String: Any], _ place: String) -> [String] {
        var problems: [String] = []
        for (keyword, rule) in schema {
            switch keyword {
            case "$schema", "title", "description", "$defs": break
            case "$ref":
                let name = (rule as? String ?? "").split(separator: "/").last.map(String.init) ?? ""
                let definitions = root["$defs"] as? [String: Any] ?? [:]
                guard let target = definitions[name] as? [String: Any] else {
                    problems.append("\(place): no definition \(rule)")
                    continue
                }
                problems += check(value, target, place)
            case "type":
                let types = rule as? [String] ?? [rule as? String ?? ""]
                if !types.contains(where: { Self.has(value, type: $0) }) {
                    problems.append("\(place): \(value) is not \(types)")
                }
            case "const":
                if value as? String != rule as? String { problems.append("\(place): \(value) is not \(rule)") }
            case "enum":
                let choices = rule as? [String] ?? []
                if !choices.contains(value as? String ?? "") {
                    problems.append("\(place): \(value) is not one of \(choices)")
                }
            case "minimum":
                if let number = value as? Double, number < rule as? Double ?? .infinity {
                    problems.append("\(place): \(number) is less than \(rule)")
                }
            case "required":
                guard let object = value as? [String: Any] else { continue }
                for key in rule as? [String] ?? [] where object[key] == nil {
                    problems.append("\(place) has no \(key)")
                }
            case "properties":
                guard let object = value as? [String: Any], let members = rule as? [String: [String: Any]] else {
                    continue
                }
                for (key, member) in object {
                    if let schema = members[key] { problems += check(member, schema, "\(place).\(key)") }
                }
            case "items":
                guard let elements = value as? [Any], let schema = rule as? [String: Any] else { continue }
                for (index, element) in elements.enumerated() {
                    problems += check(element, schema, "\(place)[\(index)]")
                }
            case "minItems", "maxItems":
                guard let count = (value as? [Any])?.count, let limit = rule as? Int else { continue }
                if keyword == "minItems" ? count < limit : count > limit {
                    problems.append("\(place) has \(count) elements")
                }
            case "allOf":
                for schema in rule as? [[String: Any]] ?? [] { problems += check(value, schema, place) }
            case "anyOf":
                let choices = rule as? [[String: Any]] ?? []
                if !choices.contains(where: { check(value, $0, place).isEmpty }) {
                    problems.append("\(place) is none of what it may be")
                }
            default: problems.append("\(place): the checker does not know \(keyword)")
            }
        }
        return problems
    }

    private static func has(_ value: Any, type: String) -> Bool {
        let number = value as? NSNumber
        let isBool = number.map { JSONBool.isBool($0) } ?? false
        return switch type {
        case "object": value is [String: Any]
        case "array": value is [Any]
        case "string": value is String
        case "null": value is NSNull
        case "boolean": isBool
        case "number": number != nil && !isBool
        case "integer": number.map { !isBool && $0.doubleValue == $0.doubleValue.rounded() } ?? false
        default: false
        }
    }
}

/// What JSONSerialization reads `true` as is a number, too.
private enum JSONBool {
    static func isBool(_ number: NSNumber) -> Bool { String(cString: number.objCType) == "c" }
}
