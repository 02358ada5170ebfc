public import NetTypes
public import ServiceModel

/// What makes an address and port a frontend.
public enum FrontendKind: String, Sendable, Hashable, CaseIterable {
    /// `spec.clusterIPs`.
    case clusterIP
    /// `status.loadBalancer.ingress`.
    case loadBalancer
    /// `spec.externalIPs`.
    case externalIP
    /// `spec.ports[].nodePort` on one of the node's addresses.
    case nodePort
}

/// Why a scope of a frontend has no backends.
public enum Refusal: Sendable, Hashable {
    /// No endpoint anywhere is ready, or serving while terminating.
    case noEndpoints
    /// `internalTrafficPolicy: Local`, and no usable endpoint on this node.
    case noLocalEndpointsInternal
    /// `externalTrafficPolicy: Local`, and no usable endpoint on this node.
    case noLocalEndpointsExternal
    /// The policy allows remote backends, but the datapath cannot reach them from this scope
    /// (``Resolver/Options/externalScopeLocalOnly``), and none is on this node.
    case noLocalBackend

    /// What to do with the packet.
    public enum Verdict: Sendable, Hashable {
        /// Tell the client: the Service has nobody to answer.
        case reject
        /// Say nothing: the Service is alive, only not from here.
        case drop
    }

    /// kube-proxy rejects where the Service has no endpoints at all, and drops where only the policy forbids those it
    /// has (KEP-2086; `nftables/proxier.go`).
    public var verdict: Verdict { self == .noEndpoints ? .reject : .drop }
}

/// What new connections to a frontend meet in one scope.
public enum ScopeAnswer: Sendable, Hashable {
    /// They are spread over these backends; never empty.
    case backends(BackendSet)
    /// They are refused.
    case refused(Refusal)

    /// The backends; empty when refused.
    public var backendSet: BackendSet {
        if case .backends(let set) = self { set } else { .empty }
    }

    /// The reason, when refused.
    public var refusal: Refusal? {
        if case .refused(let refusal) = self { refusal } else { nil }
    }
}

/// An address, port and protocol that is balanced.
public struct Frontend: Sendable, Hashable {
    /// What it listens on.
    public let key: TransportEndpoint
    /// What it stems from.
    public let kind: FrontendKind
    /// The Service port it belongs to.
    public let servicePort: ServicePortName
    /// For traffic that arrives at the node's external devices.
    public let external: ScopeAnswer
    /// For traffic of this node's pods and of the node itself.
    public let `internal`: ScopeAnswer
    /// Source prefixes that may use it, in every scope; `nil` is everybody, empty is nobody. Only for load balancers.
    public let allowedSources: [CIDR]?
    /// Whether a client stays with its backend. All frontends of a Service port share one memory.
    public let affinity: SessionAffinity

    /// A frontend.
    public init(
        key: TransportEndpoint, kind: FrontendKind, servicePort: ServicePortName, external: ScopeAnswer,
        `internal`: ScopeAnswer, allowedSources: [CIDR]? = nil, affinity: SessionAffinity = .none
    ) {
        self.key = key
        self.kind = kind
        self.servicePort = servicePort
        self.external = external
        self.internal = `internal`
        self.allowedSources = allowedSources
        self.affinity = affinity
    }
}
