import BPF
import Dataplane
import Dispatch
import Foundation
import Glibc
import NeedletailABI
import NetTypes
import Planning
import PlanningTestSupport
import Resolver
import ServiceModel
import Synchronization
import TestSupport
import Testing

/// Packets without pause, from a thread of their own, while the maps change.
private final class Storm: Sendable {
    private struct State {
        var isOver = false
        var packets = 0
        var failure: String?
    }

    private let state = Mutex(State())
    private let group = DispatchGroup()

    /// Every packet must be passed to one of the endpoints its frontend is allowed.
    init(_ datapath: Datapath, _ allowed: [TransportEndpoint: Set<TransportEndpoint>], seed: UInt64) {
        // Not on Dispatch's shared threads, which other tests may keep busy.
        group.enter()
        Thread.detachNewThread {
            self.rage(datapath, allowed, SeededGenerator(seed: seed))
            self.group.leave()
        }
    }

    var packets: Int { state.withLock(\.packets) }

    private func rage(
        _ datapath: Datapath, _ allowed: [TransportEndpoint: Set<TransportEndpoint>], _ generator: SeededGenerator
    ) {
        var random = generator
        let frontends = allowed.keys.sorted()
        let programs: [DatapathProgram] = [.externalXDP, .externalIngress, .workloadIngress]
        while state.withLock({ !$0.isOver && $0.failure == nil }) {
            let key = frontends[random.below(frontends.count)]
            let address =
                key.address.family == .v4
                ? IPAddress(v4: 0xCB00_7101) : IPAddress(v6: 0x2001_0DB8 << 96 | 0xC << 32 | 1)
            let client = TransportEndpoint(address, UInt16(1024 + random.below(60_000)), key.transport)
            let packet = Packet(source: client, destination: key, isFirst: true)
            let program = programs[random.below(programs.count)]
            let fate = Result { try datapath.fate(of: packet, in: program) }
            state.withLock {
                $0.packets += 1
                if case .success(.passed(let endpoint)) = fate, allowed[key]?.contains(endpoint) == true { return }
                $0.failure = "packet \($0.packets), \(packet) in \(program.name): \(fate)"
            }
        }
    }

    /// Ends it.
    func stop() -> (packets: Int, failure: String?) {
        state.withLock { $0.isOver = true }
        group.wait()
        return state.withLock { ($0.packets, $0.failure) }
    }
}

@Suite(.serialized, .needsRoot, .ownThread)
struct StormTests {
    private static let services = 6
    private static let poolSize = 5

    private static func key(_ service: Int) -> TransportEndpoint {
        World.frontend(service, service % 2 == 0 ? .v4 : .v6, service % 3 == 0 ? .udp : .tcp)
    }

    private static func pool(_ service: Int) -> [TransportEndpoint] {
        let key = key(service)
        return (0..<poolSize).map { World.backend(service * poolSize + $0, key.address.family, key.transport) }
    }

    private static func desired(_ random: inout SeededGenerator) -> DesiredState {
        var serving: Set<TransportEndpoint> = []
        let frontends = (0..<services).map { service in
            let members = pool(service).shuffled(using: &random).prefix(1 + random.below(poolSize))
            serving.formUnion(members)
            let set = ScopeAnswer.backends(BackendSet(members.map { BackendSpec(endpoint: $0, isLocal: true) }))
            let key = key(service)
            let name = ServicePortName(
                service: ObjectName(namespace: "test", name: "service-\(service)"), port: "main",
                transport: key.transport)
            // Open, or restricted to prefixes that all have the client in them.
            let ranges = (0..<4).filter { _ in random.below(2) == 0 }.compactMap {
                CIDR(World.sources(key.address.family)[0], length: key.address.family.bitWidth - $0)
            }
            return Frontend(
                key: key, kind: service % 2 == 0 ? .loadBalancer : .clusterIP, servicePort: name, external: set,
                internal: set, allowedSources: ranges.isEmpty ? nil : ranges)
        }
        return DesiredState(frontends: frontends, backends: serving)
    }

    @Test(arguments: UInt64(1)...2)
    func `Packets that race with changes never meet a foreign backend or none`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var settings = DatapathSettings()
        // Room for the sets twice over, and for the gaps between them: ids and lines are used again at once.
        settings.maxFrontends = 16
        settings.maxSets = UInt32(2 * Self.services + 1)
        settings.maxSlots = UInt32(3 * Self.services * (512 + 16))
        settings.maxBackends = UInt32(3 * Self.services * Self.poolSize)
        settings.maxServices = 16
        settings.maxTCPFlows = 4096
        settings.maxUDPFlows = 4096
        let datapath = try Datapath.load(settings, pins: nil)
        let flows = FlowTable(datapath.maps)
        var kernel = KernelMaps(datapath.maps)
        try kernel.perform(Planner.plan(from: kernel.read(), to: Self.desired(&random)).writes)

        let allowed = Dictionary(
            uniqueKeysWithValues: (0..<Self.services).map { (Self.key($0), Set(Self.pool($0))) })
        let storm = Storm(datapath, allowed, seed: seed)
        let deadline = ContinuousClock.now + .seconds(60)
        var rounds = 0
        while rounds < 60 || (storm.packets <= 1000 && .now < deadline) {
            rounds += 1
            let plan = try Planner.plan(from: kernel.read(), to: Self.desired(&random))
            try kernel.perform(plan.writes)
            #expect(plan.problems.isEmpty)
            let candidates = ReclaimCandidates(try kernel.read())
            GracePeriod.wait()
            _ = try flows.flush { _ in true }
            let usage = try flows.collect(FlowTimeouts()).usage
            try kernel.perform(
                Planner.reclaim(kernel.read(), candidates: candidates, inUse: usage))
        }
        let outcome = storm.stop()
        #expect(outcome.failure == nil)
        #expect(outcome.packets > 1000)
    }
}
