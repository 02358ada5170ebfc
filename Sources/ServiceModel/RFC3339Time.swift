/// A point in time as RFC 3339 writes it, which is how Kubernetes writes all of them.
public struct RFC3339Time: Sendable, Hashable {
    /// Whole seconds since 1970, UTC.
    public var seconds: Int64
    /// Nanoseconds after them, 0 to 999,999,999.
    public var nanoseconds: Int64

    /// Reads a text such as `2026-01-31T12:00:00.25+01:00`; digits of the fraction beyond the ninth are dropped. `nil`
    /// if it is no such time.
    public init?(_ text: String) {
        self.init(utf8: text.utf8Span.span.bytes)
    }

    /// Reads UTF-8 text.
    public init?(utf8 bytes: RawSpan) {
        guard let year = bytes.number(0..<4), bytes.isAt(4, "-"), let month = bytes.number(5..<7), bytes.isAt(7, "-"),
            let day = bytes.number(8..<10), bytes.isAt(10, "T", "t", " "), let hour = bytes.number(11..<13),
            bytes.isAt(13, ":"), let minute = bytes.number(14..<16), bytes.isAt(16, ":"),
            let second = bytes.number(17..<19), (1...12).contains(month), (1...31).contains(day), hour < 24,
            minute < 60, second <= 60
        else { return nil }
        var rest = 19
        nanoseconds = 0
        if bytes.isAt(rest, ".") {
            rest += 1
            var worth: Int64 = 100_000_000
            while let digit = bytes.number(rest..<rest + 1) {
                nanoseconds += digit * worth
                worth /= 10
                rest += 1
            }
            guard rest > 20 else { return nil }
        }
        var offset: Int64 = 0
        if bytes.isAt(rest, "Z", "z") {
            guard rest + 1 == bytes.byteCount else { return nil }
        } else {
            guard bytes.isAt(rest, "+", "-"), rest + 6 == bytes.byteCount, bytes.isAt(rest + 3, ":"),
                let hours = bytes.number(rest + 1..<rest + 3), let minutes = bytes.number(rest + 4..<rest + 6),
                hours < 24, minutes < 60
            else { return nil }
            offset = (hours * 60 + minutes) * (bytes.isAt(rest, "-") ? -60 : 60)
        }
        // Days of the proleptic Gregorian calendar, counted in years that begin in March so that leap days come last.
        let shiftedYear = month <= 2 ? year - 1 : year
        let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
        let days = 365 * shiftedYear + shiftedYear / 4 - shiftedYear / 100 + shiftedYear / 400 + dayOfYear - 719_468
        seconds = ((days * 24 + hour) * 60 + minute) * 60 + second - offset
    }

    /// Nanoseconds since 1970; `nil` for a time too far away to be counted so (before 1677 or after 2262).
    public var nanosecondsSince1970: Int64? {
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return nil }
        let (sum, carried) = whole.addingReportingOverflow(nanoseconds)
        return carried ? nil : sum
    }
}

extension RawSpan {
    fileprivate func number(_ range: Range<Int>) -> Int64? {
        guard range.upperBound <= byteCount else { return nil }
        var value: Int64 = 0
        for index in range {
            let byte = unsafeLoad(fromByteOffset: index, as: UInt8.self)
            guard (0x30...0x39).contains(byte) else { return nil }
            value = value * 10 + Int64(byte - 0x30)
        }
        return value
    }

    fileprivate func isAt(_ index: Int, _ allowed: Unicode.Scalar...) -> Bool {
        guard index < byteCount else { return false }
        let byte = unsafeLoad(fromByteOffset: index, as: UInt8.self)
        return allowed.contains { $0.value == UInt32(byte) }
    }
}
