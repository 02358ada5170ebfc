internal import BPF
public import Dataplane
internal import FoundationEssentials
internal import Glibc
internal import NeedletailABI
internal import NetTypes
internal import Planning

/// The kinds of events, as they are asked for and shown.
public enum EventKindName: String, Sendable, Hashable, CaseIterable, Encodable {
    /// A flow has begun.
    case new
    /// A packet was refused.
    case refused
    /// A rare path was taken.
    case fallback

    /// Reads kinds joined by commas.
    public static func set(_ text: String) throws(FilterError) -> DatapathEvent.Kinds {
        var kinds: DatapathEvent.Kinds = []
        for name in text.lowercased().split(separator: ",", omittingEmptySubsequences: false) {
            guard let kind = Self(rawValue: String(name)) else {
                throw FilterError(description: "expected new, refused and fallback, joined by commas")
            }
            kinds.formUnion(kind.bits)
        }
        return kinds
    }

    private var bits: DatapathEvent.Kinds {
        switch self {
        case .new: .newFlow
        case .refused: .refused
        case .fallback: .fallback
        }
    }

    init?(_ kinds: DatapathEvent.Kinds) {
        guard let kind = Self.allCases.first(where: { kinds.contains($0.bits) }) else { return nil }
        self = kind
    }
}

/// Which events to show. What is `nil` matches all.
public struct EventFilter: Sendable, Hashable {
    /// The kinds.
    public var kinds: DatapathEvent.Kinds = .all
    /// The Service, or one port of it.
    public var service: ServiceSelector?
    /// The backend.
    public var backend: BackendFilterTarget?
    /// Who sent the packet.
    public var source: EndpointFilter?

    /// Everything.
    public init() {}

    func matches(_ event: DatapathEvent, _ snapshot: Snapshot) -> Bool {
        kinds.contains(event.kind) && (source.map { $0.matches(event.packet.source) } ?? true)
            && (service.map { wanted in
                event.service.map { wanted.matches(snapshot.image.services[$0], snapshot.ports(of: $0)) } ?? false
            } ?? true)
            && (backend.map { wanted in
                event.backend.map { wanted.matches($0.rawValue, snapshot.image.backends[$0]?.endpoint) } ?? false
            } ?? true)
    }
}

/// Something that happened to a packet.
public struct EventView: Encodable, Sendable {
    /// When, UTC, to the millisecond.
    public let time: String
    /// Which kind of event.
    public let kind: EventKindName
    /// The program that tells it; `socket` for the socket hooks.
    public let program: String
    /// The counter that moved with it: why.
    public let reason: String
    /// The same in words.
    public let explanation: String
    /// `TCP` or `UDP`.
    public let `protocol`: String
    /// The sender, before any translation.
    public let source: EndpointView
    /// The receiver, before any translation.
    public let destination: EndpointView
    /// The service port, `NAMESPACE/NAME:PORT`; `?` and the id when its name is not in the maps, absent for none.
    public let service: String?
    /// The service port's id.
    public let serviceID: UInt32?
    /// The backend; absent for none, and when its id names nothing.
    public let backend: EndpointView?
    /// The backend's id.
    public let backendID: UInt32?

    init?(_ event: DatapathEvent, _ snapshot: Snapshot, clock: EventClock) {
        guard let kind = EventKindName(event.kind) else { return nil }
        time = clock.text(event.time)
        self.kind = kind
        program = event.program.name
        reason = event.counter.name
        explanation = event.counter.explanation
        self.protocol = "\(event.packet.source.transport)"
        source = EndpointView(event.packet.source)
        destination = EndpointView(event.packet.destination)
        service = event.service.map(snapshot.name(of:))
        serviceID = event.service?.rawValue
        backend = event.backend.flatMap { snapshot.image.backends[$0] }.map { EndpointView($0.endpoint) }
        backendID = event.backend?.rawValue
    }

    static func table(_ detail: Detail) -> TextTable {
        var table = TextTable(
            [
                .left("TIME"), .left("KIND"), .left("PROTO"), .left("SOURCE"), .left("DESTINATION"), .left("BACKEND"),
                .left("SERVICE"), .left("PROGRAM").wide, .left("REASON"),
            ], detail)
        // What usually comes, so that columns do not shift with each longer line.
        table.reserve([24, 8, 5, 21, 21, 21, 20, 16, 0])
        return table
    }

    var row: [String] {
        [
            time, kind.rawValue, self.protocol, source.text, destination.text,
            backend?.text ?? backendID.map { "?\($0)" } ?? "", service ?? "", program, reason,
        ]
    }
}

/// From the programs' clock to that on the wall.
struct EventClock {
    /// CLOCK_REALTIME less CLOCK_MONOTONIC, in nanoseconds.
    private let offset: Int64
    /// CLOCK_MONOTONIC when it was made.
    let start: UInt64

    init() {
        func now(_ clock: clockid_t) -> Int64 {
            var time = timespec()
            clock_gettime(clock, &time)
            return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
        }
        let monotonic = now(CLOCK_MONOTONIC)
        offset = now(CLOCK_REALTIME) - monotonic
        start = UInt64(monotonic)
    }

    /// `2026-01-31T12:00:00.250Z`.
    func text(_ monotonic: UInt64) -> String {
        let milliseconds = (Int64(clamping: monotonic) + offset) / 1_000_000
        let second = Date(timeIntervalSince1970: Double(milliseconds / 1000)).formatted(.iso8601)
        let fraction = String(milliseconds % 1000)
        return "\(second.dropLast()).\(String(repeating: "0", count: 3 - fraction.count))\(fraction)Z"
    }
}

/// Where events are written to as they come.
public struct EventWriter: ~Copyable {
    private enum Style {
        case table(TextTable)
        case documents(any DocumentEncoder)
    }

    private var style: Style
    private var isFirst = true
    private let write: (String) throws -> Void

    /// Writes a table.
    public init(_ detail: Detail, write: @escaping (String) throws -> Void) {
        style = .table(EventView.table(detail))
        self.write = write
    }

    /// Writes a document for each event.
    public init(_ encoder: some DocumentEncoder, write: @escaping (String) throws -> Void) {
        style = .documents(encoder)
        self.write = write
    }

    /// The titles, so that somebody who waits knows that it runs.
    mutating func begin() throws {
        if case .table(let table) = style { try write(table.render()) }
    }

    mutating func add(_ events: [EventView]) throws {
        guard !events.isEmpty else { return }
        switch style {
        case .table(var table):
            for event in events { table.add(event.row) }
            try write(table.body())
            table.removeRows()
            style = .table(table)
        case .documents(let encoder):
            try write(try events.map { try encoder.streamed($0) }.joined())
        }
    }
}

/// What a monitor showed and what it did not.
public struct MonitorSummary: Sendable, Hashable {
    /// Events shown.
    public var shown = 0
    /// Events that nobody was told of, because they came faster than they were read.
    public var lost: UInt64 = 0
}

extension Inspector {
    /// Shows events as they happen, until `count` have been shown or the task is cancelled.
    ///
    /// - Parameters:
    ///   - sample: one event in so many is told, by chance.
    ///   - isOver: asked each second; whether to stop.
    ///   - makeWriter: makes what events are written to.
    /// - Throws: ``InspectionError/Kind/notFound`` when the filter names a Service that is not there; ``DatapathError``
    ///   when somebody else watches; what the writer throws.
    public func monitor(
        _ filter: EventFilter, sample: UInt32, count: Int?, isOver: @escaping @Sendable () -> Bool,
        to makeWriter: @escaping @Sendable () -> EventWriter
    ) async throws -> MonitorSummary {
        let first = try snapshot()
        if let service = filter.service { _ = try first.ports(matching: service) }
        let lostBefore = try CounterReading(maps)[.eventLost]
        let clock = EventClock()
        let watch = try EventWatch(filter.kinds, sample: sample, pinnedIn: pins)
        defer { try? watch.stop() }
        var summary = MonitorSummary()
        summary.shown = try await withThrowingTaskGroup(of: Int?.self) { group in
            group.addTask {
                var names = EventNames(first, self)
                var writer = makeWriter()
                try writer.begin()
                var shown = 0
                for await batch in watch.batches {
                    var views: [EventView] = []
                    // What a watcher before us did not come to read is still in the ring.
                    for event in batch where event.time >= clock.start {
                        try names.refresh(for: event)
                        guard filter.matches(event, names.snapshot),
                            let view = EventView(event, names.snapshot, clock: clock)
                        else { continue }
                        views.append(view)
                        if shown + views.count == count { break }
                    }
                    try writer.add(views)
                    shown += views.count
                    if shown == count { break }
                }
                return shown
            }
            group.addTask {
                while !Task.isCancelled, !isOver() {
                    try? await Task.sleep(for: .seconds(1))
                    if !Task.isCancelled { try watch.renew() }
                }
                return nil
            }
            var shown = 0
            while let result = try await group.next() {
                // Whichever ends first ends the other.
                group.cancelAll()
                shown = result ?? shown
            }
            return shown
        }
        try watch.stop()
        summary.lost = try CounterReading(maps)[.eventLost] - lostBefore + UInt64(watch.dropped)
        return summary
    }
}

/// Names of what events tell of, read anew when they tell of what has none.
private struct EventNames {
    private(set) var snapshot: Snapshot
    private let inspector: Inspector
    private var read = ContinuousClock.now

    init(_ snapshot: Snapshot, _ inspector: Inspector) {
        self.snapshot = snapshot
        self.inspector = inspector
    }

    mutating func refresh(for event: DatapathEvent) throws {
        let isKnown =
            event.service.map { snapshot.image.services[$0] != nil } ?? true
            && event.backend.map { snapshot.image.backends[$0] != nil } ?? true
        // Ids are given again in time.
        let age = read.duration(to: .now)
        guard age > (isKnown ? .seconds(10) : .seconds(1)) else { return }
        snapshot = try inspector.snapshot()
        read = .now
    }
}
