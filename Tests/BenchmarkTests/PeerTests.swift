import Benchmark
import NetLab
import NetTypes
import TestSupport
import Testing

@Suite(.serialized, .needsRoot, .timeLimit(.minutes(5))) struct PeerTests {
    private static let pods = ["one", "two", "three"]
    private let topology: Topology
    private let servers: [EchoServer]

    init() throws {
        let topology = try Topology(podNames: Self.pods + ["inside"], outsideNames: ["outside"])
        self.topology = topology
        servers = try Self.pods.map { try EchoServer(topology.host($0), port: 8080) }
    }

    /// A Service for TCP and one for UDP at the same address, of all pods.
    private func cluster(_ family: IPFamily, _ services: Int, keeping: Bool) throws -> PeerCluster {
        let address = IPAddress(family == .v4 ? "203.0.113.7" : "2001:db8:113::7")
        let measured = try [TransportProtocol.tcp, .udp].map { transport in
            PeerService(
                "default/web", portName: "\(transport)", transport: transport, clusterIP: try #require(address),
                port: 80,
                nodePort: 30_080, keepsClientAddress: keeping, endpoints: try endpoints(family, transport))
        }
        let pods = CIDR(family == .v4 ? "198.18.0.0/24" : "2001:db8:18::/64")
        return try PeerCluster(
            family: family, measured: measured, services: services, podRange: pods,
            nodeAddresses: topology.node.addresses)
    }

    private func endpoints(_ family: IPFamily, _ transport: TransportProtocol) throws -> [TransportEndpoint] {
        try Self.pods.map { TransportEndpoint(try topology.host($0).address(family), 8080, transport) }
    }

    /// Who answered, and whom they saw, by TCP and UDP in turns. That one of three is never chosen has a chance of less
    /// than 10^-9.
    private func answers(_ client: String, _ address: IPAddress, _ port: UInt16) throws -> (Set<String>, Set<String>) {
        let client = try topology.host(client)
        var (names, clients): (Set<String>, Set<String>) = ([], [])
        for number in 0..<120 {
            let reply =
                number % 2 == 0
                ? try TCPConnection(client, to: address, port: port).request("x")
                : try UDPClient(client, address.family).request("x", to: address, port: port).text
            let words = reply.split(separator: " ")
            names.insert(String(words[0]))
            let sender = words[1].prefix { $0 != "]" }.drop { $0 == "[" }
            clients.insert(address.family == .v4 ? String(sender.prefix { $0 != ":" }) : String(sender))
        }
        return (names, clients)
    }

    private static let kindsByFamily = IPFamily.allCases.flatMap { family in PeerKind.allCases.map { ($0, family) } }

    /// In a network of its own each: the kernel's tracked connections outlive the rules they were made by.
    @Test(
        "What is sent to a Service that comes last gets to each of its endpoints, from whom it should",
        arguments: kindsByFamily, [(2, false), (50, true)])
    func everyEndpointIsReached(_ peer: (PeerKind, IPFamily), _ services: (count: Int, keep: Bool)) throws {
        let (kind, family) = peer
        let cluster = try cluster(family, services.count, keeping: services.keep)
        do {
            try kind.install(cluster, in: topology.node.namespace)
        } catch {
            guard case .unavailable(let reason) = error else { throw error }
            #expect(!reason.isEmpty)
            return
        }
        let service = try #require(cluster.services.last)
        let outside = "\(try topology.host("outside").address(family))"
        let inside = "\(try topology.host("inside").address(family))"

        let fromInside = try answers("inside", service.clusterIP, service.port)
        #expect(fromInside == (Set(Self.pods), [inside]))
        let fromOutside = try answers("outside", service.clusterIP, service.port)
        #expect(fromOutside.0 == Set(Self.pods) && fromOutside.1.count == 1 && !fromOutside.1.contains(outside))
        let byNodePort = try answers("outside", topology.nodeAddress(family), 30_080)
        #expect(byNodePort.0 == Set(Self.pods) && byNodePort.1.count == 1)
        #expect(byNodePort.1.contains(outside) == services.keep)
    }

    @Test("Rules that were taken away can be made again", arguments: PeerKind.allCases)
    func rulesAreRemoved(_ kind: PeerKind) throws {
        for count in [2, 20] {
            let cluster = try cluster(.v4, count, keeping: true)
            do {
                try kind.install(cluster, in: topology.node.namespace)
            } catch {
                guard case .unavailable = error else { throw error }
                return
            }
            try kind.remove(.v4, in: topology.node.namespace)
            let service = try #require(cluster.services.last)
            let client = try topology.host("inside")
            #expect(throws: LabError.self) {
                try TCPConnection(client, to: service.clusterIP, port: service.port, timeout: .milliseconds(200))
            }
        }
    }

    @Test("After a change, what is new gets to the endpoints that are left", arguments: PeerKind.allCases)
    func changesTakeEffect(_ kind: PeerKind) throws {
        var cluster = try cluster(.v4, 20, keeping: true)
        let index = cluster.services.count - 2
        let service = cluster.services[index]
        let program: RuleProgram
        do {
            program = try RuleProgram(kind, .v4, in: topology.node.namespace)
        } catch {
            guard case .unavailable = error else { throw error }
            return
        }
        try program.prepare(cluster)
        try program.write(program.full(cluster))
        var former = service.endpoints
        for present in [[0], [0, 1, 2], [1, 2]] {
            let endpoints = present.map { service.endpoints[$0] }
            cluster.setEndpoints(endpoints, of: index)
            let cost = try program.write(program.change(cluster, of: index, formerly: former))
            #expect(cost.wall > 0)
            former = endpoints
            var names: Set<String> = []
            for _ in 0..<60 {
                let client = try topology.host("inside")
                let reply = try TCPConnection(client, to: service.clusterIP, port: service.port).request("x")
                names.insert(String(reply.prefix { $0 != " " }))
            }
            #expect(names == Set(present.map { Self.pods[$0] }))
        }
        if let cost = try program.list() { #expect(cost.wall > 0) }
    }

    @Test("What a program refuses, and a program that takes too long, is told with what it said")
    func failuresAreTold() throws {
        let program = try RuleProgram(.nftables, .v4, in: topology.node.namespace)
        let refused = try #require(throws: PeerError.self) { try program.write("add nonsense\n") }
        #expect(refused.description.contains("syntax error"))
        let cluster = try PeerCluster(family: .v4, measured: [], services: 2000, endpointsOfOthers: 10)
        let late = try #require(throws: PeerError.self) {
            try program.write(program.full(cluster), limit: .milliseconds(1))
        }
        #expect(late.description.contains("did not end"))
        guard case .skipped = late.outcome, case .failed = refused.outcome else {
            Issue.record("\(late.outcome)")
            return
        }
    }
}

@Suite struct PeerClusterTests {
    @Test(
        "A measured Service does not have the addresses of others",
        arguments: ["198.18.64.1", "198.18.190.1", "2001:db8::1"])
    func addressesOfOthersAreRefused(_ text: String) throws {
        let address = try #require(IPAddress(text))
        let service = PeerService("a/b", transport: .tcp, clusterIP: address, port: 80, endpoints: [])
        let error = try #require(throws: PeerError.self) {
            try PeerCluster(family: .v4, measured: [service], services: 10)
        }
        #expect(error.description.contains(text))
    }

    @Test("Others have addresses of their own, and NodePorts as far as there are any", arguments: IPFamily.allCases)
    func othersDiffer(_ family: IPFamily) throws {
        let address = try #require(IPAddress(family == .v4 ? "203.0.113.7" : "2001:db8:113::7"))
        let measured = PeerService(
            "a/b", transport: .tcp, clusterIP: address, port: 80, nodePort: 30_005,
            endpoints: [TransportEndpoint(address, 8080, .tcp)])
        let cluster = try PeerCluster(family: family, measured: [measured], services: 10_000, endpointsOfOthers: 10)
        #expect(cluster.services.count == 10_000 && cluster.services.last == measured)
        #expect(Set(cluster.services.map(\.clusterIP)).count == 10_000)
        #expect(Set(cluster.services.flatMap(\.endpoints)).count == 9999 * 10 + 1)
        let ports = cluster.services.compactMap(\.nodePort)
        #expect(Set(ports).count == ports.count && ports.count == 2768)
        #expect(cluster.services.prefix(3).allSatisfy { $0.endpoints.allSatisfy { $0.address.family == family } })
    }
}
