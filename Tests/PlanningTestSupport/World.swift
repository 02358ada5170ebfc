public import NetTypes
public import Resolver
internal import ServiceModel
public import TestSupport

/// Services, endpoints and frontends that change at random, and the desired state they amount to.
///
/// Few endpoints serve many services, so that sets are shared and endpoints are wanted by several.
public struct World: Sendable {
    struct Status {
        var isTerminating = false
        var weight: UInt32 = 1
    }

    struct Workload {
        var name: ServicePortName
        var endpoints: [TransportEndpoint: Status] = [:]
        var externalReachesRemote = false
        var localPolicy = false
        var ranges: [IPFamily: [CIDR]] = [:]
        var affinity = SessionAffinity.none
        var masquerade = Masquerade.never
        var forwarding = Forwarding.snat
    }

    /// How many there may be of each kind.
    public struct Limits: Sendable {
        /// Services.
        public var services = 8
        /// Frontends of each family and protocol.
        public var frontends = 10
        /// Endpoints of each family and protocol.
        public var endpoints = 9
        /// Whether packets may need a way out of the node: to remote backends from outside, or masqueraded.
        public var needsRoutes = true

        /// Small numbers.
        public init() {}
    }

    private let limits: Limits
    private var workloads: [Int: Workload] = [:]
    private var owners: [TransportEndpoint: (workload: Int, kind: FrontendKind)] = [:]

    /// Nothing yet.
    public init(_ limits: Limits = Limits()) { self.limits = limits }

    /// Whether an endpoint runs on this node: every other one does.
    public static func isLocal(_ endpoint: TransportEndpoint) -> Bool { endpoint.address.bits & 1 == 0 }

    /// Makes `count` changes.
    public mutating func mutate(_ count: Int, _ random: inout SeededGenerator) {
        for _ in 0..<count { mutate(&random) }
    }

    private mutating func mutate(_ random: inout SeededGenerator) {
        let index = random.below(limits.services)
        let workload = workloads[index]
        switch random.below(15) {
        case 0...2: assignFrontend(to: index, &random)
        case 3: if let key = owners.keys.sorted().randomElement(using: &random) { owners[key] = nil }
        case 4, 5: addEndpoint(to: index, &random)
        case 6: replaceEndpoints(of: index, &random)
        case 7: changeEndpoint(of: index, &random) { $0.isTerminating.toggle() }
        case 8: changeEndpoint(of: index, &random) { $0.weight = $0.weight % 3 + 1 }
        case 9:
            if let endpoint = workload?.endpoints.keys.sorted().randomElement(using: &random) {
                workloads[index]?.endpoints[endpoint] = nil
            }
        case 10: copyEndpoints(to: index, &random)
        case 11 where random.below(3) == 0: remove(index)
        case 11: workloads[index]?.endpoints.removeAll()
        case 12:
            for family in IPFamily.allCases {
                let some = Self.prefixes(family).filter { _ in random.below(2) == 0 }
                workloads[index]?.ranges[family] = random.below(3) == 0 ? nil : some
            }
        case 13:
            workloads[index]?.affinity = random.below(2) == 0 ? .none : .clientIP(timeoutSeconds: 60)
            let masquerade = Masquerade(external: random.below(2) == 0, internal: random.below(2) == 0)
            workloads[index]?.masquerade = limits.needsRoutes ? masquerade : .never
            workloads[index]?.forwarding = random.below(2) == 0 ? .snat : .dsr
        default:
            workloads[index]?.externalReachesRemote = random.below(2) == 0 && limits.needsRoutes
            workloads[index]?.localPolicy = random.below(2) == 0
        }
    }

    /// Takes away about half of everything, so that what did not fit may fit.
    public mutating func shrink() {
        for index in workloads.keys where index % 2 == 0 { remove(index) }
    }

    private mutating func remove(_ index: Int) {
        workloads[index] = nil
        owners = owners.filter { $0.value.workload != index }
    }

    private mutating func assignFrontend(to index: Int, _ random: inout SeededGenerator) {
        let family = random.below(2) == 0 ? IPFamily.v4 : .v6
        let number = random.below(limits.frontends)
        create(index)
        owners[Self.frontend(number, family, transport(index))] = (index, FrontendKind.allCases[number % 4])
    }

    private mutating func create(_ index: Int) {
        guard workloads[index] == nil else { return }
        workloads[index] = Workload(
            name: ServicePortName(
                service: ObjectName(namespace: "test", name: "service-\(index)"), port: "main",
                transport: transport(index)))
    }

    private mutating func addEndpoint(to index: Int, _ random: inout SeededGenerator) {
        create(index)
        let family = random.below(2) == 0 ? IPFamily.v4 : .v6
        let endpoint = Self.backend(random.below(limits.endpoints), family, transport(index))
        workloads[index]?.endpoints[endpoint] = Status()
    }

    private mutating func replaceEndpoints(of index: Int, _ random: inout SeededGenerator) {
        create(index)
        workloads[index]?.endpoints.removeAll()
        for _ in 0..<random.below(limits.endpoints) + 1 { addEndpoint(to: index, &random) }
    }

    private mutating func changeEndpoint(
        of index: Int, _ random: inout SeededGenerator, _ change: (inout Status) -> Void
    ) {
        guard let endpoint = workloads[index]?.endpoints.keys.sorted().randomElement(using: &random) else { return }
        if var status = workloads[index]?.endpoints[endpoint] {
            change(&status)
            workloads[index]?.endpoints[endpoint] = status
        }
    }

    private mutating func copyEndpoints(to index: Int, _ random: inout SeededGenerator) {
        let donor = random.below(limits.services)
        guard donor % 3 == index % 3, let endpoints = workloads[donor]?.endpoints else { return }
        create(index)
        workloads[index]?.endpoints = endpoints
    }

    // Two services of three speak TCP.
    private func transport(_ index: Int) -> TransportProtocol { index % 3 == 2 ? .udp : .tcp }

    /// The state that is wanted.
    public var desired: DesiredState {
        var frontends: [Frontend] = []
        for (key, owner) in owners {
            guard let workload = workloads[owner.workload] else { continue }
            let usable = workload.usable(key.address.family)
            let local = BackendSet(usable.members.filter(\.isLocal))
            let reachable = workload.externalReachesRemote ? usable : local
            let refusal: Refusal =
                usable.isEmpty ? .noEndpoints : workload.localPolicy ? .noLocalEndpointsExternal : .loopback
            frontends.append(
                Frontend(
                    key: key, kind: owner.kind, servicePort: workload.name,
                    external: reachable.isEmpty ? .refused(refusal) : .backends(reachable),
                    internal: usable.isEmpty ? .refused(.noEndpoints) : .backends(usable),
                    allowedSources: owner.kind == .loadBalancer ? workload.ranges[key.address.family] : nil,
                    affinity: workload.affinity, masquerade: workload.masquerade, forwarding: workload.forwarding))
        }
        var serving: [ServicePortName: Set<TransportEndpoint>] = [:]
        for workload in workloads.values { serving[workload.name] = Set(workload.endpoints.keys) }
        return DesiredState(frontends: frontends, serving: serving)
    }

    /// Where clients are.
    public static func sources(_ family: IPFamily) -> [IPAddress] { [1, 65, 129].map { client(family, $0) } }

    /// What Services may let in: of the clients the first two, the first, the second, the first alone, none.
    static func prefixes(_ family: IPFamily) -> [CIDR] {
        let host = family.bitWidth
        return [(0, host - 7), (0, host - 6), (64, host - 6), (1, host), (192, host - 6)].compactMap {
            CIDR(client(family, $0), length: $1)
        }
    }

    private static func client(_ family: IPFamily, _ number: Int) -> IPAddress {
        family == .v4
            ? IPAddress(v4: 0xCB00_7100 + UInt32(number))
            : IPAddress(v6: 0x2001_0DB8 << 96 | 0xC << 32 | UInt128(number))
    }

    /// A frontend of the documentation ranges.
    public static func frontend(
        _ number: Int, _ family: IPFamily, _ transport: TransportProtocol
    ) -> TransportEndpoint {
        // Two to an address, of different kinds.
        TransportEndpoint(address(family, v4: 0xC000_0200, v6: 0xF, number / 2), 80 + UInt16(number % 3), transport)
    }

    /// An endpoint of the benchmark and documentation ranges.
    public static func backend(_ number: Int, _ family: IPFamily, _ transport: TransportProtocol) -> TransportEndpoint {
        TransportEndpoint(address(family, v4: 0xC612_0000, v6: 0xB, number), 8080, transport)
    }

    private static func address(_ family: IPFamily, v4: UInt32, v6: UInt128, _ number: Int) -> IPAddress {
        family == .v4
            ? IPAddress(v4: v4 + UInt32(number + 1))
            : IPAddress(v6: 0x2001_0DB8 << 96 | v6 << 32 | UInt128(number + 1))
    }
}

extension World.Workload {
    /// Terminating endpoints only where there is no other.
    func usable(_ family: IPFamily) -> BackendSet {
        let own = endpoints.filter { $0.key.address.family == family }
        let ready = own.filter { !$0.value.isTerminating }
        return BackendSet(
            (ready.isEmpty ? own : ready).map {
                BackendSpec(endpoint: $0.key, weight: $0.value.weight, isLocal: World.isLocal($0.key))
            })
    }
}
