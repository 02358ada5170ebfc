/// A JSON value whose members keep their order, as the API server's answers have one.
public enum JSON: Sendable, Hashable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A whole number; Kubernetes has no others in the objects served here.
    case int(Int64)
    /// A string.
    case string(String)
    /// An array.
    case array([JSON])
    /// An object.
    case object([Member])

    /// A name and a value.
    public struct Member: Sendable, Hashable {
        /// The name.
        public var name: String
        /// The value.
        public var value: JSON

        /// Puts the two together.
        public init(_ name: String, _ value: JSON) {
            self.name = name
            self.value = value
        }
    }

    /// The value of a member; setting `nil` removes it. A new one goes to the end. Anything but an object has no members.
    public subscript(name: String) -> JSON? {
        get {
            guard case .object(let members) = self else { return nil }
            return members.first { $0.name == name }?.value
        }
        set {
            guard case .object(var members) = self else { return }
            let index = members.firstIndex { $0.name == name }
            switch (index, newValue) {
            case (let index?, let value?): members[index].value = value
            case (let index?, nil): members.remove(at: index)
            case (nil, let value?): members.append(Member(name, value))
            case (nil, nil): return
            }
            self = .object(members)
        }
    }

    /// What `path` leads to, member by member.
    public subscript(path path: String...) -> JSON? {
        path.reduce(self) { value, name in value?[name] }
    }

    /// The string, if it is one.
    public var text: String? {
        guard case .string(let text) = self else { return nil }
        return text
    }

    /// The number, if it is one.
    public var number: Int64? {
        guard case .int(let number) = self else { return nil }
        return number
    }

    /// The members, if it is an object.
    public var members: [Member] {
        guard case .object(let members) = self else { return [] }
        return members
    }

    /// The elements, if it is an array.
    public var elements: [JSON] {
        guard case .array(let elements) = self else { return [] }
        return elements
    }

    /// An object of these members, without those that are `nil`.
    static func compact(_ members: KeyValuePairs<String, JSON?>) -> JSON {
        .object(members.compactMap { name, value in value.map { Member(name, $0) } })
    }

    /// An array of strings, or `nil` for an empty one: the API leaves those out.
    static func strings(_ texts: [String]) -> JSON? { texts.isEmpty ? nil : .array(texts.map { .string($0) }) }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    /// A string.
    public init(stringLiteral value: String) { self = .string(value) }
    /// A number.
    public init(integerLiteral value: Int64) { self = .int(value) }
    /// A Boolean.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// An array.
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    /// An object.
    public init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(elements.map { Member($0.0, $0.1) })
    }
}

// MARK: Text

extension JSON {
    /// The value as Go's encoder writes it: without spaces, `<`, `>` and `&` escaped.
    public var bytes: [UInt8] {
        var output: [UInt8] = []
        write(to: &output)
        return output
    }

    private func write(to output: inout [UInt8]) {
        switch self {
        case .null: output += "null".utf8
        case .bool(let value): output += (value ? "true" : "false").utf8
        case .int(let value): output += String(value).utf8
        case .string(let value): Self.write(value, to: &output)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                element.write(to: &output)
            }
            output.append(UInt8(ascii: "]"))
        case .object(let members):
            output.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                Self.write(member.name, to: &output)
                output.append(UInt8(ascii: ":"))
                member.value.write(to: &output)
            }
            output.append(UInt8(ascii: "}"))
        }
    }

    private static func write(_ text: String, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): output += [UInt8(ascii: "\\"), byte]
            case 0x0A: output += "\\n".utf8
            case 0x0D: output += "\\r".utf8
            case 0x09: output += "\\t".utf8
            case 0..<0x20, UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "&"):
                let digits = String(byte, radix: 16)
                output += "\\u00\(digits.utf8.count == 1 ? "0" : "")\(digits)".utf8
            default: output.append(byte)
            }
        }
        output.append(UInt8(ascii: "\""))
    }

    /// Reads what an encoder wrote: the recordings, and what clients send. Escapes outside the basic plane and fractions
    /// do not occur in either.
    public init(parsing bytes: some Sequence<UInt8>) throws {
        var parser = JSONParser(bytes: Array(bytes))
        self = try parser.document()
    }
}

/// Text that is no JSON, or more than the parser knows.
public struct JSONError: Error, CustomStringConvertible {
    /// What is wrong, and at which byte.
    public let description: String
}

private struct JSONParser {
    let bytes: [UInt8]
    var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws -> JSON {
        let value = try value()
        skipSpace()
        guard position == bytes.count else { throw error("something follows the value") }
        return value
    }

    private func error(_ text: String) -> JSONError { JSONError(description: "\(text), byte \(position)") }

    private mutating func skipSpace() {
        while position < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[position]) { position += 1 }
    }

    private mutating func next() throws -> UInt8 {
        guard position < bytes.count else { throw error("the text ends early") }
        position += 1
        return bytes[position - 1]
    }

    /// Takes the character if it is the next one.
    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws {
        guard take(character) else { throw error("\(character) is missing") }
    }

    private mutating func value() throws -> JSON {
        skipSpace()
        guard position < bytes.count else { throw error("a value is missing") }
        switch bytes[position] {
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func word(_ word: String, _ value: JSON) throws -> JSON {
        guard bytes[position...].starts(with: word.utf8) else { throw error("no JSON value") }
        position += word.utf8.count
        return value
    }

    private mutating func number() throws -> JSON {
        let start = position
        while position < bytes.count, bytes[position] == 0x2D || (0x30...0x39).contains(bytes[position]) {
            position += 1
        }
        guard let value = Int64(String(decoding: bytes[start..<position], as: UTF8.self)) else {
            throw error("no whole number")
        }
        return .int(value)
    }

    private mutating func array() throws -> JSON {
        try expect("[")
        var elements: [JSON] = []
        guard !take("]") else { return .array([]) }
        repeat { elements.append(try value()) } while take(",")
        try expect("]")
        return .array(elements)
    }

    private mutating func object() throws -> JSON {
        try expect("{")
        var members: [JSON.Member] = []
        guard !take("}") else { return .object([]) }
        repeat {
            skipSpace()
            let name = try string()
            try expect(":")
            members.append(JSON.Member(name, try value()))
        } while take(",")
        try expect("}")
        return .object(members)
    }

    private mutating func string() throws -> String {
        try expect("\"")
        var text: [UInt8] = []
        while true {
            let byte = try next()
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"): text += try escape()
            default: text.append(byte)
            }
        }
    }

    private mutating func escape() throws -> [UInt8] {
        switch try next() {
        case UInt8(ascii: "n"): return [0x0A]
        case UInt8(ascii: "r"): return [0x0D]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "u"):
            let digits = String(decoding: try (0..<4).map { _ in try next() }, as: UTF8.self)
            guard let code = UInt32(digits, radix: 16), let scalar = Unicode.Scalar(code) else {
                throw error("no character: \\u\(digits)")
            }
            return Array(String(Character(scalar)).utf8)
        case let other: return [other]
        }
    }
}
