internal import NetTypes

/// What the rules of kube-proxy have in common.
enum RuleText {
    /// The mark of packets to be masqueraded: `--iptables-masquerade-bit` 14.
    static let masqueradeMark = "0x4000"

    /// So many letters of base 32 that stand for a name, as those of SHA-256 do in kube-proxy. Only their number matters
    /// to the kernel; these come from two runs of FNV-1a.
    static func digest(_ name: String, letters: Int) -> String {
        var (low, high): (UInt64, UInt64) = (0xCBF2_9CE4_8422_2325, 0x6C62_272E_07BB_0142)
        for byte in name.utf8 {
            low = (low ^ UInt64(byte)) &* 0x100_0000_01B3
            high = (high ^ UInt64(byte) ^ low >> 32) &* 0x100_0000_01B3
        }
        var bits = UInt128(high) << 64 | UInt128(low)
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".utf8)
        let text = (0..<letters).map { _ in
            defer { bits >>= 5 }
            return alphabet[Int(bits & 31)]
        }
        return String(decoding: text, as: UTF8.self)
    }
}

extension TransportEndpoint {
    /// `192.0.2.1:80`, `[2001:db8::1]:80`.
    var hostAndPort: String { address.withPort(port) }
}
