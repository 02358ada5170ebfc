internal import NetLab
internal import NetTypes

/// Who leads packets to backends on the node of a chain.
enum Forwarder: Sendable {
    /// Nobody: clients address a backend themselves, and the kernel forwards.
    case direct
    /// Needletail.
    case needletail(NeedletailHooks)
    /// Rules as kube-proxy writes them.
    case peer(PeerKind)

    /// What it is called in reports.
    var subject: String {
        switch self {
        case .direct: "direct"
        case .needletail(let hooks): hooks.subject
        case .peer(let peer): peer.subject
        }
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
    /// - Throws: ``PeerError/unavailable(_:)`` for a peer that cannot be had here; for reports there is
    ///   ``Measurement/Outcome/init(of:)``.
    init(_ forwarder: Forwarder, _ services: BenchServices, flows: Int) throws {
        self.forwarder = forwarder
        let chain = try Chain(services)
        self.chain = chain
        switch forwarder {
        case .direct: needletail = nil
        case .needletail(let hooks): needletail = try NeedletailNode(chain, hooks, flows: flows)
        case .peer(let peer):
            needletail = nil
            for family in IPFamily.allCases {
                try peer.install(PeerCluster(services, family), in: chain.node.namespace)
            }
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

extension Peer {
    /// All that a peer of the settings stands for.
    var forwarders: [Forwarder] { PeerKind.kinds(of: self).map { .peer($0) } }
}

extension PeerCluster {
    fileprivate init(_ services: BenchServices, _ family: IPFamily) throws(PeerError) {
        let measured = PeerService(
            "bench/measured", transport: .tcp, clusterIP: services.clusterIP(family).address, port: BenchServices.port,
            nodePort: BenchServices.nodePort, keepsClientAddress: services.placement == .local,
            endpoints: services.endpoints(family))
        // The others have one endpoint each: no packet comes that far in their rules, and iptables-nft 1.8 takes minutes to
        // load ten for each of thousands. No local detector: nobody masquerades what comes to a ClusterIP, Needletail does not either.
        try self.init(
            family: family, measured: [measured], services: services.count,
            nodeAddresses: [BenchServices.nodeAddress(family)])
    }
}

extension Measurement.Outcome {
    /// What a failure to set something up makes of its measurements.
    init(of error: any Error) {
        self = (error as? PeerError)?.outcome ?? .failed("\(error)")
    }
}
