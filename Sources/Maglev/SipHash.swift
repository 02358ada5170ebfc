/// SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012).
package struct SipHash24 {
    private var v0: UInt64
    private var v1: UInt64
    private var v2: UInt64
    private var v3: UInt64

    private init(key: Key) {
        v0 = key.low ^ 0x736F_6D65_7073_6575
        v1 = key.high ^ 0x646F_7261_6E64_6F6D
        v2 = key.low ^ 0x6C79_6765_6E65_7261
        v3 = key.high ^ 0x7465_6462_7974_6573
    }

    /// A 128-bit key as two words: bytes 0 to 7 and 8 to 15 of the published little-endian form.
    package struct Key: Sendable {
        package let low: UInt64
        package let high: UInt64

        /// A key from its words.
        package init(low: UInt64, high: UInt64) {
            self.low = low
            self.high = high
        }
    }

    /// The hash of `bytes`.
    package static func hash(_ bytes: RawSpan, key: Key) -> UInt64 {
        var state = SipHash24(key: key)
        let tail = bytes.byteCount & ~7
        for offset in stride(from: 0, to: tail, by: 8) {
            var word: UInt64 = 0
            for byte in 0..<8 {
                word |= UInt64(bytes.unsafeLoad(fromByteOffset: offset + byte, as: UInt8.self)) << UInt64(byte * 8)
            }
            state.absorb(word)
        }
        var last = UInt64(truncatingIfNeeded: bytes.byteCount) << 56
        for offset in tail..<bytes.byteCount {
            let byte = bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
            last |= UInt64(byte) << UInt64((offset - tail) * 8)
        }
        state.absorb(last)
        state.v2 ^= 0xFF
        for _ in 0..<4 { state.round() }
        return state.v0 ^ state.v1 ^ state.v2 ^ state.v3
    }

    private mutating func absorb(_ word: UInt64) {
        v3 ^= word
        round()
        round()
        v0 ^= word
    }

    private mutating func round() {
        v0 &+= v1
        v1 = v1 << 13 | v1 >> 51
        v1 ^= v0
        v0 = v0 << 32 | v0 >> 32
        v2 &+= v3
        v3 = v3 << 16 | v3 >> 48
        v3 ^= v2
        v0 &+= v3
        v3 = v3 << 21 | v3 >> 43
        v3 ^= v0
        v2 &+= v1
        v1 = v1 << 17 | v1 >> 47
        v1 ^= v2
        v2 = v2 << 32 | v2 >> 32
    }
}
