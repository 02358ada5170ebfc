internal import NetTypes

/// The endpoint sets of one Service port in one family.
///
/// This is `CategorizeEndpoints` of kube-proxy (`pkg/proxy/topology.go`), step by step: ready and terminating endpoints
/// are never mixed in one set, topology is never applied to the local set, nor to terminating endpoints.
struct EndpointCategories {
    /// Endpoints of the whole cluster to use; empty also when no policy asks for them.
    var cluster: [Candidate] = []
    /// Endpoints on this node to use; empty also when no policy asks for them.
    var local: [Candidate] = []
    /// Whether the Service has anything that could serve, here or elsewhere: decides between reject and drop.
    var hasAny = false
    var topology = TopologyMode.everywhere
    var clusterIsTerminating = false
    var localIsTerminating = false

    init(
        _ endpoints: [Candidate], internalLocal: Bool, externalLocal: Bool, externallyAccessible: Bool,
        context: NodeContext
    ) {
        let usesCluster = !internalLocal || externallyAccessible
        let usesLocal = internalLocal || (externalLocal && externallyAccessible)
        if usesCluster {
            topology = Self.topologyMode(endpoints, context)
            cluster = endpoints.filter { $0.isReady && Self.isAvailable($0, topology, context) }
            if cluster.isEmpty {
                cluster = endpoints.filter(\.isServingTerminating)
                clusterIsTerminating = !cluster.isEmpty
            }
            hasAny = !cluster.isEmpty
        }
        if usesLocal {
            (local, localIsTerminating) = Self.usableLocal(endpoints)
            hasAny = hasAny || endpoints.contains { $0.isReady || $0.isServingTerminating }
        }
    }

    /// The endpoints on this node that may take new connections: the ready ones, else those that serve while
    /// terminating (then the second value is true).
    static func usableLocal(_ endpoints: [Candidate]) -> ([Candidate], isTerminating: Bool) {
        let ready = endpoints.filter { $0.isLocal && $0.isReady }
        guard ready.isEmpty else { return (ready, false) }
        let terminating = endpoints.filter { $0.isLocal && $0.isServingTerminating }
        return (terminating, !terminating.isEmpty)
    }

    /// `topologyModeFromHints`: a level is in force when every ready endpoint has a hint of it and one names us. Falling
    /// back is by level, never because a level leaves nothing.
    private static func topologyMode(_ endpoints: [Candidate], _ context: NodeContext) -> TopologyMode {
        let ready = endpoints.filter(\.isReady)
        let node = context.nodeName
        if !node.isEmpty, ready.allSatisfy({ !$0.forNodes.isEmpty }),
            ready.contains(where: { $0.forNodes.contains(node) })
        {
            return .sameNode
        }
        if let zone = context.zone, !zone.isEmpty, ready.allSatisfy({ !$0.forZones.isEmpty }),
            ready.contains(where: { $0.forZones.contains(zone) })
        {
            return .sameZone
        }
        return .everywhere
    }

    private static func isAvailable(_ endpoint: Candidate, _ mode: TopologyMode, _ context: NodeContext) -> Bool {
        switch mode {
        case .everywhere: true
        case .sameNode: endpoint.forNodes.contains(context.nodeName)
        case .sameZone: endpoint.forZones.contains { $0 == context.zone }
        }
    }
}
