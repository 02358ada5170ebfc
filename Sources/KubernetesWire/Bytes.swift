extension RawSpan {
    /// The byte at an offset. Traps beyond the end.
    @inline(__always)
    subscript(offset: Int) -> UInt8 { unsafeLoad(fromByteOffset: offset, as: UInt8.self) }

    /// The byte at an offset that the caller has just compared with the end: the innermost loops over all bytes there
    /// are need not check it twice.
    @inline(__always)
    func byte(checked offset: Int) -> UInt8 { unsafeLoad(fromUncheckedByteOffset: offset, as: UInt8.self) }

    /// The first offset from which there may be a byte that means something inside a JSON string: a quote, a backslash
    /// or a control character. Eight bytes at a time, by the usual test for a zero byte in a word.
    @inline(__always)
    func endOfPlainRun(from start: Int) -> Int {
        var offset = start
        while offset + 8 <= byteCount {
            let word = unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
            let quote = word ^ 0x2222_2222_2222_2222
            let backslash = word ^ 0x5C5C_5C5C_5C5C_5C5C
            let special =
                (quote &- 0x0101_0101_0101_0101) & ~quote | (backslash &- 0x0101_0101_0101_0101) & ~backslash
                | (word &- 0x2020_2020_2020_2020) & ~word
            guard special & 0x8080_8080_8080_8080 == 0 else { return offset }
            offset += 8
        }
        return offset
    }

    /// Whether these are the bytes of a text.
    @inline(__always)
    func equals(_ text: StaticString) -> Bool {
        guard byteCount == text.utf8CodeUnitCount else { return false }
        for index in 0..<byteCount where self[index] != text.utf8Start[index] { return false }
        return true
    }

    /// UTF-8 as text; what is not valid is replaced by U+FFFD, so that one bad byte in an annotation loses no object.
    var text: String { withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }
}

/// Bytes that arrive in pieces and are taken from the front.
struct ByteQueue {
    private(set) var storage: [UInt8] = []
    /// Where in the storage the next byte is.
    private(set) var start = 0
    /// How many bytes were taken so far.
    private(set) var taken = 0

    /// Beyond this the memory is given back once it is empty: one huge object must not cost its size for good.
    private static let keptCapacity = 256 << 10

    var count: Int { storage.count - start }
    var isEmpty: Bool { count == 0 }

    /// The byte so many after the next.
    subscript(offset: Int) -> UInt8 { storage[start + offset] }

    mutating func append(_ bytes: RawSpan) {
        if start == storage.count {
            if storage.capacity > Self.keptCapacity { storage = [] } else { storage.removeAll(keepingCapacity: true) }
            start = 0
        } else if start > 0 {
            storage.removeSubrange(..<start)
            start = 0
        }
        bytes.withUnsafeBytes { storage.append(contentsOf: $0) }
    }

    mutating func take(_ count: Int) {
        start += count
        taken += count
    }

    /// Whether there is nothing but white space in a range of the storage.
    func isBlank(_ range: Range<Int>) -> Bool { storage[range].allSatisfy(\.isJSONSpace) }

    /// The storage range of the next bytes.
    func range(_ count: Int) -> Range<Int> { start..<start + count }
}
