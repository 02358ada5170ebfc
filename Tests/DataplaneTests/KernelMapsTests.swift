import Dataplane
import NeedletailABI
import NetTypes
import Planning
import Resolver
import ServiceModel
import TestSupport
import Testing

/// The maps hold what the plan says.
@Suite(.needsRoot) struct KernelMapsTests {
    private static func state(_ random: inout RandomValues) -> [Frontend] {
        let transports: [TransportProtocol] = [.tcp, .udp, .sctp]
        var keys: Set<TransportEndpoint> = []
        for _ in 0..<Int(random.number(0...20) as UInt8) {
            let family = random.one(of: IPFamily.allCases)
            let host: UInt8 = random.number(1...8)
            let address =
                family == .v4
                ? IPAddress(v4: 0xC612_0000 + UInt32(host)) : IPAddress(v6: 0x2001_0DB8 << 96 | UInt128(host))
            keys.insert(TransportEndpoint(address, random.number(80...83), random.one(of: transports)))
        }
        return keys.sorted().map { key in
            func answer() -> ScopeAnswer {
                let hosts = (0..<Int(random.number(0...6) as UInt8)).map { _ in random.number(1...12) as UInt8 }
                guard !hosts.isEmpty else {
                    return .refused(random.one(of: [.noEndpoints, .noLocalEndpointsExternal]))
                }
                let members = hosts.map { host in
                    let address =
                        key.address.family == .v4
                        ? IPAddress(v4: 0xCB00_7100 + UInt32(host))
                        : IPAddress(v6: 0x2001_0DB8_0001 << 80 | UInt128(host))
                    return BackendSpec(
                        endpoint: TransportEndpoint(address, 8080, key.transport), weight: random.number(1...3),
                        isLocal: host % 2 == 0)
                }
                return .backends(BackendSet(members))
            }
            return Frontend(
                key: key, kind: random.one(of: FrontendKind.allCases),
                servicePort: ServicePortName(
                    service: ObjectName(namespace: "n", name: "s\(key.port)"), port: "", transport: key.transport),
                external: answer(), internal: answer())
        }
    }

    private static func desired(_ frontends: [Frontend]) -> DesiredState {
        Lab.desired(frontends, alsoServing: [])
    }

    @Test("Through random changes, what is read back is what was written, and nothing is left to write")
    func readBack() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = RandomValues(seed: seed)
        try Lab.withLab { lab in
            var image = try lab.image()
            for step in 0..<30 {
                let desired = Self.desired(Self.state(&random))
                let plan = try Planner.plan(from: image, to: desired)
                try #require(plan.problems == [], "seed \(seed), step \(step)")
                try lab.perform(plan.writes)
                for write in plan.writes { image.apply(write) }
                try #require(try lab.image() == image, "seed \(seed), step \(step)")
                #expect(try Planner.plan(from: image, to: desired).isEmpty, "seed \(seed), step \(step)")
                try Self.expectTables(lab, image, desired, "seed \(seed), step \(step)")
                // What nothing uses is freed, as the agent does.
                let writes = Planner.reclaim(
                    image, candidates: ReclaimCandidates(image), inUse: FlowUsage())
                try lab.perform(writes)
                for write in writes { image.apply(write) }
                try #require(try lab.image() == image, "seed \(seed), step \(step)")
            }
        }
    }

    /// The slots of each wanted set name its members, all of them, and nobody else; so does the list behind them.
    private static func expectTables(
        _ lab: Lab, _ image: MapImage, _ desired: DesiredState, _ comment: Comment
    ) throws {
        for (key, frontend) in desired.frontends {
            let record = try #require(image.frontends[key], comment)
            for (answer, scope) in [(frontend.external, record.external), (frontend.internal, record.internal)] {
                guard case .backends(let wanted) = answer else {
                    #expect(scope.isRefusal, comment)
                    continue
                }
                guard case .set(let id) = scope, let set = image.sets[id] else {
                    Issue.record(comment)
                    continue
                }
                let slots = Set(try lab.kernel.slots(of: set))
                #expect(try lab.kernel.members(of: set) == slots.sorted { $0.rawValue < $1.rawValue }, comment)
                let named = slots.map { image.backends[$0] }
                #expect(Set(named.map { $0?.endpoint }) == Set(wanted.members.map(\.endpoint)), comment)
                #expect(named.allSatisfy { $0?.state == .active }, comment)
            }
        }
    }
}

extension ScopeRecord {
    fileprivate var isRefusal: Bool { if case .refuse = self { true } else { false } }
}
