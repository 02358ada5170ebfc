/// Which objects of a collection a request is about: label and field selectors as far as service proxies use them.
struct Selector: Sendable, Hashable {
    private enum Condition: Sendable, Hashable {
        case exists(String)
        case isMissing(String)
        case equals(String, String)
        case differs(String, String)
    }

    private var labels: [Condition] = []
    private var fields: [Condition] = []

    init() {}

    /// Parses the two query parameters; throws what is wrong as the API server's message.
    init(labels: String, fields: String, of resource: Resource) throws(SelectorError) {
        self.labels = try Self.parse(labels)
        self.fields = try Self.parse(fields)
        for condition in self.fields {
            switch condition {
            case .equals(let path, _), .differs(let path, _):
                guard Self.fieldPaths(of: resource).contains(path) else {
                    throw SelectorError(description: "field label not supported: \(path)")
                }
            case .exists(let text), .isMissing(let text):
                throw SelectorError(
                    description: "invalid selector: '\(text)'; can't understand '\(text)'")
            }
        }
    }

    private static func fieldPaths(of resource: Resource) -> Set<String> {
        switch resource {
        case .services: ["metadata.name", "metadata.namespace", "spec.clusterIP", "spec.type"]
        case .endpointSlices: ["metadata.name", "metadata.namespace"]
        case .nodes: ["metadata.name", "spec.unschedulable"]
        case .serviceCIDRs: ["metadata.name"]
        }
    }

    private static func parse(_ text: String) throws(SelectorError) -> [Condition] {
        var conditions: [Condition] = []
        for part in text.split(separator: ",") {
            if let range = part.firstRange(of: "!=") {
                conditions.append(.differs(String(part[..<range.lowerBound]), String(part[range.upperBound...])))
            } else if let range = part.firstRange(of: "==") ?? part.firstRange(of: "=") {
                conditions.append(.equals(String(part[..<range.lowerBound]), String(part[range.upperBound...])))
            } else if part.hasPrefix("!") {
                conditions.append(.isMissing(String(part.dropFirst())))
            } else if part.contains(" ") {
                throw SelectorError(description: "unable to parse requirement: \(part)")
            } else {
                conditions.append(.exists(String(part)))
            }
        }
        return conditions
    }

    func matches(_ object: StoredObject) -> Bool {
        labels.allSatisfy { condition in
            switch condition {
            case .exists(let key): object.label(key) != nil
            case .isMissing(let key): object.label(key) == nil
            case .equals(let key, let value): object.label(key) == value
            case .differs(let key, let value): object.label(key) != value
            }
        }
            && fields.allSatisfy { condition in
                switch condition {
                case .equals(let path, let value): object.field(path) == value
                case .differs(let path, let value): object.field(path) != value
                case .exists, .isMissing: false
                }
            }
    }
}

struct SelectorError: Error, CustomStringConvertible {
    let description: String
}
