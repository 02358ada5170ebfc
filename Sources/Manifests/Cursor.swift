internal import Yams

/// A place in a YAML document that knows its path. Reads typed values and says what it expected where it finds others.
///
/// Scalars are told apart here, not by Yams: its resolver runs regular expressions over every one of them. The rules
/// are those of the YAML 1.1 core types as Kubernetes tools apply them.
package struct Cursor {
    let node: Node
    package let path: String
    package let file: String

    /// The line of the place, from 1.
    package var line: Int? { node.mark?.line }

    package func problem(_ message: String) -> ManifestProblem {
        ManifestProblem(file: file, line: node.mark?.line, column: node.mark?.column, path: path, message: message)
    }

    /// An absent value: `null`, `~` or nothing at all.
    package var isNull: Bool {
        guard let scalar = node.scalar, scalar.isPlain else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    /// The value of a key; `nil` when the key is absent or its value is null.
    package func field(_ key: String) throws(ManifestProblem) -> Cursor? {
        guard let value = try value(key), !value.isNull else { return nil }
        return value
    }

    /// The value of a key, null or not; `nil` when the key is absent.
    package func value(_ key: String) throws(ManifestProblem) -> Cursor? {
        guard let mapping = node.mapping else { throw problem("expected an object, found \(kind)") }
        var found: Cursor?
        for (name, value) in mapping {
            guard let text = name.scalar?.string else { continue }
            if text == key { found = child(value, key) }
            // Ignoring a merge would silently give another object than the author wrote.
            if text == "<<" { throw child(value, text).problem("merge keys (<<) are not supported") }
        }
        return found
    }

    /// The value of a key that must be there.
    package func required(_ key: String) throws(ManifestProblem) -> Cursor {
        guard let value = try field(key) else {
            throw child(node, key).problem("missing")
        }
        return value
    }

    private func child(_ value: Node, _ key: String) -> Cursor {
        Cursor(node: value, path: path.isEmpty ? key : "\(path).\(key)", file: file)
    }

    /// The elements of a list.
    package func elements() throws(ManifestProblem) -> [Cursor] {
        guard let sequence = node.sequence else { throw problem("expected a list, found \(kind)") }
        return sequence.enumerated().map { Cursor(node: $1, path: "\(path)[\($0)]", file: file) }
    }

    /// The elements of the list under a key; none when it is absent.
    package func elements(_ key: String) throws(ManifestProblem) -> [Cursor] {
        try field(key)?.elements() ?? []
    }

    /// All keys with their values, in the order of the text.
    package func entries() throws(ManifestProblem) -> [(key: String, value: Cursor)] {
        guard let mapping = node.mapping else { throw problem("expected an object, found \(kind)") }
        var entries: [(key: String, value: Cursor)] = []
        for (name, value) in mapping {
            guard let key = name.scalar?.string else { throw problem("expected keys that are text") }
            if key == "<<" { throw child(value, key).problem("merge keys (<<) are not supported") }
            entries.append((key, child(value, key)))
        }
        return entries
    }

    /// Text. Numbers and booleans are not text unless quoted, as for the API server.
    package func string() throws(ManifestProblem) -> String {
        guard let scalar = node.scalar else { throw problem("expected a string, found \(kind)") }
        guard !scalar.isPlain || scalar.isText else {
            throw problem("expected a string, found \(kind) (put it in quotes)")
        }
        return scalar.string
    }

    /// A whole decimal number.
    package func integer() throws(ManifestProblem) -> Int {
        guard let scalar = node.scalar, scalar.isPlain, scalar.isNumber else {
            throw problem("expected an integer, found \(kind)")
        }
        let digits = scalar.string.utf8.drop { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }
        guard digits.allSatisfy({ (0x30...0x39).contains($0) }), digits.count == 1 || digits.first != 0x30 else {
            throw problem("\(scalar.shown): expected a decimal integer")
        }
        guard let value = Int(scalar.string) else { throw problem("\(scalar.shown): out of range") }
        return value
    }

    /// A decimal number, with a fraction or without.
    package func number() throws(ManifestProblem) -> Double {
        guard let scalar = node.scalar, scalar.isPlain, scalar.isNumber, let value = Double(scalar.string),
            value.isFinite
        else { throw problem("expected a number, found \(kind)") }
        return value
    }

    /// A truth value.
    package func boolean() throws(ManifestProblem) -> Bool {
        guard let scalar = node.scalar, scalar.isPlain, let value = scalar.truth else {
            throw problem("expected true or false, found \(kind)")
        }
        return value
    }

    /// What is here, for messages.
    package var kind: String {
        if isNull { return "null" }
        guard let scalar = node.scalar else { return node.mapping == nil ? "a list" : "an object" }
        guard scalar.isPlain else { return "the string \"\(scalar.shown)\"" }
        if scalar.truth != nil { return "the boolean \(scalar.shown)" }
        return scalar.isNumber ? "the number \(scalar.shown)" : "the string \"\(scalar.shown)\""
    }
}

extension Node.Scalar {
    /// Unquoted and without a `!!str` tag: the text decides the type.
    fileprivate var isPlain: Bool { style == .plain && tag.rawValue != "tag:yaml.org,2002:str" }

    fileprivate var isText: Bool {
        !["", "~", "null", "Null", "NULL"].contains(string) && truth == nil && !isNumber
    }

    fileprivate var truth: Bool? {
        switch string {
        case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON": true
        case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF": false
        default: nil
        }
    }

    fileprivate var isNumber: Bool {
        let magnitude = string.utf8.drop { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }
        guard let first = magnitude.first, string.utf8.count - magnitude.count <= 1 else { return false }
        guard (0x30...0x39).contains(first) || first == UInt8(ascii: ".") else { return false }
        if magnitude.allSatisfy({ (0x30...0x39).contains($0) }) { return true }
        return Double(string) != nil
    }

    /// The text, shortened to what a message can bear.
    fileprivate var shown: String {
        let text = string.unicodeScalars.prefix(60).map { $0.properties.generalCategory == .control ? " " : "\($0)" }
        return text.joined() + (string.unicodeScalars.count > 60 ? "..." : "")
    }
}
