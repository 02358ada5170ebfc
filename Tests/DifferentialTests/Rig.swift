import BPF
import Foundation
import NeedletailABI
import NetLab
import NetTypes
import Planning
import ReferenceModel
import Resolver
import ServiceModel

@testable import Dataplane

/// One thing that happens to model and programs.
enum Step: Sendable {
    /// A frame arrives at a program.
    case packet([UInt8], DatapathProgram, device: UInt32)
    /// The cluster is like this now.
    case cluster(DesiredState)
    /// So many ticks pass.
    case age(UInt32)
    /// The LRU takes an entry.
    case evict(FlowTuple, FlowDirection)
}

/// The programs with their maps, and the model beside them.
///
/// `@unchecked Sendable`, because it is used by the thread of its node's namespace alone.
final class Rig: @unchecked Sendable {
    private(set) var node: TestNode
    private let datapath: Datapath
    private var kernel: KernelMaps
    private var planner: Planner
    private(set) var model: Model
    /// What the program did with the last packet, in short.
    private(set) var last = ""
    /// The packet as that left it.
    private(set) var lastOutput: [UInt8] = []
    /// What all programs have counted.
    private(set) var tally: [DatapathCounter: Int] = [:]

    static let settings: DatapathSettings = {
        var settings = DatapathSettings()
        settings.maxFrontends = 1024
        settings.maxSets = 4096
        settings.maxSlots = 4 * 1024 * 1024
        settings.maxBackends = 4096
        settings.maxServices = 256
        settings.maxTCPFlows = 65_536
        settings.maxUDPFlows = 65_536
        settings.natPorts = TestNode.natPorts
        settings.newFlowLimit = 0
        settings.answerLimit = .max
        return settings
    }()

    init() throws {
        node = try TestNode()
        datapath = try Datapath.load(Self.settings, pins: nil)
        kernel = KernelMaps(datapath.maps)
        planner = try Planner(kernel.read())
        node.model.markMask = try datapath.maps.marking.lookup(0)?.mask ?? 0
        model = Model(node: node.model)
        try writeNode(podPrefixes: node.model.podPrefixes)
    }

    /// Other sources behind external devices count as pods from now on.
    func detectPods(in prefixes: [CIDR]) throws {
        try writeNode(podPrefixes: prefixes)
        model.detectPods(in: prefixes)
    }

    private func writeNode(podPrefixes: [CIDR]) throws {
        let maps = datapath.maps
        for device in node.model.devices.values {
            try maps.devices.update(
                device.index,
                nt_device(
                    flags: device.flags, addr4: device.addresses[.v4]?.words.0 ?? 0,
                    addr6: device.addresses[.v6]?.words ?? (0, 0, 0, 0)))
        }
        var record = nt_node()
        record.addr4 = node.model.addresses[.v4]?.words.0 ?? 0
        record.addr6 = node.model.addresses[.v6]?.words ?? (0, 0, 0, 0)
        // The whole of both CIDRs, in which all ClusterIPs of these tests are.
        (record.cluster_first4, record.cluster_last4) = (0xC613_0000, 0xC613_00FF)
        record.cluster_first6 = (0x2001_0DB8_000F_0000, 0)
        record.cluster_last6 = (0x2001_0DB8_000F_0000, 0xFFFF)
        record.cidr4.0 = nt_cidr4(addr: 0xC613_0000, mask: 0xFFFF_FF00)
        record.cidr6.0 = nt_cidr6(addr: (0x2001_0DB8_000F_0000, 0), mask: (.max, 0xFFFF_FFFF_FFFF_0000))
        let pods = NodeState(podPrefixes: Dictionary(uniqueKeysWithValues: podPrefixes.map { ($0.family, $0) })).wire
        (record.pods4, record.pods6) = (pods.pods4, pods.pods6)
        try maps.node.update(0, record)
    }

    /// Both as they were at first.
    func reset() throws {
        let maps = datapath.maps
        try Self.empty(maps.frontends4)
        try Self.empty(maps.frontends6)
        try Self.empty(maps.services)
        for map in maps.flows4.all { try Self.empty(map) }
        for map in maps.flows6.all { try Self.empty(map) }
        try Self.empty(maps.affinity)
        try Self.empty(maps.fragments)
        try Self.empty(maps.ranges4)
        try Self.empty(maps.ranges6)
        try Self.empty(maps.addresses4)
        try Self.empty(maps.addresses6)
        try Self.empty(maps.answers)
        try FlowTable(maps).unmark()
        let image = try kernel.read()
        try kernel.perform(image.sets.keys.map { .set($0, nil) } + image.backends.keys.map { .backend($0, nil) })
        planner = try Planner(kernel.read())
        model = Model(node: node.model, after: model)
    }

    private static func empty<Key, Value>(_ map: BPFMap<Key, Value>) throws {
        var keys: [Key] = []
        try map.forEach { key, _ in keys.append(key) }
        for key in keys { try map.delete(key) }
    }

    // MARK: Steps

    /// Takes a step; what model and programs do not agree on, if anything.
    func take(_ step: Step) throws -> String? {
        switch step {
        case .packet(let bytes, let program, let device): return try run(bytes, program, device)
        case .cluster(let desired): try serve(desired)
        case .age(let ticks):
            try age(ticks)
            model.age(ticks: ticks)
        case .evict(let tuple, let direction):
            let transport = tuple.source.transport
            _ =
                tuple.source.address.family == .v4
                ? try datapath.maps.flows4[transport].delete(nt_flow_key4(tuple, direction))
                : try datapath.maps.flows6[transport].delete(nt_flow_key6(tuple, direction))
            model.evict(Tuple(tuple.source, tuple.destination), direction)
        }
        return nil
    }

    private func serve(_ desired: DesiredState) throws {
        // What was wanted and is no more is found by planning anew from what the maps hold.
        let plan = try Planner.plan(from: kernel.read(), to: desired)
        guard plan.problems.isEmpty else { throw Unprogrammable(problems: plan.problems.map(\.description)) }
        try kernel.perform(plan.writes)
        let frontends = desired.frontends.values.map(ModelFrontend.init)
        model.serve(frontends, serving: desired.backends)
    }

    struct Unprogrammable: Error { let problems: [String] }

    private func run(_ bytes: [UInt8], _ program: DatapathProgram, _ device: UInt32) throws -> String? {
        guard let loaded = datapath.programs[program] else { return "\(program.name) is not loaded" }
        Self.avoidTurnOfTick()
        let start = Self.now()
        let earlier = try CounterReading(datapath.maps)
        let run: TestRun
        do {
            run = try loaded.testRun(
                packet: bytes, outputCapacity: bytes.count + 1024, context: Self.context(program, device, bytes.count))
        } catch {
            // The kernel gives tc programs nothing that ends before its IP header does.
            guard program != .externalXDP, bytes.count < 74 else {
                return "\(error): \(bytes.count) bytes"
            }
            return nil
        }
        let after = try CounterReading(datapath.maps)
        let end = Self.now()
        var counted: [DatapathCounter: Int] = [:]
        for other in DatapathProgram.allCases {
            for counter in DatapathCounter.allCases where after[other, counter] != earlier[other, counter] {
                guard other == program else { return "counter \(counter.name) of \(other.name) moved" }
                counted[counter] = Int(after[other, counter] - earlier[other, counter])
            }
        }
        let verdict = run.signedVerdict
        func compared(_ time: UInt64, _ model: inout Model) -> Comparison {
            let expected = model.process(
                bytes, in: program, device: device, at: ModelTime(nanoseconds: time),
                observed: Observation(verdict: verdict, output: run.output, counters: counted))
            return Comparison(
                input: bytes, program: program, expected: expected, verdict: verdict, output: run.output,
                counters: counted)
        }
        var before = model
        var comparison = compared(end, &model)
        if ModelTime(nanoseconds: start).tick != ModelTime(nanoseconds: end).tick {
            // What the program read of the clock is not known. In the next tick it makes no difference any more.
            if comparison.complaint != nil {
                comparison = compared(start, &before)
                model = before
            }
            usleep(UInt32(1 << NT_TICK_SHIFT) / 1000)
        }
        last = comparison.summary
        lastOutput = run.output
        for (counter, count) in counted { tally[counter, default: 0] += count }
        return comparison.complaint
    }

    /// By the programs' own clock (`bpf_ktime_get_coarse_ns`), which is behind the exact one by up to a timer interrupt, or
    /// more where interrupts are late: at the turn of a tick the two are of different ticks.
    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC_COARSE, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// Waits for the next tick when this one is about to end.
    private static func avoidTurnOfTick() {
        let length = UInt64(1) << UInt64(NT_TICK_SHIFT)
        let left = length - now() % length
        if left < 6_000_000 { usleep(UInt32(left / 1000) + 5000) }
    }

    /// `struct xdp_md` with `data_end` and `ingress_ifindex`, or `struct __sk_buff` with `ifindex`.
    private static func context(_ program: DatapathProgram, _ device: UInt32, _ size: Int) -> [UInt8] {
        func word(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
        if program == .externalXDP {
            return word(0) + word(UInt32(size)) + word(0) + word(device) + word(0) + word(0)
        }
        var context = [UInt8](repeating: 0, count: 192)
        context.replaceSubrange(36..<44, with: word(device) + word(device))
        return context
    }

    // MARK: Time

    private func age(_ ticks: UInt32) throws {
        for map in datapath.maps.flows4.all {
            var all: [(nt_flow_key4, nt_flow4)] = []
            try map.forEach { all.append(($0, $1)) }
            for (key, value) in all {
                var aged = value
                aged.head.seen &-= ticks
                aged.head.created &-= ticks
                try map.update(key, aged, mode: .exist)
            }
        }
        for map in datapath.maps.flows6.all {
            var all: [(nt_flow_key6, nt_flow6)] = []
            try map.forEach { all.append(($0, $1)) }
            for (key, value) in all {
                var aged = value
                aged.head.seen &-= ticks
                aged.head.created &-= ticks
                try map.update(key, aged, mode: .exist)
            }
        }
        let lines = 0..<Int(node.model.markMask) + 1
        try datapath.maps.marks.withMapped(elements: lines, writable: true) { bytes in
            for (index, mark) in bytes.bindMemory(to: UInt64.self).enumerated() where mark != 0 {
                let tick = (mark &- UInt64(ticks)) & 0xFFF
                bytes.storeBytes(of: mark & ~0xFFF | tick, toByteOffset: index * 8, as: UInt64.self)
            }
        }
        var affinities: [(nt_affinity_key, nt_affinity)] = []
        try datapath.maps.affinity.forEach { affinities.append(($0, $1)) }
        for (key, value) in affinities {
            var aged = value
            aged.used -= min(value.used, UInt64(ticks) << UInt64(NT_TICK_SHIFT))
            try datapath.maps.affinity.update(key, aged, mode: .exist)
        }
    }
}

extension ModelFrontend {
    init(_ frontend: Frontend) {
        func answer(_ answer: ScopeAnswer) -> ModelAnswer {
            switch answer {
            case .backends(let set):
                .spread(
                    set.members.map { ModelMember(endpoint: $0.endpoint, weight: $0.weight, isLocal: $0.isLocal) })
            case .refused(let refusal): refusal == .noEndpoints ? .noEndpoints : .noLocalEndpoints
            }
        }
        var flags: UInt32 =
            switch frontend.kind {
            case .clusterIP: NT_FRONTEND_CLUSTER_IP
            case .nodePort: NT_FRONTEND_NODE_PORT
            case .loadBalancer: NT_FRONTEND_LOAD_BALANCER
            case .externalIP: NT_FRONTEND_EXTERNAL_IP
            }
        if frontend.masquerade.external { flags |= NT_FRONTEND_MASQUERADE_EXTERNAL }
        if frontend.masquerade.internal { flags |= NT_FRONTEND_MASQUERADE_INTERNAL }
        if frontend.allowedSources != nil { flags |= NT_FRONTEND_SOURCE_RANGES }
        if frontend.forwarding == .dsr { flags |= NT_FRONTEND_DSR }
        var affinity: UInt32 = 0
        if case .clientIP(let seconds) = frontend.affinity { affinity = UInt32(seconds) }
        self.init(
            key: frontend.key, service: frontend.servicePort, flags: flags,
            answers: [.external: answer(frontend.external), .internal: answer(frontend.internal)],
            affinity: affinity, allowedSources: frontend.allowedSources)
    }
}
