/// Reads JSON (RFC 8259) that is all in memory, value by value, in the order it is written.
///
/// A container is entered, then its keys or elements are asked for until there are none; each value has to be read or
/// skipped before the next. `null` stands for an absent value everywhere, as in Kubernetes.
struct JSONReader: ~Escapable {
    /// A key as it is written between its quotes.
    struct Key {
        let start: Int
        let end: Int
        let hasEscapes: Bool
    }

    let bytes: RawSpan
    private(set) var offset = 0
    private var depth = 0
    /// A container was entered, and nothing of it read.
    private var isFresh = false

    @_lifetime(copy bytes)
    init(_ bytes: RawSpan) { self.bytes = bytes }

    /// Reads what is in these of the bytes; offsets count from the first of all of them.
    @_lifetime(copy bytes)
    init(_ bytes: RawSpan, _ range: Range<Int>) {
        self.bytes = bytes.extracting(0..<range.upperBound)
        offset = range.lowerBound
    }

    // MARK: Containers

    /// Enters an object; `false` if there is `null` instead.
    mutating func enterObject() throws(Fault) -> Bool { try enter(UInt8(ascii: "{"), "an object") }

    /// Enters a list; `false` if there is `null` instead.
    mutating func enterArray() throws(Fault) -> Bool { try enter(UInt8(ascii: "["), "a list") }

    /// The next key of the object that was entered last; `nil` at its end, which leaves it.
    mutating func nextKey() throws(Fault) -> Key? {
        guard try advance(to: UInt8(ascii: "}")) else { return nil }
        guard try next() == UInt8(ascii: "\"") else { throw .malformed("expected a key", at: offset) }
        let key = try stringBody()
        guard try next() == UInt8(ascii: ":") else { throw .malformed("expected a colon", at: offset) }
        offset += 1
        return key
    }

    /// Whether the list that was entered last has another element; at its end it is left.
    mutating func nextElement() throws(Fault) -> Bool { try advance(to: UInt8(ascii: "]")) }

    /// Checks that nothing follows.
    mutating func finish() throws(Fault) {
        skipSpace()
        guard offset == bytes.byteCount else { throw .malformed("something follows the object", at: offset) }
    }

    private mutating func enter(_ bracket: UInt8, _ name: StaticString) throws(Fault) -> Bool {
        guard try next() == bracket else {
            guard try isNull() else { throw .malformed("expected \(name)", at: offset) }
            return false
        }
        guard depth < JSONBoundary.maximumDepth else {
            throw .malformed("nested deeper than \(JSONBoundary.maximumDepth) levels", at: offset)
        }
        offset += 1
        depth += 1
        isFresh = true
        return true
    }

    private mutating func advance(to end: UInt8) throws(Fault) -> Bool {
        let byte = try next()
        if byte == end {
            offset += 1
            depth -= 1
            isFresh = false
            return false
        }
        if isFresh {
            isFresh = false
            return true
        }
        guard byte == UInt8(ascii: ",") else { throw .malformed("expected a comma", at: offset) }
        offset += 1
        return true
    }

    // MARK: Values

    /// Text; `nil` for `null`.
    mutating func string() throws(Fault) -> String? {
        guard let body = try body() else { return nil }
        guard body.hasEscapes else { return bytes.extracting(body.start..<body.end).text }
        let plain = try unescaped(body)
        return plain.span.bytes.text
    }

    /// Text that is likely to come again; `nil` for `null`.
    mutating func string(_ table: inout StringTable) throws(Fault) -> String? {
        guard let body = try body() else { return nil }
        guard body.hasEscapes else { return table.text(bytes.extracting(body.start..<body.end)) }
        let plain = try unescaped(body)
        return table.text(plain.span.bytes)
    }

    /// An integer that fits into 32 bits, as all that are read here are; `nil` for `null`.
    mutating func integer() throws(Fault) -> Int? {
        let first = try next()
        let start = offset
        let isNegative = first == UInt8(ascii: "-")
        if isNegative { offset += 1 }
        let digits = offset
        var value = 0
        while offset < bytes.byteCount, case let digit = bytes[offset], (0x30...0x39).contains(digit) {
            guard offset - digits < 10 else { throw .malformed("the number is out of range", at: start) }
            value = value * 10 + Int(digit - 0x30)
            offset += 1
        }
        guard offset > digits else {
            offset = start
            guard try isNull() else { throw .malformed("expected an integer", at: start) }
            return nil
        }
        guard offset == digits + 1 || bytes[digits] != 0x30, isAtEndOfValue else {
            throw .malformed("expected an integer", at: start)
        }
        if isNegative { value = -value }
        guard Int32(exactly: value) != nil else { throw .malformed("the number is out of range", at: start) }
        return value
    }

    /// A truth value; `nil` for `null`.
    mutating func boolean() throws(Fault) -> Bool? {
        _ = try next()
        if literal("true") { return true }
        if literal("false") { return false }
        guard try isNull() else { throw .malformed("expected true or false", at: offset) }
        return nil
    }

    /// Passes over a value of any type, and answers which bytes it has.
    @discardableResult
    mutating func skip() throws(Fault) -> Range<Int> {
        _ = try next()
        let start = offset
        var boundary = JSONBoundary()
        guard let end = try boundary.scan(bytes, from: offset) else {
            throw Fault(cause: .cutShort, offset: bytes.byteCount)
        }
        offset = end
        return start..<end
    }

    // MARK: Keys

    /// Whether a key reads so.
    func isKey(_ key: Key, _ name: StaticString) -> Bool {
        guard key.hasEscapes else { return bytes.extracting(key.start..<key.end).equals(name) }
        return lookUp(key) { $0.equals(name) ? true : nil } ?? false
    }

    /// What is found for a key.
    func lookUp<Found>(_ key: Key, _ find: (RawSpan) -> Found?) -> Found? {
        guard key.hasEscapes else { return find(bytes.extracting(key.start..<key.end)) }
        guard let plain = try? unescaped(key) else { return nil }
        return find(plain.span.bytes)
    }

    // MARK: Tokens

    private mutating func skipSpace() {
        while offset < bytes.byteCount, bytes[offset].isJSONSpace { offset += 1 }
    }

    /// The first byte of what comes next.
    private mutating func next() throws(Fault) -> UInt8 {
        skipSpace()
        guard offset < bytes.byteCount else { throw Fault(cause: .cutShort, offset: offset) }
        return bytes[offset]
    }

    private mutating func isNull() throws(Fault) -> Bool {
        _ = try next()
        return literal("null")
    }

    private mutating func literal(_ text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        guard offset + count <= bytes.byteCount, bytes.extracting(offset..<offset + count).equals(text) else {
            return false
        }
        offset += count
        guard isAtEndOfValue else {
            offset -= count
            return false
        }
        return true
    }

    private var isAtEndOfValue: Bool {
        guard offset < bytes.byteCount else { return true }
        switch bytes[offset] {
        case UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}"): return true
        case let byte: return byte.isJSONSpace
        }
    }

    private mutating func body() throws(Fault) -> Key? {
        guard try next() == UInt8(ascii: "\"") else {
            guard try isNull() else { throw .malformed("expected a string", at: offset) }
            return nil
        }
        return try stringBody()
    }

    /// Reads from the opening quote to behind the closing one.
    private mutating func stringBody() throws(Fault) -> Key {
        let start = offset + 1
        var hasEscapes = false
        offset = bytes.endOfPlainRun(from: start)
        while offset < bytes.byteCount {
            let byte = bytes.byte(checked: offset)
            if byte == UInt8(ascii: "\"") {
                offset += 1
                return Key(start: start, end: offset - 1, hasEscapes: hasEscapes)
            }
            guard byte >= 0x20 else { throw .malformed("a control character in a string", at: offset) }
            if byte == UInt8(ascii: "\\") {
                hasEscapes = true
                offset += 1
            }
            offset += 1
        }
        throw Fault(cause: .cutShort, offset: bytes.byteCount)
    }

    private func unescaped(_ key: Key) throws(Fault) -> [UInt8] {
        var plain: [UInt8] = []
        plain.reserveCapacity(key.end - key.start)
        var offset = key.start
        while offset < key.end {
            let byte = bytes[offset]
            guard byte == UInt8(ascii: "\\") else {
                plain.append(byte)
                offset += 1
                continue
            }
            // A body never ends in a lone backslash.
            let escape = bytes[offset + 1]
            offset += 2
            switch escape {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): plain.append(escape)
            case UInt8(ascii: "b"): plain.append(0x08)
            case UInt8(ascii: "f"): plain.append(0x0C)
            case UInt8(ascii: "n"): plain.append(0x0A)
            case UInt8(ascii: "r"): plain.append(0x0D)
            case UInt8(ascii: "t"): plain.append(0x09)
            case UInt8(ascii: "u"):
                let scalar = try unicodeEscape(&offset, key.end)
                plain.append(contentsOf: UTF8.encode(scalar).map(Array.init) ?? [])
            default: throw .malformed("an unknown escape in a string", at: offset - 2)
            }
        }
        return plain
    }

    /// The scalar of `\uXXXX` (the offset is behind the `u`), or of two that are a surrogate pair. Half a pair is
    /// U+FFFD, as Go has it.
    private func unicodeEscape(_ offset: inout Int, _ end: Int) throws(Fault) -> Unicode.Scalar {
        let first = try hexadecimal(&offset, end)
        if let scalar = Unicode.Scalar(first) { return scalar }
        var next = offset
        guard first < 0xDC00, next + 6 <= end, bytes[next] == UInt8(ascii: "\\"), bytes[next + 1] == UInt8(ascii: "u")
        else { return "\u{FFFD}" }
        next += 2
        let second = try hexadecimal(&next, end)
        guard (0xDC00...0xDFFF).contains(second) else { return "\u{FFFD}" }
        offset = next
        return Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)) ?? "\u{FFFD}"
    }

    private func hexadecimal(_ offset: inout Int, _ end: Int) throws(Fault) -> UInt32 {
        guard offset + 4 <= end else { throw .malformed("\\u needs four hexadecimal digits", at: offset) }
        var value: UInt32 = 0
        for _ in 0..<4 {
            let digit: UInt8
            switch bytes[offset] {
            case let byte where (0x30...0x39).contains(byte): digit = byte - 0x30
            case let byte where (0x41...0x46).contains(byte): digit = byte - 0x41 + 10
            case let byte where (0x61...0x66).contains(byte): digit = byte - 0x61 + 10
            default: throw .malformed("\\u needs four hexadecimal digits", at: offset)
            }
            value = value << 4 | UInt32(digit)
            offset += 1
        }
        return value
    }
}

extension UInt8 {
    /// White space between JSON tokens.
    var isJSONSpace: Bool { self == 0x20 || self == 0x0A || self == 0x0D || self == 0x09 }
}
