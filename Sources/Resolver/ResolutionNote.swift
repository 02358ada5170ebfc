public import NetTypes
public import ServiceModel

/// How endpoints are chosen by topology, decided by the hints on the ready ones.
public enum TopologyMode: String, Sendable, Hashable {
    /// All are used.
    case everywhere
    /// Those hinted for this node (KEP-3015).
    case sameNode
    /// Those hinted for this node's zone (KEP-2433).
    case sameZone
}

/// A decision of the resolver that a person may want explained.
public enum ResolutionNote: Sendable, Hashable, CustomStringConvertible {
    /// Why a Service is not balanced at all.
    public enum SkipReason: Sendable, Hashable {
        /// `type: ExternalName`.
        case externalName
        /// `clusterIP: None`.
        case headless
        /// No cluster IP yet.
        case noClusterIP
        /// Its label `service.kubernetes.io/service-proxy-name` names another proxy.
        case otherProxy(String)
        /// It has no such label, and this proxy serves only Services that name it.
        case notForThisProxy
    }

    /// Which of the two sets of a Service port is meant.
    public enum EndpointScope: String, Sendable, Hashable {
        /// Endpoints of the whole cluster.
        case cluster
        /// Endpoints on this node.
        case local
    }

    /// The Service has no frontends.
    case skipped(SkipReason)
    /// The port's protocol is not balanced (SCTP).
    case notBalanced(ServicePortName)
    /// An address of `status.loadBalancer.ingress` is not balanced by nodes (`ipMode: Proxy`).
    case ingressHandledByProxy(IPAddress)
    /// Only endpoints hinted for this node or zone are used.
    case topology(ServicePortName, IPFamily, TopologyMode)
    /// No endpoint is ready: those that are terminating and still serving are used (KEP-1669).
    case terminatingFallback(ServicePortName, IPFamily, EndpointScope)

    /// A sentence.
    public var description: String {
        switch self {
        case .skipped(.externalName): "not balanced: type ExternalName"
        case .skipped(.headless): "not balanced: headless"
        case .skipped(.noClusterIP): "not balanced: no cluster IP"
        case .skipped(.otherProxy(let name)): "not balanced: left to the service proxy \"\(name)\""
        case .skipped(.notForThisProxy): "not balanced: does not name this service proxy"
        case .notBalanced(let port): "\(port): \(port.transport) is not balanced"
        case .ingressHandledByProxy(let address): "load balancer IP \(address) has ipMode Proxy: not balanced here"
        case .topology(let port, let family, let mode): "\(port) IPv\(family.rawValue): topology \(mode.rawValue)"
        case .terminatingFallback(let port, let family, let scope):
            "\(port) IPv\(family.rawValue): no ready \(scope.rawValue) endpoint, using terminating ones"
        }
    }
}
