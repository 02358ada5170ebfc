internal import NetLab
internal import NetTypes

extension PeerKind: ServicePeer {
    func unavailability() -> String? {
        do {
            let namespace = try NetLab.NetworkNamespace(name: "probe of \(subject)")
            for family in IPFamily.allCases { _ = try RuleProgram(self, family, in: namespace) }
            return nil
        } catch {
            return "\(error)"
        }
    }

    /// Others have one endpoint each: no packet gets to their rules, and more would only take longer to make. There is no
    /// range of Pods, so that nobody masquerades what comes to a ClusterIP, as Needletail does not.
    func install(_ services: BenchServices, on node: Host) throws {
        for family in IPFamily.allCases {
            let frontend = services.clusterIP(family)
            let measured = PeerService(
                "bench/service-\(services.measured)", transport: frontend.transport, clusterIP: frontend.address,
                port: frontend.port, nodePort: BenchServices.nodePort,
                keepsClientAddress: services.placement == .local, endpoints: services.endpoints(family))
            let cluster = try PeerCluster(
                family: family, measured: [measured], services: services.count,
                nodeAddresses: [BenchServices.nodeAddress(family)])
            try install(cluster, in: node.namespace)
        }
    }
}

extension Peer {
    /// All that it stands for, to be put on a node.
    var servicePeers: [any ServicePeer] { PeerKind.kinds(of: self) }
}
