import Dataplane
import Maglev
import NeedletailABI
import NetLab
import NetTypes
import Planning
import Resolver
import TestSupport
import Testing

/// A way of attaching, as the agent's flags have it.
struct AttachMode: Sendable, CustomTestStringConvertible {
    let xdp: String
    let tc: String
    /// What NodePort traffic is translated by.
    var program: DatapathProgram { xdp == "off" ? .externalIngress : .externalXDP }
    var flags: AgentFlags { AgentFlags(["--xdp": xdp, "--tc": tc]) }
    var testDescription: String { "xdp \(xdp), tc \(tc)" }

    /// What `--tc` may be on this kernel, what `auto` comes to first: without TCX, clsact is what must work.
    static let mechanisms = kernelHasTCX ? ["tcx", "clsact"] : ["clsact"]

    static let all = [
        AttachMode(xdp: "auto", tc: "auto"), AttachMode(xdp: "native", tc: "tcx"),
        AttachMode(xdp: "generic", tc: "auto"),
        AttachMode(xdp: "off", tc: "tcx"), AttachMode(xdp: "native", tc: "clsact"),
        AttachMode(xdp: "off", tc: "clsact"),
    ].filter(\.isPossible)

    /// Whether this kernel has what the mode asks for.
    var isPossible: Bool { tc == "auto" || Self.mechanisms.contains(tc) }
    /// What `auto` comes to on this kernel.
    var mechanism: String { tc == "auto" ? Self.mechanisms[0] : tc }
}

@Suite struct AttachModeTests {
    /// An argument that is left out is reported by nobody: where rows are, this test is reported as skipped.
    @Test("Modes that need TCX are tested too", .needsTCX) func noModeIsLeftOut() {
        #expect(Set(AttachMode.all.map(\.tc)) == ["auto", "tcx", "clsact"])
    }
}

@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct ServingTests {
    private static let clients: [(name: String, kinds: [FrontendKind])] = [
        ("client", [.clusterIP, .nodePort, .loadBalancer, .externalIP]),
        ("outside", [.nodePort, .loadBalancer, .externalIP]),
    ]

    @Test(arguments: AttachMode.all)
    func everyFrontendReachesAllBackendsAndKeepsTheClientsAddress(_ mode: AttachMode) throws {
        let (cluster, service) = try Cluster.serving(mode.flags)
        var remapped: UInt64 = 0
        for (name, kinds) in Self.clients {
            let client = try cluster.topology.host(name)
            for kind in kinds {
                for family in IPFamily.allCases {
                    for transport in [TransportProtocol.tcp, .udp] {
                        let frontend = try cluster.frontend(service, kind, family, transport)
                        let address = try client.address(family)
                        var servers: Set<String> = []
                        for _ in 0..<40 {
                            let (answer, port) = try client.ask(frontend)
                            servers.insert(answer.server)
                            // The port can be another flow's to the same backend, through another frontend.
                            if answer.client != address.withPort(port) { remapped += 1 }
                            #expect(
                                answer.client.hasPrefix(address.withPort(0).dropLast()),
                                "\(name) to \(kind) \(frontend)")
                        }
                        #expect(servers == Set(Cluster.servingPods), "\(name) to \(kind) \(frontend)")
                    }
                }
            }
        }
        let counters = try cluster.counters()
        // ARP: a few packets.
        #expect(counters[.externalIngress, .passNotIP] < 10)
        #expect(remapped == counters[.flowPortRemapped])
        // A socket may get a port that has a flow already.
        #expect(counters[mode.program, .forwardNew] > 12 * 35)
        #expect(counters[.workloadIngress, .forwardNew] > 16 * 35)
        for counter in DatapathCounter.allCases where counter.outcome == .dropped {
            #expect(counters[counter] == 0, "\(counter.name)")
        }
    }

    /// The slot is a function of the packet and the endpoints, so anybody can say where a connection goes.
    @Test(arguments: IPFamily.allCases, [TransportProtocol.tcp, .udp])
    func theBackendIsTheOneTheMaglevTableNames(_ family: IPFamily, _ transport: TransportProtocol) throws {
        let (cluster, service) = try Cluster.serving()
        let image = try cluster.image()
        for (name, kind) in [("client", FrontendKind.clusterIP), ("outside", .nodePort)] {
            let client = try cluster.topology.host(name)
            let frontend = try cluster.frontend(service, kind, family, transport)
            let record = try #require(image.frontends[frontend])
            guard case .set(let id) = name == "client" ? record.internal : record.external else {
                Issue.record("\(frontend) refuses")
                continue
            }
            let set = try #require(image.sets[id])
            let slots = try KernelMaps(cluster.maps()).slots(of: set)
            for _ in 0..<25 {
                let (answer, port) = try client.ask(frontend)
                let hash = try #require(
                    FlowHash(source: client.address(family), sourcePort: port, destination: frontend))
                let backend = try #require(image.backends[slots[Int(hash.slot(tableSize: set.slots))]])
                #expect(try cluster.topology.host(answer.server).address(family) == backend.endpoint.address)
            }
        }
    }

    /// A payload's word takes all values, and so does the checksum: those that are special in UDP among them.
    @Test(arguments: IPFamily.allCases, ["client", "outside"])
    func datagramsOfAnyChecksumArrive(_ family: IPFamily, _ name: String) throws {
        let (cluster, service) = try Cluster.serving(AgentFlags(["--xdp": "off"]))
        let frontend = try cluster.frontend(service, name == "client" ? .clusterIP : .nodePort, family, .udp)
        let socket = try UDPClient(cluster.topology.host(name), family, timeout: .milliseconds(500))
        var lost: [UInt16] = []
        for word in UInt16.min ... .max {
            do {
                try socket.send(
                    [UInt8(word >> 8), UInt8(word & 0xff)], to: frontend.address, port: frontend.port)
                _ = try socket.receive()
            } catch {
                lost.append(word)
            }
        }
        #expect(lost == [])
    }

    @Test func whatIsNoFrontendIsNotTouched() throws {
        let (cluster, service) = try Cluster.serving()
        let client = try cluster.client
        for family in IPFamily.allCases {
            for transport in [TransportProtocol.tcp, .udp] {
                let pod = try cluster.topology.host("b").address(family)
                let direct = TransportEndpoint(pod, ServiceManifest.backendPort, transport)
                #expect(try client.ask(direct).answer.server == "b")
                #expect(try cluster.outside.ask(direct).answer.server == "b")
                let otherPort = TransportEndpoint(
                    service.frontend(.clusterIP, family, transport).address, 81, transport)
                #expect(client.cannotReach(otherPort))
            }
        }
        #expect(try cluster.flows().isEmpty)
    }

    @Test(arguments: IPFamily.allCases) func nodePortsAnswerOnEveryAddressInEveryNetwork(_ family: IPFamily) throws {
        let cluster = try Cluster(outsideNames: ["outside", "other"])
        let service = try cluster.service()
        try cluster.manifests.put(service)
        try cluster.start(AgentFlags(["--nodeport-addresses": "external"]))
        try cluster.waitUntilInStep()
        for index in 0..<2 {
            let address = try cluster.topology.nodeAddress(family, outside: index)
            for client in ["outside", "other", "client"] {
                for transport in [TransportProtocol.tcp, .udp] {
                    let frontend = service.frontend(.nodePort, family, transport, node: address)
                    let servers = try cluster.topology.host(client).servers(of: frontend)
                    #expect(servers == Set(Cluster.servingPods), "\(client) to \(frontend)")
                }
            }
        }
    }

    /// Pods and clients outside reach endpoints on other nodes.
    @Test(arguments: IPFamily.allCases, [TransportProtocol.tcp, .udp])
    func endpointsOnOtherNodesServeEverybody(_ family: IPFamily, _ transport: TransportProtocol) throws {
        let cluster = try Cluster(outsideNames: ["outside", "remote"])
        let remote = try cluster.topology.host("remote")
        let server = try EchoServer(remote, port: ServiceManifest.backendPort)
        var service = try cluster.service(["a": .ready])
        service.endpoints.append(.init(addresses: remote.addresses, node: "elsewhere"))
        try cluster.manifests.put(service)
        try cluster.start()
        try cluster.waitUntilInStep()
        let (inside, nodePort) = (
            service.frontend(.clusterIP, family, transport), try cluster.frontend(service, .nodePort, family, transport)
        )
        #expect(try cluster.client.servers(of: inside) == ["a", "remote"])
        #expect(try cluster.client.servers(of: nodePort) == ["a", "remote"])
        #expect(try cluster.outside.servers(of: nodePort) == ["a", "remote"])

        service.endpoints.removeFirst()
        try cluster.apply(service)
        #expect(try cluster.client.servers(of: inside) == ["remote"])
        #expect(try cluster.outside.servers(of: nodePort) == ["remote"])
        try server.stop()
    }

    /// The load balancer's address alone; pods are in the range, the client outside is not (service semantics 2.7).
    @Test func sourceRangesCloseTheLoadBalancerToOthers() throws {
        let cluster = try Cluster()
        var service = try cluster.service()
        service.extras = ["loadBalancerSourceRanges: [198.18.0.0/24]"]
        try cluster.manifests.put(service)
        try cluster.start()
        try cluster.waitUntilInStep()
        let loadBalancer = service.frontend(.loadBalancer, .v4, .tcp)
        #expect(try cluster.client.servers(of: loadBalancer) == Set(Cluster.servingPods))
        #expect(try cluster.outside.cannotReach(loadBalancer))
        for client in [try cluster.client, try cluster.outside] {
            let nodePort = try cluster.frontend(service, .nodePort, .v4, .tcp)
            #expect(try client.servers(of: nodePort) == Set(Cluster.servingPods))
        }
    }
}
