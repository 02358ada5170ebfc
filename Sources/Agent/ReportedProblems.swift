internal import Logging

/// What is known to be wrong, so that each problem is told once when it appears and once when it is gone.
struct ReportedProblems {
    /// Where problems come from. Each report replaces the earlier one of its kind.
    enum Kind: String, CaseIterable {
        case source = "source"
        case conflicts = "conflict"
        case objects = "object"
        case capacity = "capacity"
    }

    /// How many lines a report may have: a thousand broken objects are no reason to fill the disk.
    private static let lines = 20

    private var known: [Kind: Set<String>] = [:]

    /// How many problems stand, by kind.
    var counts: [String: Int] {
        Dictionary(uniqueKeysWithValues: Kind.allCases.map { ($0.rawValue, known[$0]?.count ?? 0) })
    }

    mutating func report(_ problems: [String], as kind: Kind, _ logger: Logger) {
        let before = known[kind] ?? []
        let now = Set(problems)
        tell(now.subtracting(before), "problem", as: kind, at: .warning, logger)
        tell(before.subtracting(now), "problem solved", as: kind, at: .info, logger)
        known[kind] = now
    }

    private func tell(
        _ problems: Set<String>, _ message: Logger.Message, as kind: Kind, at level: Logger.Level, _ logger: Logger
    ) {
        for (index, problem) in problems.sorted().enumerated() {
            logger.log(level: index < Self.lines ? level : .debug, message, metadata: [kind.rawValue: "\(problem)"])
        }
        guard problems.count > Self.lines else { return }
        logger.log(level: level, "\(message): \(problems.count - Self.lines) more, at debug level")
    }
}
