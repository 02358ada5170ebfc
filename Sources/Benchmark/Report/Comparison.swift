/// What changed from one run to another, with the noise of both taken into account.
public struct Comparison: Sendable, Hashable {
    /// What is said of a measurement.
    public enum Verdict: Sendable, Hashable {
        /// Better, beyond noise.
        case better
        /// Worse, beyond noise.
        case worse
        /// No difference beyond noise.
        case same
        /// Nothing can be said, and why.
        case undecided(String)
    }

    /// A measurement that both runs have.
    public struct Entry: Sendable, Hashable {
        /// Which.
        public let key: Measurement.Key
        /// What its samples are in.
        public let unit: Measurement.Unit
        /// Whether multiples of the reference were compared, and not the samples themselves.
        public let isRatio: Bool
        /// In the earlier run.
        public let then: Statistics
        /// In the later run.
        public let now: Statistics
        /// The later median over the earlier one, less 1; `nil` unless both are above 0.
        public let change: Double?
        /// How likely the two would be as far apart if nothing had changed: ``RankTest/probability(_:_:)``.
        public let probability: Double
        /// What is to be made of it.
        public let verdict: Verdict

        /// By how many percent it is worse, beyond noise; `nil` if it is not, or if that is no percentage.
        public var percentWorse: Double? {
            guard verdict == .worse, let change else { return nil }
            return 100 * (unit.isBetterHigher ? -change : change)
        }
    }

    /// The earlier run.
    public let earlier: Report.Header
    /// What differs in the circumstances, in sentences.
    public let remarks: [String]
    /// In the order of the later run.
    public let entries: [Entry]
    /// Measured in the earlier run only.
    public let onlyThen: [Measurement.Key]
    /// Measured in the later run only.
    public let onlyNow: [Measurement.Key]

    /// A verdict needs this many samples on both sides: with five, chance alone puts all of one side above all of the
    /// other once in 126 times.
    public static let fewestSamples = 5
    /// Chance alone would show a difference this often.
    public static let significance = 0.01
    /// A smaller change than this, as a part of the median, is called none, however clear.
    public static let smallestChange = 0.02

    /// Compares all that both runs measured.
    ///
    /// A measurement with a reference is compared by its multiples of that: machines differ from day to day, and what
    /// slows everything cancels out. A difference is one if the rank test calls it unlikely
    /// (``significance``), and the medians are further apart than the middle half of the samples of either side is wide,
    /// and than ``smallestChange``. Figures that are not timed (bytes, counts, percentages) have no noise to speak of:
    /// there it is enough that the samples do not overlap.
    public init(from earlier: Report, to later: Report) {
        self.earlier = earlier.header
        let isOtherMachine =
            earlier.header.machine.processor != later.header.machine.processor
            || earlier.header.machine.cores != later.header.machine.cores
        remarks = Self.remarks(earlier.header, later.header, isOtherMachine: isOtherMachine)
        let (old, new) = (earlier.byKey, later.byKey)
        entries = later.measurements.filter(\.isMeasured).compactMap { now in
            guard let then = old[now.key], then.isMeasured else { return nil }
            let reference = now.reference.flatMap { new[$0] }
            let earlierReference = now.reference == then.reference ? then.reference.flatMap { old[$0] } : nil
            return Entry(
                then, now, ratios: (earlierReference.map(then.ratios) ?? [], reference.map(now.ratios) ?? []),
                isOtherMachine: isOtherMachine)
        }
        let both = Set(entries.map(\.key))
        onlyThen = earlier.measurements.filter { $0.isMeasured && !both.contains($0.key) }.map(\.key)
        onlyNow = later.measurements.filter { $0.isMeasured && !both.contains($0.key) }.map(\.key)
    }

    /// The greatest ``Entry/percentWorse``, 0 if nothing is worse.
    public var percentWorse: Double { entries.compactMap(\.percentWorse).max() ?? 0 }

    private static func remarks(_ then: Report.Header, _ now: Report.Header, isOtherMachine: Bool) -> [String] {
        var remarks: [String] = []
        func compare(_ name: String, _ then: String, _ now: String) {
            if then != now { remarks.append("\(name): \(then) then, \(now) now") }
        }
        compare("processor", then.machine.processor, now.machine.processor)
        compare("cores", "\(then.machine.cores)", "\(now.machine.cores)")
        compare("kernel", then.machine.kernel, now.machine.kernel)
        compare("backends of a Service", "\(then.settings.backends)", "\(now.settings.backends)")
        compare("seconds of a sample", "\(then.settings.duration)", "\(now.settings.duration)")
        if isOtherMachine {
            remarks.append("the machine is another one: only ratios within a run, and what is not timed, are judged")
        }
        return remarks
    }
}

extension Comparison.Entry {
    fileprivate init(
        _ then: Measurement, _ now: Measurement, ratios: (then: [Double], now: [Double]), isOtherMachine: Bool
    ) {
        key = now.key
        unit = now.unit
        isRatio = !ratios.then.isEmpty && !ratios.now.isEmpty
        let (old, new) = isRatio ? ratios : (then.samples, now.samples)
        // Empty lists of samples are not compared at all.
        let (before, after) = (Statistics(old) ?? .zero, Statistics(new) ?? .zero)
        self.then = before
        self.now = after
        change = before.median > 0 && after.median > 0 ? after.median / before.median - 1 : nil
        probability = RankTest.probability(old, new)
        if then.unit != now.unit {
            verdict = .undecided("it was in \(then.unit.rawValue) then")
        } else if isOtherMachine, !isRatio, now.unit.isTimed {
            verdict = .undecided("another machine, and no reference in the same run")
        } else if !now.unit.isTimed {
            verdict = Self.untimed(before, after, unit: now.unit)
        } else if min(old.count, new.count) < Comparison.fewestSamples {
            verdict = .undecided("fewer than \(Comparison.fewestSamples) samples")
        } else {
            let distance = (after.median - before.median).magnitude
            let noise = max(
                Self.middleHalf(old), Self.middleHalf(new), before.median.magnitude * Comparison.smallestChange)
            let differs = probability < Comparison.significance && distance > noise
            verdict = differs ? Self.direction(before, after, unit: now.unit) : .same
        }
    }

    private static func untimed(
        _ then: Statistics, _ now: Statistics, unit: Measurement.Unit
    ) -> Comparison.Verdict {
        let overlaps = then.min <= now.max && now.min <= then.max
        let distance = (now.median - then.median).magnitude
        return overlaps || distance <= then.median.magnitude * Comparison.smallestChange
            ? .same : direction(then, now, unit: unit)
    }

    private static func direction(
        _ then: Statistics, _ now: Statistics, unit: Measurement.Unit
    ) -> Comparison.Verdict {
        (now.median > then.median) == unit.isBetterHigher ? .better : .worse
    }

    /// How wide the middle half of the samples is.
    private static func middleHalf(_ samples: [Double]) -> Double {
        let sorted = samples.sorted()
        let quarter = sorted.count / 4
        return sorted.isEmpty ? 0 : sorted[sorted.count - 1 - quarter] - sorted[quarter]
    }
}
