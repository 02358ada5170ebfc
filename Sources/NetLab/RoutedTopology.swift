public import NetTypes
internal import Netlink

/// Nodes with pods, and clients, all joined by a router:
///
///     client eth0 ── c<i> router n<k> ── eth0 node<k> nt<pod> ── eth0 pod
///                          node<k> eth1 ── eth1 node<l>   (if joined directly)
///
/// Each node is a ``Topology`` of its own number, whose pods' addresses are as described there. Besides, where k is the
/// node's number and i counts clients:
///
/// | | IPv4 | IPv6 |
/// | --- | --- | --- |
/// | node k, `eth0` | 192.0.2.(64k+1)/28 | 2001:db8:2:(4k)::1/64 |
/// | router, `n<k>` | 192.0.2.(64k+2)/28 | 2001:db8:2:(4k)::2/64 |
/// | node k, `eth1` | 192.0.2.(240+k+1)/28 | 2001:db8:2:f::(k+1)/64 |
/// | client i | 198.19.i.2/24 | 2001:db8:19:i::2/64 |
/// | router, `c<i>` | 198.19.i.1/24 | 2001:db8:19:i::1/64 |
///
/// Clients and nodes have default routes through the router, which knows where pods are; nodes that are joined directly
/// reach each other's pods over `eth1`. VIPs (203.0.113.0/24, 2001:db8:113::/48) lead to node 0 until ``serve(from:)``.
public final class RoutedTopology: Sendable {
    /// The nodes, `node0` and so on, by number.
    public let nodes: [Topology]
    /// The router.
    public let router: Host
    /// Whether the nodes have a wire between them.
    public let isJoinedDirectly: Bool
    /// The clients, in the order in which they were named.
    public let clients: [Host]

    /// Builds the network: for each node the names of its pods, all different, and at most 200 clients. Two nodes may be
    /// joined directly.
    public init(podNames: [[String]], clientNames: [String], joinedDirectly: Bool = false) throws {
        guard (1...4).contains(podNames.count), clientNames.count <= 200, !joinedDirectly || podNames.count == 2 else {
            throw LabError(
                "build", "routed topology", .other("there is room for 4 nodes and 200 clients; two nodes can be joined")
            )
        }
        isJoinedDirectly = joinedDirectly
        nodes = try podNames.enumerated().map { number, names in
            try Topology(podNames: names, nodeName: "node\(number)", number: number)
        }
        router = try Host(name: "router")
        clients = try clientNames.map { try Host(name: $0) }
        try router.enableForwarding()
        for number in nodes.indices { try connectNode(number) }
        for (i, client) in clients.enumerated() { try connectClient(client, i) }
        if joinedDirectly { try joinDirectly() }
        try serve(from: 0)
    }

    /// A pod or client by name.
    public func host(_ name: String) throws -> Host {
        for host in clients where host.name == name { return host }
        for node in nodes {
            if let pod = try? node.host(name) { return pod }
        }
        throw LabError("look up", "host \(name)", .other("there is no such host"))
    }

    /// The address of a node's `eth0`.
    public func nodeAddress(_ number: Int, _ family: IPFamily) -> IPAddress { Self.uplink(family, number, 1) }

    /// The router's address towards a node.
    public func routerAddress(towards number: Int, _ family: IPFamily) -> IPAddress {
        Self.uplink(family, number, 2)
    }

    /// What the pods of a node have as their gateway: the node's address on every pod's device.
    public func podGateway(_ number: Int, _ family: IPFamily) throws -> IPAddress {
        try nodes[number].node.address(family)
    }

    /// Routes all VIPs to a node, at once: what an upstream router does when it hashes flows anew.
    public func serve(from number: Int) throws {
        for family in IPFamily.allCases {
            try router.setRoute(
                to: Self.services(family), via: nodeAddress(number, family), device: "n\(number)")
        }
    }

    /// Routes to one address by way of a node, from the router on.
    public func route(_ address: IPAddress, to number: Int) throws {
        try router.setRoute(
            to: .only(address), via: nodeAddress(number, address.family), device: "n\(number)")
    }

    /// Lets nothing longer than so many bytes of IP pass the router towards a client: it says so to who sends more. `nil`
    /// undoes that.
    public func narrowPath(toClient client: Host, mtu: UInt32?) throws {
        guard let i = clients.firstIndex(where: { $0 === client }) else { return }
        for family in IPFamily.allCases {
            try router.setRoute(to: .only(client.address(family)), device: "c\(i)", mtu: mtu)
        }
    }

    /// The same towards the pods of a node, and towards addresses that it holds for others.
    public func narrowPath(toPodsOf number: Int, mtu: UInt32) throws {
        for family in IPFamily.allCases {
            try router.setRoute(
                to: Self.pods(family, number), via: nodeAddress(number, family), device: "n\(number)", mtu: mtu)
        }
    }

    /// Sets the MTU of the wire that joins two nodes directly.
    public func setJoint(mtu: UInt32) throws {
        for node in nodes {
            let index = try node.node.device("eth1").index
            try node.node.namespace.withNetlink { try $0.setMTU(index, mtu) }
        }
    }

    private func connectNode(_ number: Int) throws {
        let node = nodes[number].node
        let device = "n\(number)"
        try Wire(node, "eth0", router, device).receiveTransmittedByXDP()
        for family in IPFamily.allCases {
            let length = family == .v4 ? 28 : 64
            let (own, gateway) = (nodeAddress(number, family), Self.uplink(family, number, 2))
            try node.addAddress(own, prefixLength: length, device: "eth0")
            try router.addAddress(gateway, prefixLength: length, device: device)
            try node.addDefaultRoute(via: gateway, device: "eth0")
            try router.addRoute(to: Self.pods(family, number), via: own, device: device)
        }
    }

    private func connectClient(_ client: Host, _ i: Int) throws {
        _ = try Wire(client, "eth0", router, "c\(i)")
        for family in IPFamily.allCases {
            let length = family == .v4 ? 24 : 64
            let gateway = Self.outside(family, i, 1)
            try client.addAddress(Self.outside(family, i, 2), prefixLength: length, device: "eth0")
            try router.addAddress(gateway, prefixLength: length, device: "c\(i)")
            try client.addDefaultRoute(via: gateway, device: "eth0")
        }
    }

    private func joinDirectly() throws {
        _ = try Wire(nodes[0].node, "eth1", nodes[1].node, "eth1")
        for (number, node) in nodes.enumerated() {
            for family in IPFamily.allCases {
                try node.node.addAddress(
                    Self.joint(family, number), prefixLength: family == .v4 ? 28 : 64, device: "eth1")
                try node.node.addRoute(
                    to: Self.pods(family, 1 - number), via: Self.joint(family, 1 - number), device: "eth1")
            }
        }
    }

    /// The address of a node's `eth1`.
    public static func joint(_ family: IPFamily, _ number: Int) -> IPAddress {
        switch family {
        case .v4: IPAddress(v4: 0xC000_02F1 + UInt32(number))
        case .v6: IPAddress(v6: 0x2001_0db8_0002_000f << 64 | UInt128(number + 1))
        }
    }

    private static func uplink(_ family: IPFamily, _ number: Int, _ last: Int) -> IPAddress {
        switch family {
        case .v4: IPAddress(v4: 0xC000_0200 | UInt32(64 * number + last))
        case .v6: IPAddress(v6: 0x2001_0db8_0002_0000 << 64 | UInt128(4 * number) << 64 | UInt128(last))
        }
    }

    private static func outside(_ family: IPFamily, _ i: Int, _ last: Int) -> IPAddress {
        switch family {
        case .v4: IPAddress(v4: 0xC613_0000 | UInt32(i << 8 | last))
        case .v6: IPAddress(v6: 0x2001_0db8_0019_0000 << 64 | UInt128(i) << 64 | UInt128(last))
        }
    }

    private static func pods(_ family: IPFamily, _ number: Int) throws -> CIDR {
        switch family {
        case .v4: try .prefix(IPAddress(v4: 0xC612_0000 | UInt32(number << 8)), 24)
        case .v6: try .prefix(IPAddress(v6: 0x2001_0db8_0018_0000 << 64 | UInt128(number) << 64), 64)
        }
    }

    private static func services(_ family: IPFamily) throws -> CIDR {
        switch family {
        case .v4: try .prefix(IPAddress(v4: 0xCB00_7100), 24)
        case .v6: try .prefix(IPAddress(v6: 0x2001_0db8_0113 << 80), 48)
        }
    }
}
