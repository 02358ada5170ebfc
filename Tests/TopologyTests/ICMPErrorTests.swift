import Dataplane
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

/// What clients of a node's own pods hear of packets that did not arrive.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct ICMPErrorTests {
    private static let ways: [(client: String, kinds: [FrontendKind])] = [
        ("client", [.clusterIP, .nodePort]), ("outside", [.nodePort, .loadBalancer]),
    ]

    /// A cluster with one Service, whose only backend is this pod.
    private func cluster(_ mode: AttachMode, backend: String) throws -> (Cluster, ServiceManifest) {
        let cluster = try Cluster()
        if backend == "quiet" { try cluster.topology.addPod("quiet") }
        let service = try cluster.service("web", [backend: .ready])
        try cluster.manifests.put(service)
        try cluster.start(mode.flags)
        try cluster.waitUntilInStep()
        return (cluster, service)
    }

    /// Lets nothing longer than 1400 bytes of IP pass the node towards the pod.
    private func narrow(_ cluster: Cluster) throws {
        for address in try cluster.topology.host("a").addresses {
            let alone = try #require(CIDR(address, length: address.family.bitWidth))
            try cluster.topology.node.setRoute(to: alone, device: "nta", mtu: 1400)
        }
    }

    private func forEveryWay(
        _ cluster: Cluster, _ service: ServiceManifest, _ transport: TransportProtocol,
        _ body: (NetLab.Host, TransportEndpoint) throws -> Void
    ) throws {
        for way in Self.ways {
            for kind in way.kinds {
                for family in IPFamily.allCases {
                    try body(
                        cluster.topology.host(way.client), cluster.frontend(service, kind, family, transport))
                }
            }
        }
    }

    @Test(arguments: AttachMode.all)
    func aClosedPortOfABackendIsAClosedPortOfTheFrontend(_ mode: AttachMode) throws {
        let (cluster, service) = try cluster(mode, backend: "quiet")
        try forEveryWay(cluster, service, .udp) { client, frontend in
            let connected = try UDPClient(client, frontend.address.family)
            try connected.connect(to: frontend.address, port: frontend.port)
            try connected.send("hello")
            let error = #expect(throws: LabError.self) { try connected.receive() }
            #expect(error?.isRefused == true, "\(client.name) to \(frontend): \(String(describing: error))")

            let socket = try UDPClient(client, frontend.address.family)
            try socket.collectErrors()
            try socket.send("hello", to: frontend.address, port: frontend.port)
            #expect(try socket.nextError() == .portUnreachable(sender: frontend.address))
        }
    }

    @Test(arguments: AttachMode.all)
    func whatTheNodeHasToSayIsSaidInTheFrontendsName(_ mode: AttachMode) throws {
        let (cluster, service) = try cluster(mode, backend: "a")
        try narrow(cluster)
        try forEveryWay(cluster, service, .udp) { client, frontend in
            let socket = try UDPClient(client, frontend.address.family)
            try socket.collectErrors()
            try socket.sendWhole()
            try socket.send(String(repeating: "x", count: 1440), to: frontend.address, port: frontend.port)
            #expect(try socket.nextError() == .tooBig(mtu: 1400, sender: frontend.address))

            let near = try UDPClient(client, frontend.address.family)
            try near.collectErrors()
            try near.setHopLimit(1)
            try near.send("hello", to: frontend.address, port: frontend.port)
            #expect(try near.nextError() == .timeExceeded(sender: frontend.address))
        }
    }

    @Test(arguments: AttachMode.all)
    func connectionsLearnThePathMTUOfTheirBackend(_ mode: AttachMode) throws {
        let (cluster, service) = try cluster(mode, backend: "a")
        try narrow(cluster)
        try forEveryWay(cluster, service, .tcp) { client, frontend in
            let connection = try TCPConnection(
                client, to: frontend.address, port: frontend.port, timeout: .seconds(10))
            #expect(try connection.maximumSegmentSize > 1400)
            let line = String(repeating: "0123456789", count: 3000)
            #expect(try connection.request(line).hasSuffix(" " + line))
            let headers = frontend.address.family == .v4 ? 40 : 60
            #expect(try (1200...1400 - headers).contains(connection.maximumSegmentSize))
        }
    }
}
