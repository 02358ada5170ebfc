/// How many flows a packet case walks through: a power of two, since the programs choose the next one by a mask.
public struct FlowCount: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The number.
    public let count: Int

    /// The most flows: 16 bits of client address and 14 bits of client port.
    public static let most = 1 << 30

    /// `nil` unless it is a power of two from 1 to ``most``.
    public init?(_ count: Int) {
        guard count >= 1, count <= Self.most, count & (count - 1) == 0 else { return nil }
        self.count = count
    }

    /// ``most``.
    init(largest: Void) { count = Self.most }

    /// Reads `1`, `64k`, `1M`: a number, times 1024 or 1024 × 1024 with the suffix k or M (in any case).
    public init?(_ text: some StringProtocol) {
        var digits = text[...]
        var unit = 1
        switch digits.last {
        case "k", "K": unit = 1 << 10
        case "m", "M": unit = 1 << 20
        default: break
        }
        if unit > 1 { digits.removeLast() }
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(digits),
            number <= Self.most / unit
        else { return nil }
        self.init(number * unit)
    }

    /// Reads a list such as `1,64k,1M`; the answer is in order, each number once.
    ///
    /// - Throws: ``BenchmarkError/unusableFlowCount(_:)`` with the first part that is none.
    public static func list(_ text: String) throws(BenchmarkError) -> [FlowCount] {
        var counts: Set<FlowCount> = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let count = FlowCount(part) else { throw .unusableFlowCount(String(part)) }
            counts.insert(count)
        }
        return counts.sorted()
    }

    /// `1`, `64k`, `1M`: the shortest form that ``init(_:)-(StringProtocol)`` reads.
    public var description: String {
        if count >= 1 << 20 { return "\(count >> 20)M" }
        return count >= 1 << 10 ? "\(count >> 10)k" : "\(count)"
    }

    /// By number.
    public static func < (a: FlowCount, b: FlowCount) -> Bool { a.count < b.count }
}

/// What keeps a benchmark from being run.
public enum BenchmarkError: Error, Sendable, Hashable, CustomStringConvertible {
    /// This is no number of flows.
    case unusableFlowCount(String)
    /// A setting out of range; which, and what is expected.
    case unusableSetting(String)
    /// What is to be measured did not come about; what was found instead.
    case preparationFailed(String)

    /// What is wrong and what to do.
    public var description: String {
        switch self {
        case .unusableFlowCount(let text):
            "\"\(text)\" is not a number of flows: give powers of two up to 1024M, as in 1,64k,1M"
        case .unusableSetting(let what): what
        case .preparationFailed(let what):
            """
            what is to be measured could not be set up: \(what). See whether it can with `--flows 1 --services 1`
            """
        }
    }
}
