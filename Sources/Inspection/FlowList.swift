internal import Dataplane
internal import NeedletailABI

/// Where flows are written to, chunk by chunk, so that a table of a million is never held as text.
public struct FlowWriter: ~Copyable {
    private enum Style {
        case table(TextTable)
        case document(any DocumentEncoder)
    }

    private var style: Style
    private var isFirst = true
    private let write: (String) throws -> Void

    /// Writes a table. Columns are as wide as the first chunk needs.
    public init(_ detail: Detail, write: @escaping (String) throws -> Void) {
        style = .table(FlowView.table(detail))
        self.write = write
    }

    /// Writes a document with the one key `flows`.
    public init(_ encoder: some DocumentEncoder, write: @escaping (String) throws -> Void) {
        style = .document(encoder)
        self.write = write
    }

    mutating func add(_ flows: [FlowView]) throws {
        guard !flows.isEmpty else { return }
        try put(flows)
    }

    mutating func finish() throws {
        if case .document(let encoder) = style {
            if isFirst { try write(encoder.listStart(key: "flows")) }
            try write(encoder.listEnd(isEmpty: isFirst))
        } else if isFirst {
            try put([])
        }
    }

    private mutating func put(_ flows: [FlowView]) throws {
        switch style {
        case .table(var table):
            for flow in flows { table.add(flow.row) }
            try write(isFirst ? table.render() : table.body())
            table.removeRows()
            style = .table(table)
        case .document(let encoder):
            if isFirst { try write(encoder.listStart(key: "flows")) }
            try write(encoder.listChunk(flows, isFirst: isFirst))
        }
        isFirst = false
    }
}

/// What a listing of flows left out.
public struct FlowListSummary: Sendable, Hashable {
    /// Flows written.
    public var shown = 0
    /// Flows that matched. Not counted to the end when a limit was reached in a table too large to sort.
    public var matched = 0
    /// Whether they came in order: see ``Inspector/largestSort``.
    public var isSorted = true
}

/// What a flush did, or would do.
public struct FlushReport: Report {
    /// Flows removed, or that would be.
    public let flows: Int
    /// Whether nothing was removed.
    public let dryRun: Bool

    /// One line.
    public func text(_ detail: Detail) -> String {
        dryRun
            ? "\(Quantity.count(flows, "flow")) would be flushed\n" : "\(Quantity.count(flows, "flow")) flushed\n"
    }
}

/// Ends a pass over the flow table early.
private struct EnoughFlows: Error {}

extension Inspector {
    /// The largest number of flows that are collected to be sorted. More are written as they are read.
    public static let largestSort = 50_000

    /// Writes the flows a filter lets through, both entries of each as one: by frontend, then client, unless there are
    /// more than `sortLimit`.
    ///
    /// - Throws: ``InspectionError/Kind/notFound`` when the filter names a Service that is not there.
    public func flows(
        _ filter: FlowFilter = FlowFilter(), limit: Int? = nil, sortLimit: Int = Inspector.largestSort,
        to writer: consuming FlowWriter
    ) throws -> FlowListSummary {
        var pass = FlowPass(limit: limit ?? .max, sortLimit: sortLimit)
        var writer = writer
        let snapshot = try checkedSnapshot(filter)
        do {
            try forEachFlow(filter, snapshot) { try pass.take($0, &writer) }
        } catch is EnoughFlows {
            // The limit is reached; the rest need not be read.
        }
        try pass.finish(&writer)
        try writer.finish()
        return pass.summary
    }

    /// Removes the flows a filter lets through, both entries of each. Their next packets are balanced anew.
    ///
    /// - Throws: ``InspectionError/Kind/notFound`` when the filter names a Service that is not there.
    public func flush(_ filter: FlowFilter, dryRun: Bool) throws -> FlushReport {
        let snapshot = try checkedSnapshot(filter)
        guard dryRun else {
            return FlushReport(flows: try FlowTable(maps).flush { filter.matches($0, snapshot) }, dryRun: false)
        }
        var count = 0
        try forEachFlow(filter, snapshot) { _ in count += 1 }
        return FlushReport(flows: count, dryRun: true)
    }

    private func checkedSnapshot(_ filter: FlowFilter) throws -> Snapshot {
        let snapshot = try snapshot()
        try snapshot.check(namespace: filter.namespace, name: filter.name)
        if let service = filter.service { _ = try snapshot.ports(matching: service) }
        return snapshot
    }

    /// Each flow once: by its forward entry, or by its reply entry where that is all there is.
    private func forEachFlow(
        _ filter: FlowFilter, _ snapshot: Snapshot, _ body: (FlowView) throws -> Void
    ) throws {
        let table = FlowTable(maps)
        try table.forEach { entry in
            guard filter.matches(entry, snapshot) else { return }
            let peer = try table.peer(of: entry)
            guard entry.direction == .forward || peer == nil else { return }
            try body(FlowView(entry, peer: peer, snapshot))
        }
    }
}

/// Collects flows to sort them, and passes them on unsorted once there are too many.
private struct FlowPass {
    let limit: Int
    let sortLimit: Int
    var summary = FlowListSummary()
    private var pending: [FlowView] = []
    private static let chunk = 1024

    init(limit: Int, sortLimit: Int) {
        self.limit = limit
        self.sortLimit = sortLimit
    }

    mutating func take(_ flow: FlowView, _ writer: inout FlowWriter) throws {
        summary.matched += 1
        pending.append(flow)
        if summary.isSorted, pending.count > sortLimit { summary.isSorted = false }
        guard !summary.isSorted, pending.count >= Self.chunk else { return }
        try flush(&writer)
        if summary.shown >= limit { throw EnoughFlows() }
    }

    mutating func finish(_ writer: inout FlowWriter) throws {
        if summary.isSorted { pending.sort { $0.order < $1.order } }
        try flush(&writer)
    }

    private mutating func flush(_ writer: inout FlowWriter) throws {
        let shown = Array(pending.prefix(max(0, limit - summary.shown)))
        try writer.add(shown)
        summary.shown += shown.count
        pending.removeAll(keepingCapacity: true)
    }
}
