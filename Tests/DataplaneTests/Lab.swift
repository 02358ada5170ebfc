import BPF
import Foundation
import Maglev
import NeedletailABI
import NetTypes
import PacketKit
import Planning
import ServiceModel
import Synchronization
import Testing

@testable import Dataplane
@testable import Resolver

/// A datapath of a test's own: nothing is pinned or attached, packets are run through its programs one by one.
///
/// Loading takes the kernel's verifier a while, so datapaths are used again, emptied, one after another. `@unchecked
/// Sendable` because ``withLab(_:)`` hands each to one test at a time, and takes it back under a lock.
final class Lab: @unchecked Sendable {
    let datapath: Datapath
    private(set) var kernel: KernelMaps

    private static let idle = Mutex<[Lab]>([])

    static let settings: DatapathSettings = {
        var settings = DatapathSettings()
        settings.maxFrontends = 256
        settings.maxSets = 256
        settings.maxSlots = 256 * 1024
        settings.maxBackends = 512
        settings.maxServices = 128
        settings.maxTCPFlows = 4096
        settings.maxUDPFlows = 4096
        settings.natPorts = 61_000...61_999
        settings.newFlowLimit = 0
        return settings
    }()

    private init() throws {
        datapath = try Datapath.load(Self.settings, pins: nil)
        kernel = KernelMaps(datapath.maps)
    }

    static func withLab<R>(_ body: (Lab) throws -> R) throws -> R {
        let lab = try idle.withLock { $0.popLast() } ?? Lab()
        try lab.clear()
        let result = try body(lab)
        idle.withLock { $0.append(lab) }
        return result
    }

    private func clear() throws {
        let maps = datapath.maps
        try Self.empty(maps.frontends4)
        try Self.empty(maps.frontends6)
        try Self.empty(maps.services)
        for flows in maps.flows4.all { try Self.empty(flows) }
        for flows in maps.flows6.all { try Self.empty(flows) }
        try Self.empty(maps.affinity)
        try Self.empty(maps.fragments)
        try Self.empty(maps.ranges4)
        try Self.empty(maps.ranges6)
        try Self.empty(maps.addresses4)
        try Self.empty(maps.addresses6)
        try Self.empty(maps.devices)
        try Self.empty(maps.answers)
        try FlowTable(maps).unmark()
        try maps.node.update(0, nt_node())
        let image = try kernel.read()
        try kernel.perform(image.sets.keys.map { .set($0, nil) } + image.backends.keys.map { .backend($0, nil) })
    }

    private static func empty<Key, Value>(_ map: BPFMap<Key, Value>) throws {
        var keys: [Key] = []
        try map.forEach { key, _ in keys.append(key) }
        for key in keys { try map.delete(key) }
    }

    // MARK: Services

    /// Makes these the frontends, as the agent would. `alsoServing` are endpoints that serve but get no new flows.
    func serve(_ frontends: [Frontend], alsoServing: Set<TransportEndpoint> = []) throws {
        let plan = try Planner.plan(from: kernel.read(), to: Self.desired(frontends, alsoServing: alsoServing))
        try #require(plan.problems == [])
        try kernel.perform(plan.writes)
    }

    /// What the Resolver would say.
    static func desired(_ frontends: [Frontend], alsoServing: Set<TransportEndpoint>) -> DesiredState {
        let others = ServicePortName(
            service: ObjectName(namespace: "default", name: "others"), port: "p", transport: .tcp)
        var serving = [others: alsoServing]
        for frontend in frontends {
            for answer in [frontend.external, frontend.internal] {
                serving[frontend.servicePort, default: []].formUnion(answer.backendSet.members.map(\.endpoint))
            }
        }
        return DesiredState(frontends: frontends, serving: serving)
    }

    func image() throws -> MapImage { try kernel.read() }

    func perform(_ writes: [MapWrite]) throws { try kernel.perform(writes) }

    func withKernel<R>(_ body: (inout KernelMaps) throws -> R) throws -> R { try body(&kernel) }

    /// All flows are new again, and nobody has been answered yet.
    func forgetClients() throws {
        try FlowTable(datapath.maps).unmark()
        try Self.empty(datapath.maps.answers)
        for flows in datapath.maps.flows4.all { try Self.empty(flows) }
        for flows in datapath.maps.flows6.all { try Self.empty(flows) }
    }

    /// The backend that the tables in the maps give a tuple, worked out by the control plane's own hash.
    func choice(_ client: TransportEndpoint, _ frontend: TransportEndpoint, _ scope: Scope) throws -> TransportEndpoint
    {
        let image = try image()
        let record = try #require(image.frontends[frontend])
        guard case .set(let id) = scope == .external ? record.external : record.internal else {
            throw Missing(what: "set of \(frontend)")
        }
        let set = try #require(image.sets[id])
        let slots = try kernel.slots(of: set)
        let hash = try #require(
            FlowHash(source: client.address, sourcePort: client.port, destination: frontend))
        return try #require(image.backends[slots[Int(hash.slot(tableSize: set.slots))]]).endpoint
    }

    struct Missing: Error { let what: String }

    // MARK: Packets

    enum Expected {
        case becomes(PacketBuilder)
        /// Replaced, and sent back out of the device it came by.
        case answered(PacketBuilder)
        case untouched
        case dropped
    }

    struct Outcome {
        let verdict: Int32
        let output: [UInt8]
        let counted: [DatapathProgram: [DatapathCounter: Int]]
    }

    func run(_ bytes: [UInt8], in program: DatapathProgram, context: [UInt8] = []) throws -> Outcome {
        let before = try CounterReading(datapath.maps)
        let run = try #require(datapath.programs[program]).testRun(packet: bytes, context: context)
        let after = try CounterReading(datapath.maps)
        var counted: [DatapathProgram: [DatapathCounter: Int]] = [:]
        for program in DatapathProgram.allCases {
            for counter in DatapathCounter.allCases where after[program, counter] != before[program, counter] {
                counted[program, default: [:]][counter] = Int(after[program, counter] - before[program, counter])
            }
        }
        return Outcome(verdict: run.signedVerdict, output: run.output, counted: counted)
    }

    /// Runs a packet through a program; verdict, the whole packet and all counters of all programs must be as expected.
    func expect(
        _ packet: PacketBuilder, in program: DatapathProgram, _ expected: Expected, _ counters: DatapathCounter...,
        context: [UInt8] = [], sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let outcome = try run(packet.bytes, in: program, context: context)
        let wanted: [UInt8]?
        let verdict: Int32
        switch expected {
        case .becomes(let packet): (wanted, verdict) = (packet.bytes, program.pass)
        case .answered(let packet): (wanted, verdict) = (packet.bytes, program.sendBack)
        case .untouched: (wanted, verdict) = (packet.bytes, program.pass)
        case .dropped: (wanted, verdict) = (nil, program.drop)
        }
        #expect(outcome.verdict == verdict, "verdict", sourceLocation: sourceLocation)
        #expect(
            outcome.counted == [program: Dictionary(uniqueKeysWithValues: counters.map { ($0, 1) })],
            "counters", sourceLocation: sourceLocation)
        guard let wanted, wanted != outcome.output else { return }
        Issue.record(
            "\(PacketDiff(expected: wanted, actual: outcome.output))", sourceLocation: sourceLocation)
    }

    // MARK: Flows

    func flows() throws -> [FlowEntry] {
        var flows: [FlowEntry] = []
        try FlowTable(datapath.maps).forEach { flows.append($0) }
        return flows
    }

    func flow(_ direction: FlowDirection, _ source: TransportEndpoint, _ destination: TransportEndpoint) throws
        -> FlowEntry?
    {
        try flows().first {
            $0.direction == direction && $0.onWire == FlowTuple(source: source, destination: destination)
        }
    }

    /// Removes one direction's entry, as the LRU does when the table is full; not that of a flow that had a packet a
    /// moment ago, hence its mark is too old too.
    func evict(_ flow: FlowEntry) throws {
        try FlowTable(datapath.maps).unmark()
        let wasThere =
            flow.onWire.source.address.family == .v4
            ? try datapath.maps.flows4[flow.transport].delete(nt_flow_key4(flow.onWire, flow.direction))
            : try datapath.maps.flows6[flow.transport].delete(nt_flow_key6(flow.onWire, flow.direction))
        try #require(wasThere)
    }

    /// Makes all flows as old as if `ticks` of 0.54 s had passed, and marks too old.
    func age(ticks: UInt32) throws {
        try FlowTable(datapath.maps).unmark()
        for flows in datapath.maps.flows4.all {
            for (key, value) in try flows.entries() { try flows.update(key, value.aged(ticks), mode: .exist) }
        }
        for flows in datapath.maps.flows6.all {
            for (key, value) in try flows.entries() { try flows.update(key, value.aged(ticks), mode: .exist) }
        }
    }
}

extension nt_flow {
    fileprivate mutating func age(_ ticks: UInt32) {
        seen &-= ticks
        created &-= ticks
    }
}

extension nt_flow4 {
    fileprivate func aged(_ ticks: UInt32) -> nt_flow4 {
        var copy = self
        copy.head.age(ticks)
        return copy
    }
}

extension nt_flow6 {
    fileprivate func aged(_ ticks: UInt32) -> nt_flow6 {
        var copy = self
        copy.head.age(ticks)
        return copy
    }
}

extension DatapathProgram {
    /// `XDP_PASS`, or `TC_ACT_UNSPEC`, which is `TCX_NEXT`.
    var pass: Int32 { self == .externalXDP ? 2 : -1 }
    /// `XDP_DROP`, or `TC_ACT_SHOT`.
    var drop: Int32 { self == .externalXDP ? 1 : 2 }
    /// `XDP_TX`, or `TC_ACT_REDIRECT`.
    var sendBack: Int32 { self == .externalXDP ? 3 : 7 }
    /// `XDP_REDIRECT`, or `TC_ACT_REDIRECT`.
    var redirect: Int32 { self == .externalXDP ? 4 : 7 }
}
