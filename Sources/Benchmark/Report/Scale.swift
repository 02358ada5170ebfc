/// How the figures of one table or chart are written: all in the same multiple of their unit.
struct Scale {
    /// What the figures are in, such as `ns/packet` or `k packets/s`.
    let name: String
    private let divisor: Double

    /// For figures of which `largest` is the largest.
    init(_ unit: Measurement.Unit, largest: Double) {
        let steps: [(Double, String)] =
            switch unit {
            case .packetsPerSecond, .connectionsPerSecond, .requestsPerSecond, .changesPerSecond:
                [(1e9, "G "), (1e6, "M "), (1e3, "k ")]
            case .bitsPerSecond: [(1e9, "G"), (1e6, "M"), (1e3, "k")]
            case .bytes: [(1_073_741_824, "Gi"), (1_048_576, "Mi"), (1024, "Ki")]
            default: []
            }
        guard let step = steps.first(where: { largest.magnitude >= $0.0 }) else {
            (divisor, name) = (1, unit.rawValue)
            return
        }
        (divisor, name) = (step.0, step.1 + (unit == .bytes ? "B" : unit.rawValue))
    }

    /// The figure in this scale.
    func value(_ figure: Double) -> Double { figure / divisor }

    /// The figure in this scale with three significant digits; whole numbers as they are.
    func text(_ figure: Double) -> String {
        let value = value(figure)
        return value == value.rounded() ? Decimal.grouped(Decimal.text(value, places: 0)) : Decimal.significant(value)
    }
}

extension Measurement.Unit {
    /// Which way is better, for headings.
    var direction: String { isBetterHigher ? "more is better" : "less is better" }
}
