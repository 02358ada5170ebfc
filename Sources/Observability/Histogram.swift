internal import Synchronization

/// What a histogram holds at one moment.
public struct HistogramValue: Sendable, Hashable {
    /// Upper bounds of the buckets, ascending, each included in its bucket; the last bucket has none.
    public let bounds: [Double]
    /// Observations in each bucket, not summed up; one more than there are bounds.
    public private(set) var counts: [UInt64]
    /// Sum of all observations.
    public private(set) var sum: Double

    /// Nothing observed.
    public init(bounds: [Double]) {
        self.init(bounds: bounds, counts: [], sum: 0)
    }

    /// What somebody else has counted. Buckets that `counts` lacks are empty; what it has too many belongs to the last.
    public init(bounds: [Double], counts: [UInt64], sum: Double) {
        self.bounds = bounds
        let own = counts.prefix(bounds.count)
        self.counts = own + [UInt64](repeating: 0, count: bounds.count - own.count) + [counts.dropFirst(own.count).sum]
        self.sum = sum
    }

    /// Observations in all buckets.
    public var count: UInt64 { counts.sum }

    /// Counts an observation. What is not a number is left out: it would make a sum of no use for good.
    public mutating func observe(_ value: Double) {
        guard !value.isNaN else { return }
        var (low, high) = (0, bounds.count)
        while low < high {
            let middle = (low + high) / 2
            if bounds[middle] < value { low = middle + 1 } else { high = middle }
        }
        counts[low] += 1
        sum += value
    }
}

/// A histogram that any thread may add to.
public final class Histogram: Sendable {
    private let state: Mutex<HistogramValue>

    /// Nothing observed. `bounds` as in ``Buckets``.
    public init(_ bounds: [Double]) {
        state = Mutex(HistogramValue(bounds: bounds))
    }

    /// Counts an observation, in the unit of the bounds.
    public func observe(_ value: Double) {
        state.withLock { $0.observe(value) }
    }

    /// Counts a duration, in seconds.
    public func observe(_ duration: Duration) { observe(duration / .seconds(1)) }

    /// What it holds now.
    public var value: HistogramValue { state.withLock { $0 } }
}

/// A number that only grows, which any thread may add to.
public final class Counter: Sendable {
    private let count = Atomic<UInt64>(0)

    /// From zero.
    public init() {}

    /// Adds to it.
    public func add(_ amount: UInt64 = 1) { count.wrappingAdd(amount, ordering: .relaxed) }

    /// What it is now.
    public var value: UInt64 { count.load(ordering: .relaxed) }
}

/// A number that any thread may set.
public final class Gauge: Sendable {
    private let bits = Atomic<UInt64>(0)

    /// Zero.
    public init() {}

    /// What it is now.
    public var value: Double {
        get { Double(bitPattern: bits.load(ordering: .relaxed)) }
        set { bits.store(newValue.bitPattern, ordering: .relaxed) }
    }
}

extension Sequence<UInt64> {
    var sum: UInt64 { reduce(0, &+) }
}
