extension RawSpan {
    /// The byte at an offset. Traps beyond the end.
    @inline(__always)
    subscript(offset: Int) -> UInt8 { unsafeLoad(fromByteOffset: offset, as: UInt8.self) }

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
