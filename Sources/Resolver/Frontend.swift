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

extension FrontendKind {
    /// Whether another node can answer in its name: that node must have the same frontend, and a NodePort is on each
    /// node's own addresses.
    var canReturnDirectly: Bool { self == .loadBalancer || self == .externalIP }
}

/// Why a scope of a frontend has no backends.
public enum Refusal: Sendable, Hashable {
    /// No endpoint anywhere is ready, or serving while terminating.
    case noEndpoints
    /// `internalTrafficPolicy: Local`, and no usable endpoint on this node.
    case noLocalEndpointsInternal
    /// `externalTrafficPolicy: Local`, and no usable endpoint on this node.
    case noLocalEndpointsExternal
    /// A loopback address from outside (CVE-2020-8558): nobody but this node has business there.
    case loopback

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

/// For which traffic the source is rewritten to an address of this node whatever the backend. Where the reply would not
/// come back through this node, the datapath does so anyway.
public struct Masquerade: Sendable, Hashable {
    /// For traffic that arrives at the node's external devices.
    public let external: Bool
    /// For traffic of this node's pods.
    public let `internal`: Bool

    /// Puts the two together.
    public init(external: Bool, `internal`: Bool) {
        self.external = external
        self.internal = `internal`
    }

    /// For none.
    public static let never = Masquerade(external: false, internal: false)

    /// As the policy and masquerade matrix of kube-proxy has it (`TestInternalExternalMasquerade`), for the node and
    /// external sources of which this proxy has one scope; the sockets of the node choose their source by themselves.
    init(_ mode: MasqueradeMode, _ kind: FrontendKind, externalLocal: Bool) {
        switch (mode, kind) {
        case (.minimal, _): self = .never
        case (_, .clusterIP): self.init(external: true, internal: mode == .all)
        case (_, .loadBalancer), (_, .externalIP), (_, .nodePort):
            self.init(external: !externalLocal, internal: !externalLocal)
        }
    }
}

/// When sources are rewritten.
public enum MasqueradeMode: String, Sendable, Hashable, CaseIterable {
    /// Only where the reply would not come back through this node: clients see their address at local backends.
    case minimal
    /// As kube-proxy does.
    case kubeProxy = "kube-proxy"
    /// As kube-proxy does with `masqueradeAll`.
    case all
}

/// How outside traffic reaches backends on other nodes.
public enum Forwarding: String, Sendable, Hashable, CaseIterable {
    /// With this node as its source; replies come back through this node.
    case snat
    /// Encapsulated, with its own source; the backend's node answers the client.
    case dsr
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
    /// Whose source is rewritten.
    public let masquerade: Masquerade
    /// How outside traffic reaches remote backends.
    public let forwarding: Forwarding

    /// A frontend.
    public init(
        key: TransportEndpoint, kind: FrontendKind, servicePort: ServicePortName, external: ScopeAnswer,
        `internal`: ScopeAnswer, allowedSources: [CIDR]? = nil, affinity: SessionAffinity = .none,
        masquerade: Masquerade = .never, forwarding: Forwarding = .snat
    ) {
        self.key = key
        self.kind = kind
        self.servicePort = servicePort
        self.external = external
        self.internal = `internal`
        self.allowedSources = allowedSources
        self.affinity = affinity
        self.masquerade = masquerade
        self.forwarding = forwarding
    }
}
