internal import NetLab
internal import NetTypes

/// Who leads packets to backends on the node of a chain.
enum Forwarder: Sendable {
    /// Nobody: clients address a backend themselves, and the kernel forwards.
    case direct
    /// Needletail.
    case needletail(NeedletailHooks)
    /// Somebody else.
    case peer(any ServicePeer)

    /// What it is called in reports.
    var subject: String {
        switch self {
        case .direct: "direct"
        case .needletail(let hooks): hooks.subject
        case .peer(let peer): peer.subject
        }
    }

    /// Why it cannot be had here; `nil` when it can.
    var unavailability: String? {
        if case .peer(let peer) = self { peer.unavailability() } else { nil }
    }
}

/// A chain with somebody on its node. What was installed goes with the last reference to it.
final class NodeUnderTest: Sendable {
    /// The network.
    let chain: Chain
    /// Who is on the node.
    let forwarder: Forwarder
    /// Needletail, if it is that.
    let needletail: NeedletailNode?

    /// Builds a chain and installs `forwarder` for its Services.
    ///
    /// - Parameter flows: how many flows of each family Needletail's tables have room for.
    init(_ forwarder: Forwarder, _ services: BenchServices, flows: Int) throws {
        self.forwarder = forwarder
        let chain = try Chain(services)
        self.chain = chain
        switch forwarder {
        case .direct: needletail = nil
        case .needletail(let hooks): needletail = try NeedletailNode(chain, hooks, flows: flows)
        case .peer(let peer):
            needletail = nil
            try peer.install(services, on: chain.node)
        }
    }

    /// What a client outside of the cluster addresses: where nobody balances, a backend.
    func destination(_ frontend: BenchFrontend, _ family: IPFamily) -> TransportEndpoint {
        if case .direct = forwarder { return chain.services.endpoints(family)[0] }
        return switch frontend {
        case .clusterIP: chain.services.clusterIP(family)
        case .nodePort: chain.services.nodePort(family)
        }
    }
}

/// By which of its frontends the measured Service is addressed.
enum BenchFrontend: String, Sendable, Hashable, CaseIterable {
    case clusterIP = "ClusterIP"
    case nodePort = "NodePort"
}
