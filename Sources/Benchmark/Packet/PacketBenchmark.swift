internal import BPF
internal import Dataplane
internal import NeedletailABI
internal import NetTypes

/// Measures the datapath's programs, one packet at a time, by BPF_PROG_TEST_RUN.
///
/// Everything to be compared is set up first and then measured in turns, round by round, so that whatever slows the
/// machine for a while slows all cases alike. Each measurement is checked against the datapath's own counters.
public final class PacketBenchmark {
    private let settings: PacketSettings
    private let progress: (String) -> Void
    private let started = FlowClock.now
    /// Rigs with established flows, by their number.
    private var steady: [FlowCount: Rig] = [:]
    /// Rigs whose tables are full and get new flows only, by the flows they have room for.
    private var churning: [FlowCount: Rig] = [:]
    private var results: [PacketCase: Series] = [:]
    private var order: [PacketCase] = []

    private struct Series {
        var runs = 0
        var raw: [Double] = []
        var net: [Double] = []
        var problem: String?
    }

    private init(_ settings: PacketSettings, _ progress: @escaping (String) -> Void) {
        self.settings = settings
        self.progress = progress
    }

    /// Runs the benchmark. Needs root; attaches nothing, and leaves nothing behind.
    ///
    /// - Parameter progress: gets a line now and then.
    /// - Throws: `BPFError` or `DatapathError` when the kernel refuses the programs or the memory,
    ///   ``BenchmarkError/preparationFailed(_:)`` when flows could not be set up.
    public static func run(_ settings: PacketSettings, progress: @escaping (String) -> Void) throws -> PacketReport {
        let benchmark = PacketBenchmark(settings, progress)
        try benchmark.prepare()
        for round in 1...settings.rounds {
            if round > 1, benchmark.elapsed > Double(settings.seconds) {
                progress("no time for round \(round) of \(settings.rounds)")
                break
            }
            progress("round \(round) of \(settings.rounds)")
            for flows in settings.flows { for family in settings.families { try benchmark.references(flows, family) } }
            for program in settings.programs {
                for family in settings.families {
                    for flows in settings.flows { try benchmark.measure(program, family, flows) }
                }
            }
        }
        return benchmark.report
    }

    /// Seconds since the beginning.
    private var elapsed: Double { Double(FlowClock.now - started) / 1e9 }

    private var sets: [FlowSet] {
        let sides = Set(settings.programs.map(\.side))
        return FlowSet.all.filter { sides.contains($0.side) && settings.families.contains($0.family) }
    }

    private var report: PacketReport {
        let answers = order.map { what in
            let series = results[what] ?? Series()
            return PacketResult(
                what: what, runs: series.runs, raw: Statistics(series.raw), net: Statistics(series.net),
                problem: series.problem)
        }
        return PacketReport(
            machine: Machine(), settings: settings, results: answers, mapBytes: Memory.maps, peakBytes: Memory.peak,
            seconds: elapsed)
    }
}

// MARK: Preparation

extension PacketBenchmark {
    private func prepare() throws {
        for flows in settings.flows {
            progress("preparing \(flows) flow(s)")
            // Some room to spare: free entries are kept per CPU, out of reach of the others.
            let rig = try Rig(tableFlows: flows.count * ClientSide.allCases.count + flows.count / 8 + 4096)
            for set in sets { try rig.prime(set, flows: flows) }
            for family in settings.families {
                let problem = try rig.programs.run(
                    .lruInsert, floorFrame(family), .ordered(flows), runs: flows.count
                ).problem
                if let problem { throw BenchmarkError.preparationFailed(problem) }
            }
            steady[flows] = rig
        }
        for flows in tables where churning[flows] == nil {
            progress("filling tables of \(flows) flows")
            let rig = try Rig(tableFlows: flows.count)
            churning[flows] = rig
            for set in sets where set.side == sets.first?.side {
                try fill(rig, set, flows)
            }
        }
    }

    /// Rooms of the tables that new flows go into.
    private var tables: [FlowCount] {
        Set(settings.flows.compactMap { FlowCount(max($0.count, PacketSettings.smallestTable)) }).sorted()
    }

    private func fill(_ rig: Rig, _ set: FlowSet, _ flows: FlowCount) throws {
        let runs = flows.count + flows.count / 8
        let program: DatapathProgram = set.side == .external ? .externalIngress : .workloadIngress
        let opened = try rig.run(
            program, frame(.newFlow, set), .endless(from: 0), runs: runs, expecting: .forwardNew)
        if let problem = opened.problem { throw BenchmarkError.preparationFailed(problem) }
        rig.nextNew[set] = UInt64(runs)
        // The floor has one entry for a flow, the datapath two.
        let inserted = try rig.programs.run(
            .lruInsert, floorFrame(set.family), .endless(from: 0), runs: runs * 2)
        if let problem = inserted.problem { throw BenchmarkError.preparationFailed(problem) }
        rig.nextInsert[set.family] = UInt64(runs * 2)
    }

    private func floorFrame(_ family: IPFamily) -> Frame {
        frame(.established, FlowSet(side: .external, family: family))
    }

    private func frame(_ kind: PacketCase.Kind, _ set: FlowSet, egress: Bool = false) -> Frame {
        let service = BenchService(family: set.family)
        let known = egress ? service.backend : service.frontend(set.side)
        return Frame(
            clients: service.clients(set.side), peer: kind == .notService ? service.stranger : known, isReply: egress,
            kind: kind == .newFlow ? .syn : .data)
    }
}

// MARK: Measuring

extension PacketBenchmark {
    private func record(_ what: PacketCase, _ run: TestRun?, runs: Int, problem: String?) {
        if results[what] == nil { order.append(what) }
        var series = results[what] ?? Series()
        series.runs = runs
        if let problem, series.problem == nil { series.problem = problem }
        if let run {
            let raw = Double(run.durationPerRun)
            series.raw.append(raw)
            series.net.append(raw - harness(for: what))
        }
        results[what] = series
    }

    /// This round's cost of the harness at the case's hook, 0 for the harness itself.
    private func harness(for what: PacketCase) -> Double {
        guard what.kind != .empty else { return 0 }
        let hook: Hook = what.program == "floor" || what.program == DatapathProgram.externalXDP.name ? .xdp : .tc
        // New flows are labelled by their table's room, which may be none of the flow counts asked for.
        let flows = steady[what.flows] == nil ? settings.flows[0] : what.flows
        return results[Self.harnessCase(hook, what.family, flows)]?.raw.last ?? 0
    }

    private static func harnessCase(_ hook: Hook, _ family: IPFamily, _ flows: FlowCount) -> PacketCase {
        PacketCase(program: "harness-\(hook.rawValue)", kind: .empty, family: family, flows: flows)
    }

    /// The harness and the floors.
    private func references(_ flows: FlowCount, _ family: IPFamily) throws {
        guard let rig = steady[flows] else { return }
        let frame = floorFrame(family)
        for hook in Hook.allCases {
            let programs = rig.programs
            let run = try programs.run(
                programs.empty(hook), on: hook, frame, .scattered(flows), runs: settings.runs)
            let problem = run.signedVerdict == hook.pass ? nil : "verdict \(run.signedVerdict)"
            record(Self.harnessCase(hook, family, flows), run, runs: settings.runs, problem: problem)
        }
        for (floor, kind) in [(Floor.macSwap, PacketCase.Kind.macSwap), (.lruHit, .lruHit)] {
            let (run, problem) = try rig.programs.run(floor, frame, .scattered(flows), runs: settings.runs)
            record(
                PacketCase(program: "floor", kind: kind, family: family, flows: flows), run, runs: settings.runs,
                problem: problem)
        }
        guard let (table, churn) = churnRig(for: flows) else { return }
        let (run, problem) = try churn.programs.run(
            .lruInsert, frame, .endless(from: churn.nextInsert[family] ?? 0), runs: settings.runs)
        churn.nextInsert[family, default: 0] += UInt64(settings.runs)
        record(
            PacketCase(program: "floor", kind: .lruInsert, family: family, flows: table), run, runs: settings.runs,
            problem: problem)
    }

    /// The rig for new flows, for the first of the flow counts that share it.
    private func churnRig(for flows: FlowCount) -> (FlowCount, Rig)? {
        guard let table = FlowCount(max(flows.count, PacketSettings.smallestTable)), let rig = churning[table],
            settings.flows.first(where: { max($0.count, PacketSettings.smallestTable) == table.count }) == flows
        else { return nil }
        return (table, rig)
    }

    private func measure(_ program: DatapathProgram, _ family: IPFamily, _ flows: FlowCount) throws {
        guard let rig = steady[flows] else { return }
        let set = FlowSet(side: program.side, family: family)
        let name = program.name
        try measureKnownFlows(program, set, flows, rig)
        let stray = try rig.run(
            program, frame(.notService, set, egress: program.isEgress), .scattered(flows), runs: settings.runs,
            expecting: .passNotService)
        record(
            PacketCase(program: name, kind: .notService, family: family, flows: flows), stray.run,
            runs: settings.runs, problem: stray.problem)
        guard !program.isEgress, let (table, churn) = churnRig(for: flows) else { return }
        let next = churn.nextNew[set] ?? 0
        let opened = try churn.run(
            program, frame(.newFlow, set), .endless(from: next), runs: settings.runs,
            expecting: .forwardNew)
        churn.nextNew[set] = next + UInt64(settings.runs)
        record(
            PacketCase(program: name, kind: .newFlow, family: family, flows: table), opened.run, runs: settings.runs,
            problem: opened.problem)
    }

    /// Over the flows at the beginning of a tick, when each is written to; then over the first of them again, in the
    /// same tick. A walk of ``longestWalk`` is enough for the first to be out of every cache by then.
    private func measureKnownFlows(
        _ program: DatapathProgram, _ set: FlowSet, _ flows: FlowCount, _ rig: Rig
    ) throws {
        let expected: DatapathCounter = program.isEgress ? .reverseTranslated : .forwardEstablished
        let (first, later): (PacketCase.Kind, PacketCase.Kind) =
            program.isEgress ? (.replyFirst, .reply) : (.establishedFirst, .established)
        let frame = frame(later, set, egress: program.isEgress)
        let walked = min(flows.count, Self.longestWalk)
        // With more runs than were walked, some would be first ones.
        let runs = walked < flows.count ? min(settings.runs, walked) : settings.runs
        // Of a short walk, the fixed cost of a measurement is all there is to see.
        let showsFirst = flows.count >= 1 << 14
        for attempt in 1...Self.attempts {
            FlowClock.wait(
                after: showsFirst ? rig.lastTouched[set] ?? 0 : 0, needed: Double(walked) * 1500 + Double(runs) * 1000)
            let tick = FlowClock.tick
            let fresh = try rig.run(program, frame, .scattered(flows), runs: walked, expecting: expected)
            let again = try rig.run(program, frame, .scattered(flows), runs: runs, expecting: expected)
            let end = FlowClock.tick
            rig.lastTouched[set] = end
            if attempt == 1, showsFirst {
                record(
                    PacketCase(program: program.name, kind: first, family: set.family, flows: flows), fresh.run,
                    runs: walked, problem: fresh.problem)
            }
            guard end == tick || attempt == Self.attempts else { continue }
            record(
                PacketCase(program: program.name, kind: later, family: set.family, flows: flows),
                end == tick ? again.run : nil, runs: runs, problem: again.problem)
            return
        }
    }

    /// 256 k flows, whose entries and buckets are some 300 bytes each.
    private static let longestWalk = 1 << 18

    /// How often both walks may fail to fit in one tick, as they do when others want the processor too.
    private static let attempts = 3
}
