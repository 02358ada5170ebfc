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

    init(
        _ view: ServiceView, _ family: IPFamily, _ clusterIP: IPAddress, _ context: NodeContext,
        _ options: Resolver.Options
    ) {
        self.family = family
        self.clusterIP = clusterIP
        loadBalancerIPs = view.loadBalancerIPs.filter { $0.family == family }
        externalIPs = options.servesExternalIPs ? view.externalIPs.filter { $0.family == family } : []
        nodePortAddresses =
            context.nodePortAddresses.filter { $0.family == family && !$0.isLoopback }
            + (options.servesLocalhostNodePorts ? [.loopback(family)] : [])
        allowedSources = view.allowedSources(family, context)
    }
}

/// What the frontends of one Service port answer, in one family.
struct PortAnswers {
    /// Of the ClusterIP, by the internal policy.
    let clusterIP: ScopeAnswer
    /// Of the others for traffic from outside, by the external policy.
    let external: ScopeAnswer
    /// Of the others for traffic of pods and of the node, which `externalTrafficPolicy: Local` does not bind.
    let shortCircuit: ScopeAnswer
    private(set) var notes: [ResolutionNote] = []

    init(
        _ view: ServiceView, _ port: ServiceView.Port, _ addresses: FamilyAddresses, _ candidates: [Candidate],
        _ context: NodeContext
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
        external = view.externalLocal ? answer(categories.local, orElse: .noLocalEndpointsExternal) : cluster
        shortCircuit = cluster
        notes = Self.notes(categories, port.name, addresses.family)
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

extension IPAddress {
    fileprivate static func loopback(_ family: IPFamily) -> IPAddress {
        family == .v4 ? IPAddress(v4: 0x7F00_0001) : IPAddress(v6: 1)
    }
}
