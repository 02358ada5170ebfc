internal import Dataplane
internal import Glibc
internal import NeedletailABI
internal import NetLab
internal import NetTypes

/// A chain with one forwarder on its node and a server behind it. All goes with the last reference to it.
final class ConnectStation {
    /// The chain.
    let node: NodeUnderTest
    private let server: LoadServer
    /// Where the node's own processes are, for socket hooks.
    private let cgroup: Cgroup?

    /// Flows of each family that Needletail has room for: more than a client has ports, on each path.
    private static let flows = 1 << 18

    /// Sets it up. With `cgroup`, the node's processes are in it.
    init(_ forwarder: Forwarder, _ services: BenchServices, cgroup: Cgroup? = nil) throws {
        self.cgroup = cgroup
        node = try NodeUnderTest(forwarder, services, flows: Self.flows)
        try cgroup?.add(node.chain.node.namespace)
        server = try LoadServer(node.chain.backend, port: BenchServices.backendPort)
        for family in IPFamily.allCases {
            // As every node has one: rules see what its processes send to a ClusterIP only if there is a route to it.
            let next = try node.chain.client.address(family)
            try node.chain.node.addDefaultRoute(via: next, device: Chain.clientDevice)
        }
        for path in ConnectPath.allCases {
            // All ports there are, so that none comes again soon.
            try path.client(node.chain).namespace.sysctl("ipv4/ip_local_port_range", "1024 65535")
        }
    }

    /// Takes a sample.
    ///
    /// - Throws: what went wrong, and ``BenchmarkError/preparationFailed(_:)`` when connections did not take the way that is
    ///   to be measured.
    func sample(
        _ kind: LoadKind, _ path: ConnectPath, _ family: IPFamily, connections: Int, duration: Double
    ) throws -> LoadResult {
        let before = try node.needletail?.counters()
        let client = LoadClient(
            kind: kind, target: node.destination(path.frontend, family), server: server, concurrency: connections,
            duration: duration)
        let result = try client.run(from: path.client(node.chain))
        guard let before, let after = try node.needletail?.counters() else { return result }
        for program in DatapathProgram.allCases {
            let led = after[program, .forwardNew] - before[program, .forwardNew]
            guard (led > 0) == (program == path.program) else {
                throw BenchmarkError.preparationFailed(
                    "\(led) connections from \(path.rawValue) were led by \(program.name)")
            }
        }
        return result
    }

    /// Ends the server, as if it had died.
    func stopServer() throws { try server.stop() }
}
