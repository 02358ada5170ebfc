internal import Dataplane
internal import KubernetesWire
internal import NetTypes
internal import Planning
internal import Resolver
internal import ServiceModel

/// Measures how long it takes from the bytes of an event of a watch to the maps of the datapath, with so many Services
/// in place.
///
/// Everything the agent does in between is done by the same types: reading, catalog, resolver, tracker, planner, maps.
/// The datapath is loaded unpinned and attached nowhere, and ends with the process.
public enum ProgrammingBenchmark {
    /// Runs the benchmark. Needs root.
    ///
    /// - Parameter progress: gets a line now and then.
    /// - Throws: `BPFError` or `DatapathError` when the kernel refuses the programs or the memory, `WireError` or
    ///   ``BenchmarkError/preparationFailed(_:)`` when what was made up is not understood.
    public static func run(
        _ settings: ProgrammingSettings, progress: (String) -> Void
    ) throws -> ProgrammingReport {
        var results: [ProgrammingResult] = []
        for count in settings.services {
            progress("\(count) Services of \(settings.endpoints) endpoints")
            let node = try ProgrammedNode(settings)
            results.append(try node.measure(services: count, changes: settings.changes))
        }
        return ProgrammingReport(machine: Machine(), settings: settings, results: results)
    }
}

/// What an agent is between a watch and the maps, without its surroundings.
private final class ProgrammedNode {
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

    init(_ settings: ProgrammingSettings) throws {
        objects = ClusterObjects(endpoints: settings.endpoints, format: settings.format)
        var options = DatapathSettings()
        // No packet comes: the flow tables can be small.
        options.maxTCPFlows = 1024
        options.maxUDPFlows = 1024
        datapath = try Datapath.load(options, pins: nil)
        maps = KernelMaps(datapath.maps)
        planner = try Planner(maps.read())
        services = WatchReader(kind: .service, format: settings.format)
        slices = WatchReader(kind: .endpointSlice, format: settings.format)
    }

    func measure(services count: Int, changes: Int) throws -> ProgrammingResult {
        let before = Memory.resident
        let first = try firstSync(count)
        let after = Memory.resident
        let (latencies, writes) = try follow(changes, of: count)
        return ProgrammingResult(
            services: count, firstSync: first, residentBefore: before, resident: after, changes: latencies,
            writes: writes, problem: try problem(count))
    }

    /// All that is there at the start of the watches; times in milliseconds.
    private func firstSync(_ count: Int) throws -> FirstSync {
        var events: [CatalogEvent] = []
        var bytes = 0
        var reading = Duration.zero
        for index in 0..<count {
            let service = objects.service(index)
            let slice = objects.slice(index, "ADDED")
            bytes += service.count + slice.count
            let started = ContinuousClock.now
            events += try Self.read(service, &services)
            events += try Self.read(slice, &slices)
            reading += .now - started
        }
        let started = ContinuousClock.now
        resolve(catalog.apply(events + [.synced]))
        events = []
        let resolved = ContinuousClock.now
        let plan = planner.plan(all: DesiredChanges(all: desired))
        isPlanned = true
        let planned = ContinuousClock.now
        try perform(plan)
        return FirstSync(
            bytes: bytes, reading: reading.inMilliseconds, resolving: (resolved - started).inMilliseconds,
            planning: (planned - resolved).inMilliseconds, writing: (ContinuousClock.now - planned).inMilliseconds)
    }

    /// One endpoint after another of random Services ceases to be ready, and is ready again the next time round.
    private func follow(_ changes: Int, of count: Int) throws -> (Latencies?, Int) {
        var samples: [Double] = []
        samples.reserveCapacity(changes)
        var unready: [Int: Int] = [:]
        var random: UInt64 = 0x9E37_79B9_7F4A_7C15
        var writes = 0
        for number in 0..<changes {
            random ^= random << 13
            random ^= random >> 7
            random ^= random << 17
            let index = Int(random % UInt64(count))
            unready[index] = unready[index] == nil ? Int(random >> 32) % objects.endpoints : nil
            let event = objects.slice(index, "MODIFIED", unready: unready[index], version: number + 1)
            let started = ContinuousClock.now
            let events = try Self.read(event, &slices)
            resolve(catalog.apply(events))
            // The agent looks for these at every sync.
            let hasProblems = !desired.conflicts.isEmpty || !desired.problems.isEmpty
            let plan = planner.plan(self.changes)
            self.changes = DesiredChanges()
            try perform(plan)
            samples.append((ContinuousClock.now - started).inMicroseconds)
            guard !hasProblems, !plan.isEmpty else {
                throw BenchmarkError.preparationFailed("change \(number) of Service \(index) changed nothing")
            }
            writes += plan.writes.count
            if number % 100 == 99 { try reclaim() }
        }
        return (Latencies(samples), writes)
    }

    /// Frees what no frontend names, as the agent does every few seconds. No flow can name it: there are none.
    private func reclaim() throws {
        for _ in 0..<2 {
            let image = planner.image
            try perform(Planner.reclaim(image, candidates: ReclaimCandidates(image), inUse: FlowUsage()))
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

    /// What the maps hold after all changes must be what is desired.
    private func problem(_ count: Int) throws -> String? {
        let image = try maps.read()
        guard image == planner.image else { return "the maps differ from what was written to them" }
        guard image.frontends.count == count else { return "\(image.frontends.count) frontends for \(count) Services" }
        let rest = try Planner.plan(from: image, to: desired.state).writes.count
        return rest == 0 ? nil : "\(rest) writes are missing"
    }
}

extension Duration {
    fileprivate var inMicroseconds: Double {
        Double(components.seconds) * 1e6 + Double(components.attoseconds) / 1e12
    }

    fileprivate var inMilliseconds: Double { inMicroseconds / 1000 }
}
