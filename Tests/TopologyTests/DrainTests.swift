import Dataplane
import NeedletailABI
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct DrainTests {
    private static let paths: [(client: String, kind: FrontendKind)] = [("client", .clusterIP), ("outside", .nodePort)]

    /// An open connection with the name of its server.
    private func connect(_ client: Host, _ frontend: TransportEndpoint) throws -> (TCPConnection, String) {
        let connection = try TCPConnection(client, to: frontend.address, port: frontend.port)
        return (connection, try Answer(connection.request("first")).server)
    }

    @Test(arguments: IPFamily.allCases, paths.indices)
    func connectionsOutliveTheirEndpointsPlaceInTheService(_ family: IPFamily, _ path: Int) throws {
        let (cluster, service) = try Cluster.serving()
        let client = try cluster.topology.host(Self.paths[path].client)
        let frontend = try cluster.frontend(service, Self.paths[path].kind, family, .tcp)
        let (connection, server) = try connect(client, frontend)
        let others = Set(Cluster.servingPods).subtracting([server])

        for state in [EndpointState.draining, .unready] {
            try cluster.apply(cluster.service(states(server, state)))
            #expect(try Answer(connection.request("\(state)")).server == server)
            #expect(try client.servers(of: frontend) == others, "\(state)")
        }
        try cluster.apply(cluster.service(states(server, nil)))
        // Long enough for the agent to collect what nobody uses.
        for second in 0..<3 {
            #expect(try Answer(connection.request("removed-\(second)")).server == server)
            #expect(try client.servers(of: frontend) == others)
            pause(.seconds(1))
        }
        try cluster.apply(cluster.service())
        #expect(try Answer(connection.request("back")).server == server)
        #expect(try client.servers(of: frontend) == Set(Cluster.servingPods))
    }

    @Test(arguments: IPFamily.allCases, paths.indices)
    func datagramsOfOneSocketMoveOnWhenTheirEndpointGoes(_ family: IPFamily, _ path: Int) throws {
        let (cluster, service) = try Cluster.serving()
        let client = try cluster.topology.host(Self.paths[path].client)
        let frontend = try cluster.frontend(service, Self.paths[path].kind, family, .udp)
        let socket = try UDPClient(client, family)
        let server = try socket.ask(frontend).server

        try cluster.apply(cluster.service(states(server, .draining)))
        #expect(try socket.ask(frontend).server == server, "it still serves what it has")
        #expect(try !client.servers(of: frontend).contains(server))
        try cluster.apply(cluster.service(states(server, nil)))
        let next = try socket.ask(frontend).server
        #expect(next != server)
        for _ in 0..<5 { #expect(try socket.ask(frontend).server == next) }
        try cluster.apply(cluster.service())
        #expect(try socket.ask(frontend).server == next, "a flow stays where it is while that lives")
        #expect(try client.servers(of: frontend) == Set(Cluster.servingPods))
        try cluster.apply(cluster.service(states(next, nil)))
        #expect(try socket.ask(frontend).server != next)
    }

    /// Service semantics 2.9: by service port, not by endpoint; also for what has happened while no agent was running.
    @Test(arguments: IPFamily.allCases, [false, true])
    func datagramsMoveOnWhenTheirEndpointServesOthersOnly(_ family: IPFamily, _ whileDown: Bool) throws {
        let (cluster, service) = try Cluster.serving()
        let client = try cluster.client
        let frontend = service.frontend(.clusterIP, family, .udp)
        let socket = try UDPClient(client, family)
        let server = try socket.ask(frontend).server
        let other = try cluster.service("other", number: 2, [server: .ready])
        try cluster.apply(other)
        let another = try UDPClient(client, family)
        let kept = other.frontend(.clusterIP, family, .udp)
        #expect(try another.ask(kept).server == server)
        let begun = try flow(cluster, to: kept)

        if whileDown { try cluster.stop() }
        try cluster.manifests.put(cluster.service(states(server, nil)))
        if whileDown { try cluster.start() }
        try cluster.waitUntilInStep()
        try eventually("the flow of the port that the endpoint has left ends") {
            try socket.ask(frontend).server != server
        }
        #expect(try another.ask(kept).server == server)
        #expect(try flow(cluster, to: kept) == begun, "a flow to an endpoint that serves goes on")

        // Scale to zero, and the end of the Service: nothing is left that a socket could hold on to.
        for manifest in [try cluster.service([:]).yaml, "# nothing\n"] {
            try cluster.apply(cluster.service())
            #expect(try !socket.ask(frontend).server.isEmpty)
            #expect(try flow(cluster, to: frontend) != nil)
            try cluster.manifests.put("web.yaml", manifest)
            try cluster.waitUntilInStep()
            try eventually("its flow ends") { try flow(cluster, to: frontend) == nil }
        }
        #expect(try another.ask(kept).server == server)
    }

    /// Client and backend of a frontend's flow.
    private func flow(_ cluster: Cluster, to frontend: TransportEndpoint) throws -> [TransportEndpoint]? {
        try cluster.flows().first { $0.direction == .forward && $0.parties.frontend == frontend }
            .map { [$0.parties.client, $0.parties.backend] }
    }

    @Test func terminatingEndpointsServeWhenThereIsNothingElse() throws {
        let (cluster, service) = try Cluster.serving()
        try cluster.apply(cluster.service(["a": .draining, "b": .draining, "c": .unready]))
        let frontend = service.frontend(.clusterIP, .v4, .tcp)
        #expect(try cluster.client.servers(of: frontend) == ["a", "b"])
    }

    @Test(arguments: [[:], ["a": EndpointState.unready, "b": .unready]])
    func aServiceWithoutEndpointsRefusesAndOthersServe(_ states: [String: EndpointState]) throws {
        let (cluster, service) = try Cluster.serving()
        let other = try cluster.service("other", number: 2)
        try cluster.apply(cluster.service(states), other)
        for (name, kind) in Self.paths {
            let client = try cluster.topology.host(name)
            for family in IPFamily.allCases {
                for transport in [TransportProtocol.tcp, .udp] {
                    let before = try cluster.counters()[.dropNoEndpoints]
                    #expect(client.cannotReach(try cluster.frontend(service, kind, family, transport)))
                    #expect(try cluster.counters()[.dropNoEndpoints] > before)
                    #expect(try client.ask(cluster.frontend(other, kind, family, transport)).answer.server.count == 1)
                }
            }
        }
        try cluster.apply(cluster.service())
        #expect(try cluster.client.servers(of: service.frontend(.clusterIP, .v6, .udp)) == Set(Cluster.servingPods))
    }

    @Test(arguments: IPFamily.allCases)
    func connectionsOutliveTheirService(_ family: IPFamily) throws {
        let (cluster, service) = try Cluster.serving()
        for (name, kind) in Self.paths {
            let client = try cluster.topology.host(name)
            let frontend = try cluster.frontend(service, kind, family, .tcp)
            let (connection, server) = try connect(client, frontend)
            try cluster.manifests.remove("web.yaml")
            try cluster.waitUntilInStep()
            for second in 0..<3 {
                #expect(try Answer(connection.request("deleted-\(second)")).server == server)
                let before = try cluster.counters()[.forwardNew]
                #expect(client.cannotReach(frontend), "\(frontend)")
                #expect(try cluster.counters()[.forwardNew] == before, "new connections are not translated")
                pause(.seconds(1))
            }
            connection.close()
            try cluster.apply(service)
            #expect(try client.ask(frontend).answer.server.count == 1)
        }
    }

    /// All pods ready but one; `nil` leaves that one out.
    private func states(_ pod: String, _ state: EndpointState?) -> [String: EndpointState] {
        var states = Dictionary(uniqueKeysWithValues: Cluster.servingPods.map { ($0, EndpointState.ready) })
        states[pod] = state
        return states
    }
}

extension Cluster {
    func service(_ states: [String: EndpointState]) throws -> ServiceManifest {
        try service("web", number: 1, states)
    }
}
