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

@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct RemoteBackendTests {
    private static let transports = [TransportProtocol.tcp, .udp]

    @Test(arguments: Forwarding.all) func outsideClientsAreServedByBackendsAnywhere(_ forwarding: Forwarding) throws {
        let pair = try TwoNodes.serving(forwarding, clients: ["outside", "b", "c", "d"].map { "outside-\($0)" }) {
            try [$0.service("every", number: 1, on: ["a", "b", "c", "d"]), $0.service("far", number: 2, on: ["c"])]
        }
        try everyBackendIsReachedThroughEitherNode(pair)
        for family in IPFamily.allCases {
            try aConnectionsPacketsAreSentOnByTheProgramsAlone(pair, forwarding, family)
            try manyFlowsOfTheSamePortShareANodeAddress(pair, family)
            if forwarding.joinedDirectly { try aConnectionFollowsAChangeOfRoutes(pair, family) }
        }
        try pair.expectNoDrops()
    }

    /// Near backends see the client; far ones see a node address, so that they answer by way of this node.
    private func everyBackendIsReachedThroughEitherNode(_ pair: TwoNodes) throws {
        for (node, family) in [1, 0].flatMap({ node in IPFamily.allCases.map { (node, $0) } }) {
            let client = try pair.outside.address(family)
            let expected = Set(
                TwoNodes.everyServer.map { server in
                    let isNear = TwoNodes.servingPods[node].contains(server)
                    return Outcome.answered(by: server, seeing: isNear ? client : pair.masquerade(node, family))
                })
            try pair.network.serve(from: node)
            for (kind, transport) in FrontendKind.allCases.flatMap({ kind in Self.transports.map { (kind, $0) } }) {
                let frontend = pair.frontend(ServiceManifest("", number: 1), kind, family, transport, node: node)
                #expect(
                    try pair.outside.outcomes(of: frontend, expecting: expected) == expected, "\(kind) \(frontend)")
            }
        }
    }

    private func aConnectionsPacketsAreSentOnByTheProgramsAlone(
        _ pair: TwoNodes, _ forwarding: Forwarding, _ family: IPFamily
    ) throws {
        let frontend = pair.frontend(ServiceManifest("", number: 2), .nodePort, family, .tcp)
        let connection = try TCPConnection(pair.outside, to: frontend.address, port: frontend.port)
        let seen = try Answer(connection.request("first")).clientEndpoint(.tcp)
        #expect(seen.address == pair.masquerade(0, family))
        #expect(TwoNodes.natPorts.contains(seen.port))
        // The first packets may have had to ask for the neighbours; paths are looked up anew each half second.
        try eventually("the neighbours are known") {
            try pair.nodes[0].moved { _ = try connection.request("again") }.1(.passToTC) == 0
        }
        let before = try pair.nodes[0].counters()
        let (servers, moved) = try pair.nodes[0].moved {
            try Set((0..<100).map { try Answer(connection.request("\($0)")).server })
        }
        let after = try pair.nodes[0].counters()
        #expect(servers == ["c"])
        #expect(moved(.forwardNew) == 0)
        for counter in [DatapathCounter.forwardEstablished, .reverseTranslated] {
            #expect(after[forwarding.program, counter] - before[forwarding.program, counter] >= 100, "\(counter.name)")
        }
        // Long enough to fill the window and every segment.
        let line = String(repeating: "x", count: 300_000)
        #expect(try connection.request(line).hasSuffix(line))
    }

    /// The source port is the node's to choose, so any two clients may have the same one.
    private func manyFlowsOfTheSamePortShareANodeAddress(_ pair: TwoNodes, _ family: IPFamily) throws {
        var connections: [TCPConnection] = []
        var sockets: [UDPClient] = []
        var seen: Set<TransportEndpoint> = []
        // A port has one connection to each destination.
        for (i, kind) in [FrontendKind.nodePort, .loadBalancer, .externalIP].enumerated() {
            let ports = (0..<10).map { UInt16(20_000 + 100 * i + $0) }
            for (client, port) in pair.network.clients.flatMap({ client in ports.map { (client, $0) } }) {
                for transport in Self.transports {
                    let frontend = pair.frontend(ServiceManifest("", number: 2), kind, family, transport)
                    let text: String
                    if transport == .tcp {
                        let connection = try TCPConnection(
                            client, to: frontend.address, port: frontend.port, sourcePort: port)
                        connections.append(connection)
                        text = try connection.request("hello")
                    } else {
                        let socket = try UDPClient(client, family, sourcePort: port)
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
        #expect(seen.count == 240)
        for connection in connections { #expect(try connection.request("still").hasPrefix("c ")) }
        for socket in sockets { #expect(try socket.request("still").text.hasPrefix("c ")) }
    }

    /// Paths of flows follow the routing table.
    private func aConnectionFollowsAChangeOfRoutes(_ pair: TwoNodes, _ family: IPFamily) throws {
        let frontend = pair.frontend(ServiceManifest("", number: 2), .nodePort, family, .tcp)
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
    }
}
