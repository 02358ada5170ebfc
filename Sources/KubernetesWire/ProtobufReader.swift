/// Reads the fields of a protobuf message that is all in memory, in the order they are written.
struct ProtobufReader: ~Escapable {
    /// What stands before a field's value.
    struct Header {
        /// The field's number.
        let field: Int
        /// Whether the value is bytes (text, or a message).
        let isBytes: Bool
        /// How many bytes the header has.
        let size: Int
        /// How many bytes the value has.
        let valueSize: Int
    }

    private let bytes: RawSpan
    private(set) var offset: Int
    private let end: Int
    private var value = 0..<0
    /// Where the field that was read last is, its header included.
    private(set) var extent = 0..<0
    private var isBytes = false

    /// The number of the field that was read last.
    private(set) var field = 0

    /// Reads the message that is in these of the bytes.
    @_lifetime(copy bytes)
    init(_ bytes: RawSpan, _ range: Range<Int>) {
        self.bytes = bytes
        offset = range.lowerBound
        end = range.upperBound
    }

    /// Goes to the next field; `false` when there is none.
    mutating func next() throws(Fault) -> Bool {
        guard offset < end else { return false }
        guard let header = try Self.header(bytes, at: offset, end: end) else {
            throw .malformed("a message ends inside a field", at: offset)
        }
        guard header.valueSize <= end - offset - header.size else {
            throw .malformed("field \(header.field) reaches beyond its message", at: offset)
        }
        field = header.field
        isBytes = header.isBytes
        value = offset + header.size..<offset + header.size + header.valueSize
        extent = offset..<value.upperBound
        offset = value.upperBound
        return true
    }

    /// How many times a field comes from here on.
    func count(ofField wanted: Int) throws(Fault) -> Int {
        var ahead = self
        var count = 0
        while try ahead.next() {
            if ahead.field == wanted { count += 1 }
        }
        return count
    }

    /// The bytes of the field's value.
    func range() throws(Fault) -> Range<Int> {
        guard isBytes else {
            throw .malformed("field \(field) is a number, and should be bytes", at: extent.lowerBound)
        }
        return value
    }

    /// The field's value as a message.
    @_lifetime(copy self)
    func message() throws(Fault) -> ProtobufReader { ProtobufReader(bytes, try range()) }

    /// The field's value as text.
    func string() throws(Fault) -> String { bytes.extracting(try range()).text }

    /// The field's value as text that is likely to come again.
    func string(_ table: inout StringTable) throws(Fault) -> String { table.text(bytes.extracting(try range())) }

    /// What is found for the field's value as text.
    func lookUp<Found>(_ find: (RawSpan) -> Found?) throws(Fault) -> Found? { find(bytes.extracting(try range())) }

    /// The field's value as a number.
    func integer64() throws(Fault) -> Int64 {
        guard !isBytes, let number = try Self.varint(bytes, at: value.lowerBound, end: value.upperBound),
            number.size == value.count
        else { throw .malformed("field \(field) should be a number", at: extent.lowerBound) }
        return Int64(bitPattern: number.value)
    }

    /// The field's value as an `int32`, of which only the low bits count.
    func integer() throws(Fault) -> Int { Int(Int32(truncatingIfNeeded: try integer64())) }

    /// The field's value as a truth value.
    func boolean() throws(Fault) -> Bool { try integer64() != 0 }

    /// The header of a field; `nil` if the bytes end before the header does, or before a number's value does.
    static func header(_ bytes: RawSpan, at offset: Int, end: Int) throws(Fault) -> Header? {
        guard let tag = try varint(bytes, at: offset, end: end) else { return nil }
        guard case let field = tag.value >> 3, (1...536_870_911).contains(field) else {
            throw .malformed("no field has the number \(tag.value >> 3)", at: offset)
        }
        let after = offset + tag.size
        switch tag.value & 7 {
        case 0:
            guard let number = try varint(bytes, at: after, end: end) else { return nil }
            return Header(field: Int(field), isBytes: false, size: tag.size, valueSize: number.size)
        case 1: return Header(field: Int(field), isBytes: false, size: tag.size, valueSize: 8)
        case 2:
            guard let length = try varint(bytes, at: after, end: end) else { return nil }
            guard length.value <= Int32.max else { throw .malformed("\(length.value) bytes in a field", at: after) }
            return Header(
                field: Int(field), isBytes: true, size: tag.size + length.size, valueSize: Int(length.value))
        case 5: return Header(field: Int(field), isBytes: false, size: tag.size, valueSize: 4)
        default: throw .malformed("field \(field) is of wire type \(tag.value & 7), which is not used", at: offset)
        }
    }

    private static func varint(
        _ bytes: RawSpan, at offset: Int, end: Int
    ) throws(Fault) -> (value: UInt64, size: Int)? {
        var value: UInt64 = 0
        var size = 0
        while offset + size < end {
            let byte = bytes[offset + size]
            guard size < 9 || (size == 9 && byte <= 1) else {
                throw .malformed("a number of more than 64 bits", at: offset)
            }
            value |= UInt64(byte & 0x7F) << UInt64(7 * size)
            size += 1
            if byte & 0x80 == 0 { return (value, size) }
        }
        return nil
    }
}
