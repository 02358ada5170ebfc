/// What a run of the benchmark answers: under which circumstances, and all its measurements.
///
/// It is written as a document and read back from one; tables, pages and comparisons are made of it alone, whether it
/// was measured just now or a year ago.
public struct Report: Sendable, Hashable {
    /// Circumstances of a run.
    public struct Header: Sendable, Hashable {
        /// Version of Needletail.
        public var version: String
        /// The command line, program first.
        public var command: [String]
        /// Where, and when it began.
        public var machine: Machine
        /// Load average of one minute before the run.
        public var loadAtStart: Double
        /// The same after it, the run's own load included.
        public var loadAtEnd: Double
        /// What was asked.
        public var settings: RunSettings

        /// A header.
        public init(
            version: String, command: [String], machine: Machine, loadAtStart: Double, loadAtEnd: Double,
            settings: RunSettings
        ) {
            self.version = version
            self.command = command
            self.machine = machine
            self.loadAtStart = loadAtStart
            self.loadAtEnd = loadAtEnd
            self.settings = settings
        }
    }

    /// Circumstances.
    public var header: Header
    /// Suite by suite.
    public var measurements: [Measurement]
    /// From start to end.
    public var seconds: Double

    /// A report.
    public init(header: Header, measurements: [Measurement], seconds: Double) {
        self.header = header
        self.measurements = measurements
        self.seconds = seconds
    }

    /// Whether no measurement failed. Skipped ones are no failure.
    public var succeeded: Bool { !measurements.contains { $0.failure != nil } }

    /// All measurements by their keys; of two with one key, the first.
    var byKey: [Measurement.Key: Measurement] {
        Dictionary(measurements.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
    }
}

extension Measurement {
    /// Samples as multiples of another measurement's, pair by pair of the same repeat: what slows the machine for a
    /// while slows both. Empty when they cannot be paired, one having lost a sample, or when a sample of `reference` is
    /// not above 0.
    public func ratios(to reference: Measurement) -> [Double] {
        guard outcome == .measured, reference.outcome == .measured, samples.count == reference.samples.count,
            reference.samples.allSatisfy({ $0 > 0 })
        else { return [] }
        return zip(samples, reference.samples).map { $0 / $1 }
    }
}

extension Measurement {
    /// Why it failed, if it did.
    public var failure: String? {
        switch outcome {
        case .measured: samples.isEmpty ? "no sample was taken" : nil
        case .skipped: nil
        case .failed(let reason): reason
        }
    }

    /// Why it was skipped, if it was.
    public var skip: String? {
        if case .skipped(let reason) = outcome { reason } else { nil }
    }

    /// Whether it has samples that stand for what it is named after.
    var isMeasured: Bool { outcome == .measured && !samples.isEmpty }
}

extension Measurement.Key: CustomStringConvertible {
    /// `packet established of external_xdp (family v4, flows 1)`.
    public var description: String {
        let what = "\(suite.rawValue) \(quantity) of \(subject)"
        return conditions.isEmpty ? what : "\(what) (\(conditions.text))"
    }
}

extension [Measurement.Condition] {
    /// `family v4, flows 1`.
    var text: String { map { "\($0.name) \($0.value)" }.joined(separator: ", ") }
}
