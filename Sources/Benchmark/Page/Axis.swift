internal import Glibc

/// A range of values along a side of a chart, with ticks at round ones.
struct Axis {
    struct Tick {
        let value: Double
        let label: String
    }

    private let lower: Double
    private let upper: Double
    let isLogarithmic: Bool
    let ticks: [Tick]

    /// From 0, or less if there is less, to a round number not below the largest value.
    static func linear(_ values: [Double], ticks wanted: Int = 5) -> Axis {
        let least = min(0, values.min() ?? 0)
        let greatest = max(0, values.max() ?? 0)
        let largest = greatest > least ? greatest : 1
        let range = largest - least
        let step = roundUp(range / Double(wanted))
        let (first, last) = ((least / step).rounded(.down), (largest / step).rounded(.up))
        let ticks = stride(from: first, through: last, by: 1).map { index in
            Tick(value: index * step, label: Self.label(index * step))
        }
        return Axis(lower: first * step, upper: last * step, isLogarithmic: false, ticks: ticks)
    }

    /// Between numbers of the form 1, 2 or 5 times a power of ten. All values must be above 0.
    static func logarithmic(_ values: [Double]) -> Axis {
        let (least, largest) = (values.min() ?? 1, values.max() ?? 1)
        let exponents = Int(log10(least).rounded(.down))...Int(log10(largest).rounded(.up))
        // The tolerance keeps a value that is such a number itself, but for rounding, at the edge.
        let marks = exponents.flatMap { exponent in [1.0, 2, 5].map { $0 * pow(10, Double(exponent)) } }
        let lower = marks.last { $0 <= least * 1.000001 } ?? least
        var upper = marks.first { $0 >= largest / 1.000001 } ?? largest
        if upper <= lower { upper = marks.first { $0 > lower } ?? lower * 10 }
        let decades = log10(upper / lower)
        let shown: [Double]
        if decades <= 3 {
            shown = marks.filter { $0 >= lower && $0 <= upper }
        } else {
            // Powers of ten only, and no more than have room.
            let step = Int((decades / 8).rounded(.up))
            shown = stride(from: Int(log10(lower).rounded(.up)), through: exponents.upperBound, by: step)
                .map { pow(10, Double($0)) }.filter { $0 <= upper }
        }
        return Axis(
            lower: lower, upper: upper, isLogarithmic: true,
            ticks: shown.map { Tick(value: $0, label: Self.label($0)) })
    }

    /// Logarithmic where a linear one would press most values against the bottom.
    static func fitting(_ values: [Double], upTo ratio: Double = 20) -> Axis {
        guard let least = values.min(), let largest = values.max(), least > 0, largest / least > ratio else {
            return linear(values)
        }
        return logarithmic(values)
    }

    /// Where a value is: 0 at the lower end, 1 at the upper.
    func place(_ value: Double) -> Double {
        isLogarithmic
            ? log10(max(value, lower) / lower) / log10(upper / lower) : (value - lower) / (upper - lower)
    }

    /// Pixels that the longest label needs.
    var labelWidth: Double { ticks.map { Drawing.width(of: $0.label) }.max() ?? 0 }

    /// The next of 1, 2, 2.5, 5 and 10 times a power of ten.
    private static func roundUp(_ value: Double) -> Double {
        let unit = pow(10, log10(value).rounded(.down))
        return ([1, 2, 2.5, 5].first { $0 * unit >= value } ?? 10) * unit
    }

    private static func label(_ value: Double) -> String {
        let text = Decimal.text(value, places: value.magnitude >= 100 ? 0 : value.magnitude >= 1 ? 3 : 9)
        guard text.contains(".") else { return Decimal.grouped(text) }
        let cut = text.reversed().drop { $0 == "0" }.drop { $0 == "." }
        return Decimal.grouped(String(cut.reversed()))
    }
}
