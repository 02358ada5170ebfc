/// Gives equal texts one storage: the same few thousand node names, zones and port names come with every endpoint.
///
/// A cache of fixed size without chains: a text that falls into a slot in use takes it over. Forgetting costs only the
/// sharing.
struct StringTable {
    private static let slots = 4096
    /// Shorter texts are kept inside the `String` itself, without storage to share.
    private static let inlined = 15

    private var texts: [String] = []
    private var lists: [[String]] = []

    /// The text of the bytes.
    mutating func text(_ bytes: RawSpan) -> String {
        guard bytes.byteCount > Self.inlined else { return bytes.text }
        if texts.isEmpty { texts = [String](repeating: "", count: Self.slots) }
        let slot = Self.slot(bytes)
        if texts[slot].utf8Span.span.bytes.equals(bytes) { return texts[slot] }
        let text = bytes.text
        texts[slot] = text
        return text
    }

    /// A list, sharing its storage with others like it if it has one element, as hints mostly do.
    mutating func list(_ list: [String]) -> [String] {
        guard list.count == 1, let only = list.first else { return list }
        if lists.isEmpty { lists = [[String]](repeating: [], count: Self.slots) }
        let slot = Self.slot(only.utf8Span.span.bytes)
        if lists[slot].first == only { return lists[slot] }
        lists[slot] = list
        return list
    }

    private static func slot(_ bytes: RawSpan) -> Int {
        // FNV-1a, eight bytes at a time.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        var offset = 0
        while offset + 8 <= bytes.byteCount {
            let word = bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
            hash = (hash ^ word) &* 0x100_0000_01B3
            hash ^= hash >> 29
            offset += 8
        }
        while offset < bytes.byteCount {
            hash = (hash ^ UInt64(bytes[offset])) &* 0x100_0000_01B3
            offset += 1
        }
        return Int(truncatingIfNeeded: (hash ^ (hash >> 32)) & UInt64(slots - 1))
    }
}

extension RawSpan {
    fileprivate func equals(_ other: RawSpan) -> Bool {
        guard byteCount == other.byteCount else { return false }
        for index in 0..<byteCount where self[index] != other[index] { return false }
        return true
    }
}

extension Array {
    /// The array without spare room, where what growing left is worth a copy.
    func fitted() -> [Element] {
        guard capacity > count + 1 else { return self }
        var copy: [Element] = []
        copy.reserveCapacity(count)
        copy.append(contentsOf: self)
        return copy
    }
}
