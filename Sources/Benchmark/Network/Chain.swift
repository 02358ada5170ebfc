internal import NetLab
internal import NetTypes
internal import Netlink

/// A client, a node and the backends of the measured Service, all in namespaces of their own, so that every packet
/// between them goes through the node; and a pod on the node that can be a client too:
///
///     client eth0 ── eth0 node ntbackend ── eth0 backend     (endpoints of the node)
///     pod    eth0 ── ntpod     eth1      ── eth0 backend     (endpoints elsewhere)
///
/// Routes, neighbours and IPv6 addresses need no time to settle. Addresses are those of ``Topology`` and
/// ``BenchServices``. Clients of generated packets are 198.19.0.0/16 and 2001:db8:19::/112, for which the node asks the
/// client. It all goes with the last reference to it, or with the process.
final class Chain: Sendable {
    /// What is in place on the node.
    let services: BenchServices
    /// Outside of the cluster.
    let client: Host
    /// The node under test.
    let node: Host
    /// Has the addresses of all endpoints of the measured Service: a server on the unspecified address serves them all.
    let backend: Host
    /// A pod of the node; it has no part in what goes from client to backend.
    let pod: Host

    /// The client's and the backend's only device.
    static let endDevice = "eth0"
    /// The node's device towards the client.
    static let clientDevice = "eth0"
    /// The node's device towards the backend.
    var backendDevice: String { services.placement == .local ? "ntbackend" : "eth1" }

    /// Builds it, with nothing on the node but routes.
    init(_ services: BenchServices) throws {
        self.services = services
        let isLocal = services.placement == .local
        let topology = try Topology(
            podNames: isLocal ? ["backend", "pod"] : ["pod"],
            outsideNames: isLocal ? ["client"] : ["client", "backend"],
            nodeName: BenchServices.nodeName)
        node = topology.node
        client = try topology.host("client")
        backend = try topology.host("backend")
        pod = try topology.host("pod")
        try settle(client, Self.clientDevice)
        try settle(backend, backendDevice)
        try settle(pod, "ntpod")
        for family in IPFamily.allCases {
            for endpoint in services.endpoints(family) {
                try backend.addAddress(endpoint.address, device: Self.endDevice)
            }
            if let prefix = BenchServices.backendPrefix(family) {
                try node.addRoute(to: prefix, via: backend.address(family), device: backendDevice)
            }
            if let prefix = CIDR(Self.generatedClients(family), length: family == .v4 ? 16 : 112) {
                try node.addRoute(to: prefix, via: client.address(family), device: Self.clientDevice)
            }
        }
    }

    /// The first of the addresses, 65,536, that generated packets come from.
    static func generatedClients(_ family: IPFamily) -> IPAddress {
        family == .v4 ? IPAddress(v4: 0xC613_0000) : IPAddress(v6: 0x2001_0DB8_0019 << 80)
    }

    /// Tells both ends of a wire of the other.
    private func settle(_ end: Host, _ name: String) throws {
        let (near, far) = (try node.device(name), try end.device(Self.endDevice))
        guard let nearMAC = near.hardwareAddress, let farMAC = far.hardwareAddress else { return }
        let own = try node.namespace.withNetlink { try $0.listAddresses() }
            .filter { $0.interfaceIndex == near.index && !$0.address.isLinkLocal }.map(\.address)
        let others = end.addresses
        try node.namespace.withNetlink { socket in
            for address in others { try socket.addNeighbor(address, at: farMAC, interface: near.index) }
        }
        try end.namespace.withNetlink { socket in
            for address in own { try socket.addNeighbor(address, at: nearMAC, interface: far.index) }
        }
    }
}
