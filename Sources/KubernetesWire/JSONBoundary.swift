/// Finds where a JSON value ends, in bytes that may arrive in pieces, without decoding what is in it.
struct JSONBoundary {
    /// Deeper nesting is refused. What a proxy reads is at most twelve levels deep, managed fields included.
    static let maximumDepth = 128

    private(set) var depth = 0
    /// A bit for each open bracket, innermost lowest: set for an object.
    private var open: UInt128 = 0
    private var isInString = false
    private var isEscaped = false
    private var isInLiteral = false

    /// Goes on at an offset and answers where the value ends, or `nil` if it is not all there. The first byte must be
    /// the first of the value.
    mutating func scan(_ bytes: RawSpan, from start: Int) throws(Fault) -> Int? {
        var offset = start
        let end = bytes.byteCount
        while offset < end {
            if isInString {
                guard let after = skipString(bytes, from: offset) else { return nil }
                offset = after
                if depth == 0 { return offset }
                continue
            }
            let byte = bytes.byte(checked: offset)
            switch byte {
            case UInt8(ascii: "\""):
                guard !isInLiteral else { throw .malformed("a string inside a value", at: offset) }
                isInString = true
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                guard !isInLiteral else { throw .malformed("a bracket inside a value", at: offset) }
                guard depth < Self.maximumDepth else {
                    throw .malformed("nested deeper than \(Self.maximumDepth) levels", at: offset)
                }
                depth += 1
                open = open << 1 | (byte == UInt8(ascii: "{") ? 1 : 0)
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if isInLiteral { return offset }
                guard depth > 0, (open & 1 == 1) == (byte == UInt8(ascii: "}")) else {
                    throw .malformed("a closing bracket that was not opened", at: offset)
                }
                depth -= 1
                open >>= 1
                if depth == 0 { return offset + 1 }
            case UInt8(ascii: ","), UInt8(ascii: ":"), 0x20, 0x09, 0x0A, 0x0D:
                if isInLiteral { return offset }
                guard depth > 0 else { throw .malformed("expected a value", at: offset) }
            default:
                if depth == 0 { isInLiteral = true }
            }
            offset += 1
        }
        return nil
    }

    /// The offset behind the closing quote; `nil` if the bytes end before it.
    private mutating func skipString(_ bytes: RawSpan, from start: Int) -> Int? {
        var offset = start
        let end = bytes.byteCount
        if isEscaped, offset < end {
            isEscaped = false
            offset += 1
        }
        offset = bytes.endOfPlainRun(from: offset)
        while offset < end {
            let byte = bytes.byte(checked: offset)
            offset += 1
            if byte == UInt8(ascii: "\"") {
                isInString = false
                return offset
            }
            if byte == UInt8(ascii: "\\") {
                guard offset < end else {
                    isEscaped = true
                    return nil
                }
                offset += 1
            }
        }
        return nil
    }
}
