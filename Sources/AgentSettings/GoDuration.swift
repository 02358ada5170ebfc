/// Durations as Go writes them (`1h30m`, `500ms`), which is how Kubernetes' configuration files have them.
enum GoDuration {
    /// Reads one; `nil` if it is none or does not fit. Grammar of Go's `time.ParseDuration`, without a sign: none of the
    /// settings can be negative.
    static func parse(_ text: String) -> Duration? {
        if text == "0" { return .zero }
        var rest = Substring(text)
        var nanoseconds: Int64 = 0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let number = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { !($0.isASCII && ($0.isNumber || $0 == ".")) }
            rest = rest.dropFirst(unit.count)
            guard let scale = scales[String(unit)], let part = Self.value(number, scale) else { return nil }
            let (sum, overflows) = nanoseconds.addingReportingOverflow(part)
            guard !overflows else { return nil }
            nanoseconds = sum
        }
        return .nanoseconds(nanoseconds)
    }

    private static let scales: [String: Int64] = [
        "ns": 1, "us": 1000, "\u{B5}s": 1000, "\u{3BC}s": 1000, "ms": 1_000_000, "s": 1_000_000_000,
        "m": 60_000_000_000, "h": 3_600_000_000_000,
    ]

    private static func value(_ number: Substring, _ scale: Int64) -> Int64? {
        let parts = number.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, parts.contains(where: { !$0.isEmpty }) else { return nil }
        guard let whole = parts[0].isEmpty ? 0 : Int64(parts[0]) else { return nil }
        let (product, overflows) = whole.multipliedReportingOverflow(by: scale)
        guard !overflows else { return nil }
        var (result, place) = (product, scale)
        for digit in parts.count == 2 ? parts[1] : "" {
            place /= 10
            let (sum, overflows) = result.addingReportingOverflow(Int64(digit.wholeNumberValue ?? 0) * place)
            guard !overflows else { return nil }
            result = sum
        }
        return result
    }

    /// Writes one, the largest units first and without those that are none: `1h30m`.
    static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        var parts = ""
        if seconds >= 3600 { parts += "\(seconds / 3600)h" }
        if seconds / 60 % 60 > 0 { parts += "\(seconds / 60 % 60)m" }
        if seconds % 60 > 0 { parts += "\(seconds % 60)s" }
        var nanoseconds = attoseconds / 1_000_000_000
        for (unit, scale) in [("ms", Int64(1_000_000)), ("us", 1000), ("ns", 1)] {
            if nanoseconds / scale > 0 { parts += "\(nanoseconds / scale)\(unit)" }
            nanoseconds %= scale
        }
        return parts.isEmpty ? "0s" : parts
    }
}
