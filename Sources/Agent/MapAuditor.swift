internal import Dataplane
internal import Logging
internal import Planning

/// Audits the maps now and then, a part at a time, and puts right what somebody else has changed.
struct MapAuditor {
    /// Differences that have a line of the log each.
    private static let told = 10

    private let interval: Duration
    private let observation: Observation
    private let logger: Logger
    private var audit = MapAudit()
    private var due: ContinuousClock.Instant
    /// Found in the round that is going on.
    private var found = 0

    /// `interval` is from the end of one round to the beginning of the next; zero is never.
    init(every interval: Duration, _ observation: Observation, _ logger: Logger) {
        self.interval = interval
        self.observation = observation
        self.logger = logger
        due = .now + interval
    }

    /// Looks through one part, when it is time. To be called every few seconds, between other writes to the maps.
    ///
    /// - Throws: `BPFError`, after which nobody knows what the maps hold.
    mutating func tick(_ maps: inout KernelMaps, _ planner: Planner, _ node: NodeRecords) throws {
        guard interval > .zero, due <= .now else { return }
        let rounds = audit.rounds
        let differences = try audit.step(&maps, planner, node)
        found += differences.count
        for (index, difference) in differences.enumerated() {
            logger.log(
                level: index < Self.told ? .warning : .debug, "the maps are not as they were left; it is put right",
                metadata: ["found": "\(difference)"])
        }
        if differences.count > Self.told {
            logger.warning("the maps are not as they were left: \(differences.count - Self.told) more, at debug level")
        }
        if !differences.isEmpty { try maps.repair(differences) }
        observation.audited(differences.count)
        guard audit.rounds > rounds else { return }
        observation.finishedAudit(found)
        found = 0
        due = .now + interval
    }
}
