internal import NetTypes
public import ServiceModel

/// The frontends of one Service. Exact addresses win over NodePorts, otherwise the first to come stays.
struct FrontendCollector {
    private var byKey: [TransportEndpoint: Frontend] = [:]
    private(set) var conflicts: [FrontendConflict] = []

    var sorted: [Frontend] { byKey.values.sorted { $0.key < $1.key } }

    mutating func add(_ frontend: Frontend) {
        guard let present = byKey[frontend.key] else {
            byKey[frontend.key] = frontend
            return
        }
        let replaces = present.kind == .nodePort && frontend.kind != .nodePort
        byKey[frontend.key] = replaces ? frontend : present
        // The same port by two names, such as an external IP that is the load balancer's too, is no conflict.
        guard present.servicePort != frontend.servicePort else { return }
        conflicts.append(
            replaces
                ? FrontendConflict(winner: frontend, loser: present)
                : FrontendConflict(winner: present, loser: frontend))
    }
}

/// Who gets a frontend that several Services claim: exact addresses before NodePorts (kube-proxy looks them up first),
/// then the older Service, one without a creation time last, then by name.
struct Precedence: Comparable {
    let isNodePort: Bool
    let creationTimestamp: Int64
    let name: ObjectName

    init(_ frontend: Frontend, _ service: ResolvedService) {
        isNodePort = frontend.kind == .nodePort
        creationTimestamp = service.creationTimestamp ?? .max
        name = service.name
    }

    static func < (a: Self, b: Self) -> Bool {
        (a.isNodePort ? 1 : 0, a.creationTimestamp, a.name) < (b.isNodePort ? 1 : 0, b.creationTimestamp, b.name)
    }
}

extension Resolver {
    /// Puts Services together and decides who has the frontends that several of them claim.
    public func merge(_ services: some Sequence<ResolvedService>) -> DesiredState {
        var tracker = DesiredTracker()
        for service in services { tracker.update(service.name, service) }
        return tracker.state
    }

    /// Resolves everything in a catalog.
    public func resolve(_ catalog: Catalog, context: NodeContext) -> DesiredState {
        merge(catalog.services.values.map { resolve($0, slices: catalog.slices(of: $0.name), context: context) })
    }
}
