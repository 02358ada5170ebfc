internal import BPF
internal import Dataplane
internal import Planning

/// Looks through the flow table now and then. On a thread of its own: a million entries take a second, during which
/// changes of endpoints must not wait.
struct FlowCollector {
    private let table: FlowTable
    private let timeouts: FlowTimeouts

    init(_ datapath: Datapath, _ timeouts: FlowTimeouts) {
        table = FlowTable(datapath.maps)
        self.timeouts = timeouts
    }

    /// Removes expired flows, notes which candidates the others name, and fits the marks to their number. After a grace period no program is left that
    /// could begin a flow by what a frontend said before.
    func pass(_ candidates: ReclaimCandidates) throws -> FlowTable.Pass {
        if !candidates.isEmpty { GracePeriod.wait() }
        let pass = try table.collect(timeouts, noting: candidates)
        try table.fitMarks(toFlows: pass.entries.values.reduce(0, +) / 2)
        return pass
    }

    /// Ends UDP flows, when no program is left that could begin one of them.
    func end(_ flows: [FlowEnding]) throws -> FlowTable.Ending {
        GracePeriod.wait()
        return try table.end(flows)
    }
}

/// The collector's thread.
actor CollectorThread {
    private let collector: FlowCollector
    private let executor = QueueExecutor(label: "needletail.collector")

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(_ collector: FlowCollector) {
        self.collector = collector
    }

    func pass(_ candidates: ReclaimCandidates) throws -> FlowTable.Pass { try collector.pass(candidates) }

    func end(_ flows: [FlowEnding]) throws -> FlowTable.Ending { try collector.end(flows) }
}
