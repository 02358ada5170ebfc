/// How many slots a Maglev table has.
///
/// The size depends on the endpoints only, never on the node or on what was there before, so that all nodes that see
/// the same endpoints build the same table. Sizes are prime: every skip then visits every slot (Eisenbud et al.,
/// "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4).
public enum MaglevSize {
    /// Slots per backend that a table has at least. In a table of M slots each of N equal backends owns floor(M/N) or
    /// ceil(M/N) of them, so 100 slots per backend bound the busiest backend at 1.01 times the average.
    public static let slotsPerBackend = 100

    /// The sizes in use, in slots, rising. Each is the largest prime below a power of two, except 65537, the size that
    /// published Maglev measurements use.
    ///
    /// The last one is the cap: 128 MiB of 4-byte slots, with 100 slots per backend up to 335,543 backends. Larger
    /// sets get a table of this size and fewer slots per backend.
    public static let classes: [Int] = [
        251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_537, 131_071, 262_139, 524_287, 1_048_573, 2_097_143,
        4_194_301, 8_388_593, 16_777_213, 33_554_393,
    ]

    /// The largest number of slots a builder accepts: the sum of a slot number and a skip must fit in 32 bits.
    public static let largestSize = 1 << 31

    /// How much larger than that of equal backends a table grows so that light backends own 100 slots too.
    public static let largestWeightFactor = 16

    /// The number of slots for `n` backends of equal weight: the smallest class that holds 100 slots for each, the cap
    /// when none does, 0 when there are no backends. One or two backends use the smallest class.
    public static func tableSize(forBackends n: Int) -> Int {
        guard n > 0 else { return 0 }
        return classes.first { $0 / slotsPerBackend >= n } ?? classes[classes.count - 1]
    }

    /// The number of slots for backends with these weights: that for ``effectiveBackends(weights:)`` equal ones.
    public static func tableSize(forWeights weights: some Sequence<UInt32>) -> Int {
        tableSize(forBackends: effectiveBackends(weights: weights))
    }

    /// The sum of the weights in units of the smallest weight above 0, rounded up: the number of equal backends whose
    /// table gives the lightest backend 100 slots. At most 16 for each backend with a weight above 0, so that one
    /// extreme weight cannot claim a huge table. Equal weights yield their number.
    public static func effectiveBackends(weights: some Sequence<UInt32>) -> Int {
        var count: UInt64 = 0
        var sum: UInt64 = 0
        var smallest = UInt32.max
        for weight in weights where weight > 0 {
            count += 1
            sum += UInt64(weight)
            smallest = min(smallest, weight)
        }
        let units = (sum + UInt64(smallest) - 1) / UInt64(smallest)
        return Int(min(units, count * UInt64(largestWeightFactor)))
    }

    /// Whether `n` is prime, by trial division; below ``largestSize`` at most 23,170 divisions.
    static func isPrime(_ n: Int) -> Bool {
        guard n > 3 else { return n > 1 }
        guard n % 2 != 0 else { return false }
        var divisor = 3
        while divisor * divisor <= n {
            if n % divisor == 0 { return false }
            divisor += 2
        }
        return true
    }
}
