internal import Logging

/// What is known to be wrong, so that each problem is told once when it appears and once when it is gone.
struct ReportedProblems {
    /// Where problems come from. Each report replaces the earlier one of its kind.
    enum Kind: String {
        case source = "source"
        case conflicts = "conflict"
        case objects = "object"
        case capacity = "capacity"
    }

    private var known: [Kind: Set<String>] = [:]

    mutating func report(_ problems: [String], as kind: Kind, _ logger: Logger) {
        let before = known[kind] ?? []
        let now = Set(problems)
        for problem in now.subtracting(before).sorted() {
            logger.warning("problem", metadata: [kind.rawValue: "\(problem)"])
        }
        for problem in before.subtracting(now).sorted() {
            logger.info("problem solved", metadata: [kind.rawValue: "\(problem)"])
        }
        known[kind] = now
    }
}
