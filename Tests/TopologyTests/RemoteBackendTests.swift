import Dataplane
import NeedletailABI
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

/// How packets for another node's backends leave this one.
struct Forwarding: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// Whether XDP sends them.
    let isXDP: Bool
    /// Whether they leave by another device than they came by.
    let joinedDirectly: Bool

    var flags: [String: String] { isXDP ? [:] : ["--xdp": "off"] }
    /// What translates outside traffic.
    var program: DatapathProgram { isXDP ? .externalXDP : .externalIngress }

    static let transmit = Forwarding(testDescription: "XDP_TX", isXDP: true, joinedDirectly: false)
    static let redirect = Forwarding(testDescription: "XDP_REDIRECT", isXDP: true, joinedDirectly: true)
    static let tc = Forwarding(testDescription: "tc", isXDP: false, joinedDirectly: false)
    static let tcRedirect = Forwarding(testDescription: "tc, another device", isXDP: false, joinedDirectly: true)

    static let all = [transmit, redirect, tc, tcRedirect]
    /// One of each program.
    static let programs = [transmit, tc]
}

extension TwoNodes {
    static func serving(
        _ forwarding: Forwarding, _ flags: [String: String] = [:], clients: [String] = ["outside"],
        _ services: (TwoNodes) throws -> [ServiceManifest]
    ) throws -> TwoNodes {
        try serving(
            forwarding.flags.merging(flags) { $1 }, clients: clients, joinedDirectly: forwarding.joinedDirectly,
            services)
    }

    /// What a node's packets for another node's pods have as their source when it is the node's.
    func masquerade(_ node: Int, _ family: IPFamily) -> IPAddress {
        network.isJoinedDirectly ? RoutedTopology.joint(family, node) : network.nodeAddress(node, family)
    }

    /// Fails for each reason for which a packet was dropped on either node.
    func expectNoDrops(sourceLocation: SourceLocation = #_sourceLocation) throws {
        for node in nodes {
            let counters = try node.counters()
            for counter in DatapathCounter.allCases where counter.outcome == .dropped {
                #expect(counters[counter] == 0, "\(counter.name) on \(node.name)", sourceLocation: sourceLocation)
            }
        }
    }
}

@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(5))) struct RemoteBackendTests {
    private static let transports = [TransportProtocol.tcp, .udp]

    /// Near backends see the client; far ones see a node address, so that they answer by way of this node.
    @Test(arguments: Forwarding.all)
    func outsideClientsReachEveryBackendThroughEitherNode(_ forwarding: Forwarding) throws {
        let pair = try TwoNodes.serving(forwarding) { [try $0.service(on: ["a", "b", "c", "d"])] }
        let service = try pair.service(on: [])
        for family in IPFamily.allCases {
            let client = try pair.outside.address(family)
            for node in 0..<2 {
                var expected: Set<Outcome> = []
                for server in TwoNodes.everyServer {
                    let isNear = TwoNodes.servingPods[node].contains(server)
                    expected.insert(
                        .answered(by: server, seeing: isNear ? client : pair.masquerade(node, family)))
                }
                try pair.network.serve(from: node)
                for kind in [FrontendKind.nodePort, .loadBalancer, .externalIP, .clusterIP] {
                    for transport in Self.transports {
                        let frontend = pair.frontend(service, kind, family, transport, node: node)
                        #expect(
                            try pair.outside.outcomes(of: frontend, expecting: expected) == expected,
                            "\(kind) \(frontend)")
                    }
                }
            }
        }
        try pair.expectNoDrops()
    }

    @Test(arguments: Forwarding.all, IPFamily.allCases)
    func aConnectionsPacketsAreSentOnByTheProgramsAlone(_ forwarding: Forwarding, _ family: IPFamily) throws {
        let pair = try TwoNodes.serving(forwarding) { [try $0.service(on: ["c"])] }
        let frontend = pair.frontend(try pair.service(on: []), .nodePort, family, .tcp)
        let connection = try TCPConnection(pair.outside, to: frontend.address, port: frontend.port)
        let seen = try Answer(connection.request("first")).clientEndpoint(.tcp)
        #expect(seen.address == pair.masquerade(0, family))
        #expect(TwoNodes.natPorts.contains(seen.port))
        // The first packets may have had to ask for the neighbours; paths are looked up anew each half second.
        try eventually("the neighbours are known") {
            try pair.nodes[0].moved { _ = try connection.request("again") }.1(.passToTC) == 0
        }
        let (servers, moved) = try pair.nodes[0].moved {
            try Set((0..<100).map { try Answer(connection.request("\($0)")).server })
        }
        #expect(servers == ["c"])
        #expect(moved(.forwardEstablished) >= 100)
        #expect(moved(.reverseTranslated) >= 100)
        #expect(moved(.forwardNew) == 0)
        let counters = try pair.nodes[0].counters()
        #expect(counters[forwarding.program, .forwardEstablished] >= 100)
        #expect(counters[forwarding.program, .reverseTranslated] >= 100)
        // Long enough to fill the window and every segment.
        let line = String(repeating: "x", count: 300_000)
        #expect(try connection.request(line).hasSuffix(line))
        try pair.expectNoDrops()
    }

    /// The source port is the node's to choose, so any two clients may have the same one.
    @Test(arguments: Forwarding.programs, IPFamily.allCases)
    func manyFlowsOfTheSamePortShareANodeAddress(_ forwarding: Forwarding, _ family: IPFamily) throws {
        let clients = (0..<4).map { "outside\($0)" }
        let pair = try TwoNodes.serving(forwarding, clients: clients) { [try $0.service(on: ["c"])] }
        let service = try pair.service(on: [])
        for transport in Self.transports {
            var held: [TCPConnection] = []
            var sockets: [UDPClient] = []
            var seen: Set<TransportEndpoint> = []
            for client in pair.network.clients {
                for kind in [FrontendKind.nodePort, .loadBalancer, .externalIP] {
                    let frontend = pair.frontend(service, kind, family, transport)
                    for port in UInt16(20_000)..<20_010 {
                        let text: String
                        if transport == .tcp {
                            // A port serves one connection to each destination.
                            held.append(
                                try TCPConnection(
                                    client, to: frontend.address, port: frontend.port,
                                    sourcePort: port + (kind == .nodePort ? 0 : kind == .loadBalancer ? 100 : 200)))
                            text = try #require(try held.last?.request("hello"))
                        } else {
                            let offset: UInt16 = kind == .nodePort ? 0 : kind == .loadBalancer ? 100 : 200
                            let socket = try UDPClient(client, family, sourcePort: port + offset)
                            try socket.connect(to: frontend.address, port: frontend.port)
                            sockets.append(socket)
                            text = try socket.request("hello").text
                        }
                        let answer = try Answer(text).clientEndpoint(transport)
                        #expect(TwoNodes.natPorts.contains(answer.port))
                        #expect(seen.insert(answer).inserted, "two flows are \(answer) to their backend")
                    }
                }
            }
            #expect(seen.count == 120)
            for connection in held { #expect(try connection.request("still").hasPrefix("c ")) }
            for socket in sockets { #expect(try socket.request("still").text.hasPrefix("c ")) }
        }
        try pair.expectNoDrops()
    }

    /// Paths of flows follow the routing table.
    @Test(arguments: [Forwarding.redirect, .tcRedirect], IPFamily.allCases)
    func connectionsFollowAChangeOfRoutes(_ forwarding: Forwarding, _ family: IPFamily) throws {
        let pair = try TwoNodes.serving(forwarding) { [try $0.service(on: ["c"])] }
        let frontend = pair.frontend(try pair.service(on: []), .nodePort, family, .tcp)
        let connection = try TCPConnection(pair.outside, to: frontend.address, port: frontend.port)
        let seen = try Answer(connection.request("first")).client
        let node = pair.nodes[0].host
        let pod = try #require(CIDR(pair.host("c").address(family), length: family.bitWidth))
        let ways = [
            "eth0": pair.network.routerAddress(towards: 0, family), "eth1": RoutedTopology.joint(family, 1),
        ]
        for device in ["eth0", "eth1", "eth0"] {
            try node.setRoute(to: pod, via: ways[device], device: device)
            // What node 1 receives on its end of the wire; answers go the other way.
            try eventually("packets leave by \(device)", within: .seconds(5)) {
                let before = try pair.nodes[1].framesReceived(on: "eth1")
                for _ in 0..<10 { #expect(try Answer(connection.request("on")).client == seen) }
                let frames = try pair.nodes[1].framesReceived(on: "eth1") - before
                return device == "eth0" ? frames == 0 : frames >= 10
            }
        }
        try pair.expectNoDrops()
    }
}
