/// Measurements that grow by a sample with each round.
struct MeasurementSeries {
    private var order: [Measurement.Key] = []
    private var entries: [Measurement.Key: Measurement] = [:]
    private var latencies: [Measurement.Key: [Double]] = [:]

    /// In the order in which they were begun, with latencies summed up.
    var measurements: [Measurement] {
        order.compactMap { key in
            var entry = entries[key]
            if let samples = latencies[key] { entry?.latencies = LatencySummary(microseconds: samples) }
            return entry
        }
    }

    /// Adds a sample.
    mutating func add(
        _ key: Measurement.Key, _ unit: Measurement.Unit, _ sample: Double, reference: Measurement.Key? = nil,
        note: String? = nil
    ) {
        begin(key, unit, reference, note)
        entries[key]?.samples.append(sample)
    }

    /// Adds the median of single operations as a sample, and them to the latencies; both in microseconds.
    mutating func add(
        _ key: Measurement.Key, _ unit: Measurement.Unit, latencies: [Double], reference: Measurement.Key? = nil,
        note: String? = nil
    ) {
        guard let statistics = Statistics(latencies) else { return }
        add(key, unit, statistics.median, reference: reference, note: note)
        self.latencies[key, default: []] += latencies
    }

    /// Says why something has no samples, or none that count; what has come about before is given up.
    mutating func end(_ key: Measurement.Key, _ unit: Measurement.Unit, _ outcome: Measurement.Outcome) {
        begin(key, unit, nil, nil)
        entries[key]?.outcome = outcome
        entries[key]?.samples = []
        entries[key]?.reference = nil
        latencies[key] = nil
    }

    /// Says that the figures of a subject at a place stand for nothing.
    mutating func fail(_ place: Place, _ subject: String, _ reason: String) {
        let conditions = place.key("", subject).conditions
        for key in order where key.subject == subject && key.conditions.starts(with: conditions) {
            entries[key]?.outcome = .failed(reason)
        }
    }

    /// Whether the measurement has ended without samples.
    func hasEnded(_ key: Measurement.Key) -> Bool { entries[key].map { $0.outcome != .measured } ?? false }

    private mutating func begin(
        _ key: Measurement.Key, _ unit: Measurement.Unit, _ reference: Measurement.Key?, _ note: String?
    ) {
        guard entries[key] == nil else { return }
        order.append(key)
        entries[key] = Measurement(key, in: unit, reference: reference, note: note)
    }
}

extension LatencySummary {
    /// Of single operations, by nearest rank: each figure is one that was measured. `nil` if there are none.
    init?(microseconds samples: [Double]) {
        guard !samples.isEmpty else { return nil }
        let sorted = samples.sorted()
        let percentiles = [0, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100]
        self.init(
            count: sorted.count,
            points: percentiles.map { percentile in
                let rank = Int((Double(sorted.count) * percentile / 100).rounded(.up))
                return Point(percentile: percentile, latency: sorted[max(0, min(sorted.count, rank) - 1)])
            })
    }
}
