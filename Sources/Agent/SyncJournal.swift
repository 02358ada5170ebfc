internal import Logging
internal import ServiceModel

/// What has changed between two syncs, and why, told in one line of the log for each sync: what, why, how much, how
/// long. When changes come in a storm, lines give way to a summary.
struct SyncJournal {
    /// Why the maps may not be as they should.
    struct Causes: OptionSet {
        let rawValue: UInt8

        /// The Service object changed.
        static let service = Causes(rawValue: 1 << 0)
        /// Its EndpointSlices did.
        static let endpoints = Causes(rawValue: 1 << 1)

        var description: String {
            switch self {
            case .service: "service"
            case .endpoints: "endpoints"
            default: "service and endpoints"
            }
        }
    }

    /// How many Services a line names.
    private static let named = 3
    /// Lines that may come at once, and how many more may come each second.
    private static let burst = 20.0
    private static let rate = 1.0

    private var services: [ObjectName: Causes] = [:]
    private var reasons: Set<String> = []

    private var allowance = burst
    private var lastLine = ContinuousClock.now
    /// Syncs no line was written for.
    private var untold = Summary()

    private struct Summary {
        var syncs = 0
        var writes = 0
        var longest = Duration.zero
    }

    /// Notes what a batch of objects changed.
    mutating func note(_ changes: Catalog.Changes) {
        for name in changes.services {
            services[name, default: []].insert(changes.serviceObjects.contains(name) ? .service : .endpoints)
        }
        if changes.becameSynced { reasons.insert("everything is known") }
    }

    /// Notes another reason to sync.
    mutating func note(_ reason: String) { reasons.insert(reason) }

    /// A few Services by name and cause, the number of the others, and whatever else there was.
    private var what: String {
        let shown = services.keys.sorted().prefix(Self.named).map { "\($0) (\(services[$0]?.description ?? ""))" }
        let more = services.count - shown.count
        return (shown + (more > 0 ? ["\(more) more"] : []) + reasons.sorted()).joined(separator: ", ")
    }

    /// Tells of a sync that changed the maps, and begins anew.
    mutating func synced(
        writes: Int, services total: Int, frontends: Int, took duration: Duration, _ logger: Logger
    ) {
        defer { forget() }
        let now = ContinuousClock.now
        allowance = min(Self.burst, allowance + Self.rate * (now - lastLine).seconds)
        lastLine = now
        guard allowance >= 1 else {
            untold.syncs += 1
            untold.writes += writes
            untold.longest = max(untold.longest, duration)
            logger.debug("synced", metadata: ["changed": "\(what)", "writes": "\(writes)"])
            return
        }
        allowance -= 1
        logger.info(
            "synced",
            metadata: [
                "changed": "\(what)", "services": "\(total)", "frontends": "\(frontends)", "writes": "\(writes)",
                "milliseconds": "\(duration.milliseconds)",
            ])
    }

    /// What was noted has been dealt with without a write.
    mutating func forget() {
        services = [:]
        reasons = []
    }

    /// Tells of the syncs that had no line of their own. To be called every few seconds.
    mutating func summarize(_ logger: Logger) {
        guard untold.syncs > 0 else { return }
        logger.info(
            "synced more often than is told one by one",
            metadata: [
                "syncs": "\(untold.syncs)", "writes": "\(untold.writes)",
                "longest_milliseconds": "\(untold.longest.milliseconds)",
            ])
        untold = Summary()
    }
}

extension Duration {
    /// Seconds, with fractions.
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }

    /// Whole milliseconds and tenths.
    var milliseconds: Double { (seconds * 10_000).rounded() / 10 }
}
