internal import Maglev
internal import NeedletailABI

/// Identifies a set by its members: what a set record keeps, since the members themselves are in its slots only.
enum SetDigest {
    /// Of ids (in the order of identities) and weights. Ids are not reused while a set may hold them, so equal digests
    /// mean equal backends. 64 bits of SipHash: two of a million sets share one by chance once in 37 million.
    static func digest(ids: [BackendID], weights: [UInt32]) -> UInt64 {
        var words: [UInt32] = []
        words.reserveCapacity(ids.count * 2)
        for (id, weight) in zip(ids, weights) {
            words.append(id.rawValue)
            words.append(weight)
        }
        return SipHash24.hash(words.span.bytes, key: SipHash24.Key(low: 0x6E65_6564_6C65, high: 0x7461_696C))
    }
}
