internal import Glibc

/// A reading of the wall clock: for people to look at. Rules use clocks that nobody sets.
public struct WallTime: Sendable, Hashable {
    /// Seconds since 1970-01-01T00:00:00Z, without leap seconds.
    public var seconds: Int64
    /// And nanoseconds, below one second.
    public var nanoseconds: Int64

    /// Puts the two together.
    public init(seconds: Int64, nanoseconds: Int64 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    /// Now.
    public static var now: WallTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(seconds: Int64(time.tv_sec), nanoseconds: Int64(time.tv_nsec))
    }

    /// Seconds since 1970 with their fraction, as Prometheus has timestamps.
    public var timestamp: Double { Double(seconds) + Double(nanoseconds) / 1e9 }

    /// RFC 3339 in UTC with as many decimals as are needed: Go's `time.RFC3339Nano`.
    var rfc3339: String {
        let (date, time) = (date, time)
        var fraction = nanoseconds == 0 ? "" : "." + Self.padded(nanoseconds, 9)
        while fraction.last == "0" { fraction.removeLast() }
        return
            "\(Self.padded(date.year, 4))-\(Self.padded(date.month, 2))-\(Self.padded(date.day, 2))T\(time)\(fraction)Z"
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7).
    var httpDate: String {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        // 1970-01-01 was a Thursday.
        let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let weekday = weekdays[Int(days - 7 * Self.quotient(days, 7))]
        let date = date
        let month = months[Int(date.month) - 1]
        return "\(weekday), \(Self.padded(date.day, 2)) \(month) \(Self.padded(date.year, 4)) \(time) GMT"
    }

    private var days: Int64 { Self.quotient(seconds, 86_400) }

    private var time: String {
        let second = seconds - 86_400 * days
        return "\(Self.padded(second / 3600, 2)):\(Self.padded(second / 60 % 60, 2)):\(Self.padded(second % 60, 2))"
    }

    /// The Gregorian date. Years are counted from March, so that a leap day is the last of its year, and in cycles of
    /// 400 years of 146,097 days, the first of which began on 0000-03-01, 719,468 days before 1970.
    private var date: (year: Int64, month: Int64, day: Int64) {
        let sinceMarch = days + 719_468
        let cycle = Self.quotient(sinceMarch, 146_097)
        let day = sinceMarch - cycle * 146_097
        // A leap day each 4 years of 1461 days, none each 100 of 36,524, but again at the end of the 400.
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365
        let dayOfYear = day - (365 * year + year / 4 - year / 100)
        // From March on, months alternate so that five of them have 153 days.
        let month = (5 * dayOfYear + 2) / 153
        let dayOfMonth = dayOfYear - (153 * month + 2) / 5 + 1
        let inNextYear: Int64 = month >= 10 ? 1 : 0
        return (year + cycle * 400 + inNextYear, month + 3 - 12 * inNextYear, dayOfMonth)
    }

    private static func quotient(_ number: Int64, _ divisor: Int64) -> Int64 {
        number >= 0 ? number / divisor : -((divisor - 1 - number) / divisor)
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
