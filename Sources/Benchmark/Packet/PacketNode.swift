internal import Dataplane
internal import NetLab
internal import NetTypes
internal import Netlink

/// The node of the packet suite: a namespace with a device and a next hop that is always known. Nothing is attached to
/// the device and no packet goes through it; it is there for the datapath's questions to the routing table. It goes
/// with this object.
struct PacketNode: Sendable {
    private let host: Host
    private let neighbour: Host
    /// The device's index: where all packets come in, and leave.
    let device: UInt32
    /// What the agent would write of it.
    let record: DeviceRecord

    /// Makes the namespace. Needs root.
    init() throws {
        host = try Host(name: BenchSite.nodeName)
        neighbour = try Host(name: "next hop")
        let wire = try Wire(host, "eth0", neighbour, "eth0")
        let index = wire.a.device.index
        try host.enableForwarding()
        guard let hardwareAddress = MACAddress("02:00:00:00:00:02") else {
            throw BenchmarkError.preparationFailed("no hardware address")
        }
        var addresses: [IPFamily: IPAddress] = [:]
        for family in IPFamily.allCases {
            let site = BenchSite(family: family)
            addresses[family] = site.node
            try host.addAddress(site.node, prefixLength: family == .v4 ? 24 : 64, device: "eth0")
            try host.namespace.withNetlink {
                try $0.addNeighbor(site.nextHop, at: hardwareAddress, interface: index)
            }
            for prefix in site.routed { try host.addRoute(to: prefix, via: site.nextHop, device: "eth0") }
        }
        device = index
        record = DeviceRecord(role: .external, takesFromXDP: true, addresses: addresses)
    }

    /// Runs the closure on the namespace's own thread and waits for it: programs in a test run ask the routing table of
    /// the calling thread's namespace.
    func run<R: Sendable>(_ body: @escaping @Sendable () throws -> R) throws -> R { try host.namespace.run(body) }
}
