internal import CLinux
internal import Dataplane
internal import Glibc
internal import KubernetesWire
internal import NetTypes
internal import Planning
internal import Resolver
internal import ServiceModel

/// What an agent is between a watch and the maps, without its surroundings.
///
/// Everything the agent does in between is done by the same types: reading, catalog, resolver, tracker, planner, maps.
/// The datapath is loaded unpinned and attached nowhere, and ends with this object.
final class ProgrammedNode {
    /// What the first sync took, in milliseconds.
    struct FirstSync {
        /// From bytes to objects.
        let reading: Double
        /// From objects to what is desired.
        let resolving: Double
        /// From what is desired to writes.
        let planning: Double
        /// Performing them, the Maglev tables included.
        let writing: Double

        /// All of it.
        var total: Double { reading + resolving + planning + writing }
    }

    /// What single changes took.
    struct Changes {
        /// From before the bytes of a change are read to after its last map write, in microseconds.
        var latencies: [Double] = []
        /// Processor time of all, in microseconds.
        var processor = 0.0
        /// Map writes of all.
        var writes = 0
    }

    /// What changes at a rate took.
    struct Churn {
        /// From the time a change was due to after its last map write, in microseconds.
        var latencies: [Double] = []
        /// Changes a second that were taken in.
        var rate = 0.0
        /// Part of the time that a processor was busy, in percent.
        var load = 0.0
    }

    private let objects: ClusterObjects
    private let datapath: Datapath
    private var maps: KernelMaps
    private var planner: Planner
    private var services: WatchReader
    private var slices: WatchReader
    private var catalog = Catalog()
    private let resolver = Resolver()
    private let context = NodeContext(nodeName: ClusterObjects.nodeName)
    private var desired = DesiredTracker()
    private var changes = DesiredChanges()
    /// The first sync is over: from now on, changes are planned.
    private var isPlanned = false
    private var count = 0
    private var unready: [Int: Int] = [:]
    private var random: UInt64 = 0x9E37_79B9_7F4A_7C15
    private var version = 0
    private var changesSinceReclaim = 0

    /// Loads a datapath for Services of so many endpoints. Needs root.
    ///
    /// - Throws: `BPFError` or `DatapathError` when the kernel refuses the programs or the memory.
    init(endpoints: Int, format: WireFormat = .protobuf) throws {
        objects = ClusterObjects(endpoints: endpoints, format: format)
        var options = DatapathSettings()
        // No packet comes: the flow tables can be small.
        options.maxTCPFlows = 1024
        options.maxUDPFlows = 1024
        datapath = try Datapath.load(options, pins: nil)
        maps = KernelMaps(datapath.maps)
        planner = try Planner(maps.read())
        services = WatchReader(kind: .service, format: format)
        slices = WatchReader(kind: .endpointSlice, format: format)
    }

    /// Whether there are addresses for so many Services.
    static func hasRoom(services: Int, endpoints: Int) -> Bool {
        services <= ClusterObjects.mostServices && services * endpoints <= ClusterObjects.mostEndpoints
    }

    /// The maps.
    var datapathMaps: DatapathMaps { datapath.maps }

    /// Takes in all that is there at the start of the watches.
    func program(services count: Int) throws -> FirstSync {
        self.count = count
        var events: [CatalogEvent] = []
        var reading = Duration.zero
        for index in 0..<count {
            let service = objects.service(index)
            let slice = objects.slice(index, "ADDED")
            let started = ContinuousClock.now
            events += try Self.read(service, &services)
            events += try Self.read(slice, &slices)
            reading += .now - started
        }
        events.append(.synced)
        let started = ContinuousClock.now
        resolve(catalog.apply(events))
        events = []
        let resolved = ContinuousClock.now
        let plan = planner.plan(all: DesiredChanges(all: desired))
        isPlanned = true
        let planned = ContinuousClock.now
        try perform(plan)
        return FirstSync(
            reading: reading.milliseconds, resolving: (resolved - started).milliseconds,
            planning: (planned - resolved).milliseconds, writing: (ContinuousClock.now - planned).milliseconds)
    }

    /// Makes changes one after the other, as many as there is time for, at least one: an endpoint of a random Service
    /// ceases to be ready, and is ready again the next time round.
    func change(for time: Duration, atMost most: Int) throws -> Changes {
        var result = Changes()
        let end = ContinuousClock.now + time
        repeat {
            let event = nextEvent()
            let (started, processor) = (ContinuousClock.now, ProcessClock.own)
            let writes = try take([event])
            result.latencies.append((ContinuousClock.now - started).microseconds)
            result.processor += ProcessClock.own - processor
            guard writes > 0 else {
                throw BenchmarkError.preparationFailed("change \(version) of \(count) Services changed nothing")
            }
            result.writes += writes
            changesSinceReclaim += 1
            if changesSinceReclaim >= 100 { try reclaim() }
        } while result.latencies.count < most && ContinuousClock.now < end
        return result
    }

    /// Takes in so many changes a second, those that are due at the same time together, as the agent does.
    func churn(_ rate: Int, for time: Duration) throws -> Churn {
        let total = max(1, Int(Double(rate) * time.milliseconds / 1000))
        let events = (0..<total).map { _ in nextEvent() }
        let interval = Duration.seconds(1) / rate
        var result = Churn()
        var done = 0
        try reclaim()
        var collect = ContinuousClock.now + Self.collectInterval
        let (started, processor) = (ContinuousClock.now, ProcessClock.own)
        while done < total {
            let now = ContinuousClock.now
            let due = min(total, Int((now - started) / interval) + 1)
            guard due > done else {
                usleep(UInt32(max(1, (started + interval * done - now).microseconds)))
                continue
            }
            _ = try take(Array(events[done..<due]))
            let end = ContinuousClock.now
            result.latencies += (done..<due).map { (end - (started + interval * $0)).microseconds }
            done = due
            if ContinuousClock.now >= collect {
                try reclaim()
                collect = .now + Self.collectInterval
            }
        }
        // The last change is due one interval before the end.
        let wall = max((ContinuousClock.now - started).milliseconds, Double(total) * interval.milliseconds)
        result.rate = Double(total) / wall * 1000
        result.load = (ProcessClock.own - processor) / 10 / wall
        return result
    }

    /// Looks through all maps as the agent does all the time; returns what the longest step took, in microseconds.
    ///
    /// - Throws: ``BenchmarkError/preparationFailed(_:)`` when the maps are not as they were left.
    func audit() throws -> Double {
        try datapath.maps.store(NodeState())
        var audit = MapAudit()
        var longest = 0.0
        while audit.rounds == 0 {
            let started = ContinuousClock.now
            let found = try audit.step(&maps, planner, NodeRecords())
            longest = max(longest, (ContinuousClock.now - started).microseconds)
            guard found.isEmpty else {
                throw BenchmarkError.preparationFailed("the audit finds \(found.count) entries changed: \(found[0])")
            }
        }
        return longest
    }

    /// Why the maps are not what they should be after all changes; `nil` if they are.
    func problem() throws -> String? {
        let image = try maps.read()
        guard image == planner.image else { return "the maps differ from what was written to them" }
        guard image.frontends.count == count else { return "\(image.frontends.count) frontends for \(count) Services" }
        let rest = try Planner.plan(from: image, to: desired.state).writes.count
        return rest == 0 ? nil : "\(rest) writes are missing"
    }

    private func nextEvent() -> [UInt8] {
        random ^= random << 13
        random ^= random >> 7
        random ^= random << 17
        let index = Int(random % UInt64(count))
        unready[index] = unready[index] == nil ? Int(random >> 32) % objects.endpoints : nil
        version += 1
        return objects.slice(index, "MODIFIED", unready: unready[index], version: version)
    }

    /// From bytes to maps; returns how many writes that took.
    private func take(_ received: [[UInt8]]) throws -> Int {
        var events: [CatalogEvent] = []
        for bytes in received { events += try Self.read(bytes, &slices) }
        resolve(catalog.apply(events))
        // The agent looks for these at every sync.
        guard desired.conflicts.isEmpty, desired.problems.isEmpty else {
            throw BenchmarkError.preparationFailed("Services are in conflict, or wrong")
        }
        let plan = planner.plan(changes)
        changes = DesiredChanges()
        try perform(plan)
        return plan.writes.count
    }

    /// How often the agent looks for what is unused, unless it is told otherwise (`--collect-interval`).
    private static let collectInterval = Duration.seconds(5)

    /// Frees what no frontend names, as the agent does now and then. No flow can name it: there are none.
    private func reclaim() throws {
        changesSinceReclaim = 0
        for _ in 0..<2 {
            // In one expression: a copy of the image that lives on would be copied by the first write.
            let writes = Planner.reclaim(
                planner.image, candidates: ReclaimCandidates(planner.image), inUse: FlowUsage())
            try perform(writes)
        }
    }

    private static func read(_ bytes: [UInt8], _ reader: inout WatchReader) throws -> [CatalogEvent] {
        reader.append(bytes.span.bytes)
        var events: [CatalogEvent] = []
        while let event = try reader.next() {
            switch event {
            case .upsert(let received): events.append(.upsert(received.object))
            case .delete(let received):
                let id = received.object.id
                events.append(.delete(id.kind, id.name))
            case .bookmark, .failure: continue
            }
        }
        return events
    }

    private func resolve(_ changed: Catalog.Changes) {
        for name in changed.services {
            let service = catalog.services[name].map {
                resolver.resolve($0, slices: catalog.slices(of: name), context: context)
            }
            if isPlanned { desired.update(name, service, &changes) } else { desired.update(name, service) }
        }
    }

    private func perform(_ plan: Plan) throws {
        guard plan.problems.isEmpty else {
            throw BenchmarkError.preparationFailed(plan.problems.map(\.description).joined(separator: "; "))
        }
        try perform(plan.writes)
    }

    private func perform(_ writes: [MapWrite]) throws {
        try maps.perform(writes)
        for write in writes { planner.performed(write) }
    }
}

/// Processor time, user and system, in microseconds.
enum ProcessClock {
    /// Of this process so far.
    static var own: Double { read(CLOCK_PROCESS_CPUTIME_ID) ?? 0 }

    /// Of another process so far; `nil` when there is none.
    static func of(_ pid: pid_t) -> Double? {
        var clock = clockid_t()
        guard clock_getcpuclockid(pid, &clock) == 0 else { return nil }
        return read(clock)
    }

    private static func read(_ clock: clockid_t) -> Double? {
        var time = timespec()
        guard clock_gettime(clock, &time) == 0 else { return nil }
        return Double(time.tv_sec) * 1e6 + Double(time.tv_nsec) / 1000
    }
}
