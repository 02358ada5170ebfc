internal import NetTypes
internal import ServiceModel

/// The addresses of a Service's frontends in one family.
struct FamilyAddresses {
    let family: IPFamily
    let clusterIP: IPAddress
    let loadBalancerIPs: [IPAddress]
    let externalIPs: [IPAddress]
    let nodePortAddresses: [IPAddress]
    let allowedSources: [CIDR]?

    init(_ view: ServiceView, _ family: IPFamily, _ clusterIP: IPAddress, _ context: NodeContext) {
        self.family = family
        self.clusterIP = clusterIP
        loadBalancerIPs = view.loadBalancerIPs.filter { $0.family == family }
        externalIPs = view.externalIPs.filter { $0.family == family }
        nodePortAddresses = context.nodePortAddresses.filter { $0.family == family && !$0.isLoopback }
        allowedSources = view.allowedSources(family, context)
    }
}

/// What the frontends of one Service port answer, in one family.
struct PortAnswers {
    /// Of the ClusterIP, by the internal policy.
    let clusterIP: ScopeAnswer
    /// The same, for traffic from outside.
    let clusterIPExternal: ScopeAnswer
    /// Of the others for traffic from outside, by the external policy.
    let external: ScopeAnswer
    /// Of the others for traffic of pods and of the node, which `externalTrafficPolicy: Local` does not bind.
    let shortCircuit: ScopeAnswer
    private(set) var notes: [ResolutionNote] = []

    init(
        _ view: ServiceView, _ port: ServiceView.Port, _ addresses: FamilyAddresses, _ candidates: [Candidate],
        _ context: NodeContext, _ options: Resolver.Options
    ) {
        let isAccessible =
            port.nodePort != nil || !addresses.loadBalancerIPs.isEmpty || !addresses.externalIPs.isEmpty
        let categories = EndpointCategories(
            candidates, internalLocal: view.internalLocal, externalLocal: view.externalLocal,
            externallyAccessible: isAccessible, context: context)
        func answer(_ chosen: [Candidate], orElse refusal: Refusal) -> ScopeAnswer {
            guard categories.hasAny else { return .refused(.noEndpoints) }
            return chosen.isEmpty ? .refused(refusal) : .backends(BackendSet(chosen))
        }
        let cluster = answer(categories.cluster, orElse: .noEndpoints)
        clusterIP = view.internalLocal ? answer(categories.local, orElse: .noLocalEndpointsInternal) : cluster
        let wanted = view.externalLocal ? answer(categories.local, orElse: .noLocalEndpointsExternal) : cluster
        shortCircuit = cluster
        guard options.externalScopeLocalOnly else {
            clusterIPExternal = clusterIP
            external = wanted
            notes = Self.notes(categories, port.name, addresses.family)
            return
        }
        clusterIPExternal = Self.cutToLocal(clusterIP, candidates)
        external = Self.cutToLocal(wanted, candidates)
        notes = Self.notes(categories, port.name, addresses.family)
        if clusterIPExternal != clusterIP || external != wanted {
            notes.append(.externalScopeCutToLocal(port.name, addresses.family))
        }
    }

    /// The members on this node; if there are none, what the `Local` policy would have used.
    private static func cutToLocal(_ answer: ScopeAnswer, _ candidates: [Candidate]) -> ScopeAnswer {
        guard case .backends(let set) = answer else { return answer }
        var members = set.members.filter(\.isLocal)
        if members.isEmpty { members = EndpointCategories.usableLocal(candidates).0.map(BackendSpec.init) }
        return members.isEmpty ? .refused(.noLocalBackend) : .backends(BackendSet(members))
    }

    private static func notes(
        _ categories: EndpointCategories, _ port: ServicePortName, _ family: IPFamily
    ) -> [ResolutionNote] {
        var notes: [ResolutionNote] = []
        if categories.topology != .everywhere { notes.append(.topology(port, family, categories.topology)) }
        if categories.clusterIsTerminating { notes.append(.terminatingFallback(port, family, .cluster)) }
        if categories.localIsTerminating { notes.append(.terminatingFallback(port, family, .local)) }
        return notes
    }
}

extension BackendSpec {
    fileprivate init(_ candidate: Candidate) {
        self.init(endpoint: candidate.endpoint, isLocal: candidate.isLocal)
    }
}

extension BackendSet {
    fileprivate init(_ candidates: [Candidate]) { self.init(candidates.map(BackendSpec.init)) }
}
