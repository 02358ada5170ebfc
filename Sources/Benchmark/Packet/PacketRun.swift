internal import BPF
internal import Dataplane
internal import NeedletailABI
internal import NetTypes

/// One run of the packet suite.
final class PacketRun {
    let settings: RunSettings
    let node: PacketNode
    /// Runs of a program in a sample.
    let runs: Int
    /// Rigs with established flows, by their number.
    var steady: [FlowCount: Rig] = [:]
    /// Rigs whose tables are full and get new flows only, by the flows they have room for.
    var churning: [FlowCount: Rig] = [:]
    /// Rigs with many Services, by their number: with established flows, and with a full table.
    var crowded: [Int: (steady: Rig, churning: Rig)] = [:]
    /// The first run number whose tuple is new to somebody else's program, by its name.
    var nextNewOfOthers: [String: UInt64] = [:]
    /// Whose flows have been opened.
    var opened: Set<Measurement.Key> = []

    private var order: [Measurement.Key] = []
    private var results: [Measurement.Key: Measurement] = [:]

    /// A packet with all that is looked at and written for it takes less in all cases; a sample so its part of
    /// ``RunSettings/duration`` at most.
    private static let mostNanoseconds = 3000.0
    /// Of a short sample, the fixed cost of a test run is all there is to see.
    private static let fewestRuns = 1000
    /// Flow tables for cases that fill them have room for this many flows at least: a table much smaller than the
    /// kernel's per-CPU free lists evicts what has just been inserted.
    static let smallestTable = 1 << 16
    /// The most flows of cases that say nothing new with more.
    static let mostOfOthers = 1 << 16
    /// 256 k flows, whose entries and buckets are some 300 bytes each.
    private static let longestWalk = 1 << 18
    /// How often a walk may fail to fit in one tick, as it does when others want the processor too; the next is half as
    /// long.
    private static let attempts = 4
    /// Of a shorter walk, the fixed cost of a test run shows in the figure of first packets.
    private static let shortestFirstWalk = 1 << 14
    /// Ticks without a packet of a client after which the next one counts as a flow's first: nothing that was noted of
    /// the flow to make its packets cheaper holds as long.
    private static let clientIdleTicks = UInt64(NT_MARK_TICKS)
    /// The same of the backend's packets, for packets of either side: an entry is looked after once a tick.
    private static let backendIdleTicks: UInt64 = 1
    /// The buffer of a tc test run has room for so many answers, each of which leaves a little of it behind.
    static let answerChunk = 64
    /// The part of flows that a line of the dense table may have lost to others of the same line.
    private static let mostLost = 0.02

    init(_ settings: RunSettings, _ node: PacketNode) {
        self.settings = settings
        self.node = node
        runs = min(max(Int(settings.duration * 1e9 / Self.mostNanoseconds), Self.fewestRuns), 1 << 20)
    }

    /// All rounds, and what came out.
    func measure(_ progress: (String) -> Void) throws -> [Measurement] {
        for round in 1...settings.repeats {
            progress("round \(round) of \(settings.repeats)")
            try takeRound()
        }
        return answers
    }

    /// In the order in which they were taken first.
    var answers: [Measurement] { order.compactMap { results[$0] } }

    // MARK: Keys

    static func key(
        _ quantity: String, _ subject: String, _ family: IPFamily, _ flows: FlowCount, services: Int? = nil,
        hook: Hook? = nil
    ) -> Measurement.Key {
        var conditions = [
            Measurement.Condition("family", "v\(family.rawValue)"), Measurement.Condition("flows", "\(flows)"),
        ]
        if let services { conditions.append(Measurement.Condition("services", "\(services)")) }
        if let hook { conditions.append(Measurement.Condition("hook", hook.rawValue)) }
        return Measurement.Key(.packet, quantity, of: subject, conditions)
    }

    /// What figures of known flows, or of new ones, are divided by.
    static func reference(new: Bool, _ family: IPFamily, _ flows: FlowCount) -> Measurement.Key {
        key(
            new ? "new-flow" : "established", "floor \((new ? Floor.lruInsert : .lruHit).rawValue)", family, flows)
    }

    // MARK: Recording

    /// Adds a sample; the first problem of a measurement is what it has failed by.
    func record(
        _ key: Measurement.Key, _ sample: Double?, reference: Measurement.Key? = nil, problem: String? = nil,
        note: String? = nil
    ) {
        if results[key] == nil { order.append(key) }
        var result = results[key] ?? Measurement(key, in: .nanosecondsPerPacket, reference: reference)
        if let sample { result.samples.append(sample) }
        if let problem, result.outcome == .measured { result.outcome = .failed(problem) }
        if let note { result.note = note }
        results[key] = result
    }

    /// A measurement that cannot be taken.
    func skip(_ key: Measurement.Key, _ reason: String) {
        if results[key] == nil { order.append(key) }
        results[key] = Measurement(key, in: .nanosecondsPerPacket, outcome: .skipped(reason))
    }

    /// What the harness takes for such packets just now: the less of two, since anything that came between has made the
    /// other longer.
    func harness(
        _ rig: Rig, _ hook: Hook, _ frame: Frame, _ flows: FlowCount, chunk: Int? = nil
    ) throws -> Double {
        var least = Double.infinity
        for _ in 0..<2 {
            let run = try rig.programs.run(
                rig.programs.empty(hook), on: hook, frame, .scattered(flows), runs: runs, chunk: chunk)
            guard run.verdict == hook.pass else {
                throw BenchmarkError.preparationFailed(
                    "the empty program of \(hook.rawValue) returned \(run.verdict)")
            }
            least = min(least, run.nanoseconds)
        }
        return least
    }
}

// MARK: Samples

extension PacketRun {
    /// Packets of which it does not matter when they come.
    func take(
        _ key: Measurement.Key, _ rig: Rig, _ program: DatapathProgram, _ frame: Frame, _ flows: FlowCount,
        expecting expected: Expectation, reference: Measurement.Key? = nil, chunk: Int? = nil
    ) throws {
        let base = try harness(rig, program.hook, frame, flows, chunk: chunk)
        let (run, problem) = try rig.run(
            program, frame, .scattered(flows), runs: runs, chunk: chunk, expecting: expected)
        record(key, run.nanoseconds - base, reference: reference, problem: problem)
    }

    /// Packets that open flows of a set, into a table that is full.
    func takeNew(
        _ key: Measurement.Key, _ rig: Rig, _ program: DatapathProgram, _ set: FlowSet, _ table: FlowCount
    ) throws {
        let frame = set.opening
        let base = try harness(rig, program.hook, frame, table)
        let next = rig.nextNew[set] ?? 0
        let (run, problem) = try rig.run(
            program, frame, .endless(from: next), runs: runs,
            expecting: Expectation(counters: [.forwardNew], verdict: set.verdict))
        rig.nextNew[set] = next + UInt64(runs)
        record(
            key, run.nanoseconds - base, reference: Self.reference(new: true, set.family, table), problem: problem)
    }

    /// Over the flows of a set at the beginning of a tick, when each is looked after; then over the first of them again,
    /// in the same tick. A walk of ``longestWalk`` is enough for the first to be out of every cache by then.
    ///
    /// - Parameter first: the key of the first walk's figure.
    func takeKnown(
        _ later: Measurement.Key, first: Measurement.Key, _ rig: Rig, _ program: DatapathProgram, _ set: FlowSet,
        _ frame: Frame, _ flows: FlowCount, expecting expected: Expectation
    ) throws {
        let reference = Self.reference(new: false, set.family, flows)
        let base = try harness(rig, program.hook, frame, flows)
        let isReply = expected.counters.contains(.reverseTranslated)
        var walked = min(flows.count, Self.longestWalk)
        for attempt in 1...Self.attempts {
            // With more runs than were walked, some would be first ones.
            let again = walked < flows.count ? min(runs, walked) : runs
            let showsFirst = walked >= Self.shortestFirstWalk
            FlowClock.wait(
                after: showsFirst ? Self.lastBusyTick(rig, set, isReply: isReply) : 0,
                needed: Double(walked) * 1500 + Double(again) * 1000)
            let tick = FlowClock.tick
            let fresh = try rig.run(program, frame, .scattered(flows), runs: walked, expecting: expected)
            let warm = try rig.run(program, frame, .scattered(flows), runs: again, expecting: expected)
            let end = FlowClock.tick
            rig.lastTouched[set] = end
            if !isReply { rig.lastSent[set] = end }
            if attempt == 1, showsFirst {
                record(first, fresh.run.nanoseconds - base, reference: reference, problem: fresh.problem)
            }
            if end == tick || warm.problem != nil {
                record(later, warm.run.nanoseconds - base, reference: reference, problem: warm.problem)
                return
            }
            walked = flows.count <= Self.longestWalk / 2 ? walked : max(walked / 2, Self.shortestFirstWalk)
        }
        record(
            later, nil, reference: reference,
            problem: "two walks did not fit into one tick of the flow clock (0.54 s): the machine is busy")
    }

    /// The last tick in which a packet of the set would not be its flow's first.
    private static func lastBusyTick(_ rig: Rig, _ set: FlowSet, isReply: Bool) -> UInt64 {
        let touched = (rig.lastTouched[set] ?? 0) + backendIdleTicks - 1
        return isReply ? touched : max(touched, (rig.lastSent[set] ?? 0) + clientIdleTicks - 1)
    }

    /// A floor over the flows of a walk.
    func take(_ floor: Floor, _ key: Measurement.Key, _ rig: Rig, _ frame: Frame, _ walk: Walk, _ flows: FlowCount)
        throws
    {
        let base = try harness(rig, .xdp, frame, flows)
        let (run, failures) = try rig.programs.run(floor, frame, walk, runs: runs)
        let isInsert = floor == .lruInsert || floor == .denseInsert
        let reference = Self.reference(new: isInsert, frame.family, flows)
        // Flows of one line that found no room in it are a property of such a table.
        let most = floor == .denseHit ? Double(runs) * Self.mostLost : 0
        let hasFailed = Double(failures) > most || (failures == 0 && run.verdict != Hook.xdp.send)
        let lost = failures == 0 ? nil : "\(failures) of \(runs) lookups missed: their lines were full of other flows"
        record(
            key, run.nanoseconds - base, reference: reference == key || floor == .macSwap ? nil : reference,
            problem: hasFailed ? "\(floor.rawValue): \(failures) of \(runs) runs failed, verdict \(run.verdict)" : nil,
            note: lost)
    }

    /// Somebody else's program, with whatever it makes of the packets.
    func take(
        _ other: PinnedTarget, _ key: Measurement.Key, _ rig: Rig, _ frame: Frame, _ walk: Walk, _ flows: FlowCount,
        reference: Measurement.Key?
    ) throws {
        let base = try harness(rig, other.hook, frame, flows)
        let run = try rig.programs.run(other.program, on: other.hook, frame, walk, runs: runs)
        record(
            key, run.nanoseconds - base, reference: reference,
            note: "\(other.describe(run.verdict)) in the end; what it counts is not known")
    }
}
