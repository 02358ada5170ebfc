internal import ArgumentParser
internal import Dataplane
internal import Glibc
internal import Inspection
internal import UnixSignals

struct Monitor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show new flows, refused packets and fallbacks as they happen.",
        discussion: """
            The programs tell of them only while somebody watches, and one can at a time. Lines come until Ctrl-C, \
            --count or --duration; with -o json each is a document.

            EXAMPLES
              needletail monitor
              needletail monitor --kind refused --service shop/web
              needletail monitor --source 203.0.113.0/24 --count 10 -o json
              needletail monitor --kind new --sample 100 --duration 60
            """)

    @OptionGroup var global: GlobalOptions

    @Option(
        help: "Only of this Service: NAMESPACE/NAME[:PORT][/PROTOCOL].", transform: { try ServiceSelector($0) })
    var service: ServiceSelector?

    @Option(
        help: "Only of this backend: an id, ADDRESS, ADDRESS/LENGTH or ADDRESS:PORT.",
        transform: { try BackendFilterTarget($0) })
    var backend: BackendFilterTarget?

    @Option(
        help: "Only of packets from here: ADDRESS, ADDRESS/LENGTH or ADDRESS:PORT.",
        transform: { try EndpointFilter($0) })
    var source: EndpointFilter?

    @Option(
        help: ArgumentHelp("Only these kinds, joined by commas: new, refused, fallback.", valueName: "kinds"),
        completion: .list(EventKindName.allCases.map(\.rawValue)), transform: { try EventKindName.set($0) })
    var kind: DatapathEvent.Kinds?

    @Option(help: "Have one event in so many told, by chance.")
    var sample: UInt32 = 1

    @Option(help: "Stop after so many events.")
    var count: Int?

    @Option(help: "Stop after so many seconds.")
    var duration: Int?

    func validate() throws {
        for (name, value) in [("sample", Int(sample)), ("count", count ?? 1), ("duration", duration ?? 1)]
        where value < 1 {
            throw ValidationError("--\(name) must be 1 or more")
        }
    }

    func run() async throws {
        ignoreClosedPipes()
        try await reportingFailures {
            let filter = filter
            let end = duration.map { ContinuousClock.now + .seconds($0) }
            let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup)
            let inspector = try global.inspector()
            let output = global.answers.output
            let summary = try await untilSignalled(signals) {
                try await inspector.monitor(
                    filter, sample: sample, count: count,
                    isOver: { (end.map { $0 <= .now } ?? false) || readerHasGone() },
                    to: { Self.writer(output) })
            }
            if let lost = summary?.lost, lost > 0 {
                note("\(lost) events were lost, for they came too fast: narrow --kind, or take a part by --sample")
            }
        }
    }

    private var filter: EventFilter {
        var filter = EventFilter()
        filter.service = service
        filter.backend = backend
        filter.source = source
        if let kind { filter.kinds = kind }
        return filter
    }

    private static func writer(_ output: OutputFormat) -> EventWriter {
        switch output {
        case .table: EventWriter(.normal, write: writeAnswer)
        case .wide: EventWriter(.wide, write: writeAnswer)
        case .json: EventWriter(JSONDocument(), write: writeAnswer)
        case .yaml: EventWriter(YAMLDocument(), write: writeAnswer)
        }
    }

    /// Cancels the body when a signal comes, and lets it end.
    private func untilSignalled<Answer: Sendable>(
        _ signals: UnixSignalsSequence, _ body: @escaping @Sendable () async throws -> Answer
    ) async throws -> Answer? {
        try await withThrowingTaskGroup(of: Answer?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                for await _ in signals { break }
                return nil
            }
            var answer: Answer?
            while let result = try await group.next() {
                group.cancelAll()
                answer = result ?? answer
            }
            return answer
        }
    }
}

struct Stats: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the traffic of Services, and who has the most flows.",
        discussion: """
            Without --interval these are totals, since each Service has been there. With it they are rates, of the \
            time since the last reading, again and again until Ctrl-C or --count.

            EXAMPLES
              needletail stats
              needletail stats --interval 2 --top 5
              needletail stats --service shop/web --interval 1 --count 10 -o json
              needletail stats --sort refused -o wide
            """)

    @OptionGroup var global: GlobalOptions

    @Option(
        help: "Only of this Service: NAMESPACE/NAME[:PORT][/PROTOCOL].", transform: { try ServiceSelector($0) })
    var service: ServiceSelector?

    @Option(help: "Show rates, every so many seconds.")
    var interval: Int?

    @Option(help: "Show them so often.")
    var count: Int?

    @Option(help: "Show at most so many service ports, clients and backends.")
    var top = 20

    @Option(
        help: "What comes first: packets, bytes, flows or refused.",
        completion: .list(StatsOrder.allCases.map(\.rawValue)), transform: { try StatsOrder($0) })
    var sort = StatsOrder.packets

    @Flag(
        inversion: .prefixedNo,
        help: "Look through the flow tables for who has most of them, which takes a second for a million.")
    var flows = true

    func validate() throws {
        for (name, value) in [("interval", interval ?? 1), ("count", count ?? 1), ("top", top)] where value < 1 {
            throw ValidationError("--\(name) must be 1 or more")
        }
        if count != nil, interval == nil { throw ValidationError("--count is for --interval") }
    }

    func run() throws {
        var question = StatsQuestion()
        question.service = service
        question.top = top
        question.order = sort
        question.countsFlows = flows
        guard let interval else {
            try global.answer { try $0.stats(question).report }
            return
        }
        ignoreClosedPipes()
        try reportingFailures {
            let inspector = try global.inspector()
            var last = try inspector.stats(question).reading
            var shown = 0
            while count.map({ shown < $0 }) ?? true {
                sleep(UInt32(clamping: interval))
                let (report, reading) = try inspector.stats(question, since: last)
                last = reading
                try write(report, isFirst: shown == 0)
                shown += 1
            }
        }
    }

    private func write(_ report: StatsReport, isFirst: Bool) throws {
        switch global.answers.output {
        case .json: try writeAnswer(try JSONDocument().streamed(report))
        case .yaml: try writeAnswer(try YAMLDocument().streamed(report))
        case .table, .wide:
            // A terminal is cleared, so that it shows the last one alone.
            let gap = isatty(STDOUT_FILENO) == 1 ? "\u{1B}[H\u{1B}[2J" : isFirst ? "" : "\n"
            try writeAnswer(gap + report.text(global.answers.output == .wide ? .wide : .normal))
        }
    }
}

/// What is written until its reader goes away ends then, and well: `| head` is no failure.
private func ignoreClosedPipes() { signal(SIGPIPE, SIG_IGN) }

/// Whether nobody reads standard output any more, although nothing is being written.
private func readerHasGone() -> Bool {
    var output = pollfd(fd: STDOUT_FILENO, events: 0, revents: 0)
    return poll(&output, 1, 0) > 0 && Int32(output.revents) & (POLLERR | POLLHUP) != 0
}
