import Dataplane
import NeedletailABI
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

/// Direct server return: the backend's own node answers the client.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct DSRTests {
    private static let annotation = "needletail.io/forwarding"
    private static let vips = [FrontendKind.loadBalancer, .externalIP]

    @Test(arguments: Forwarding.all) func backendsAnswerClientsThemselves(_ forwarding: Forwarding) throws {
        let annotations = [Self.annotation: "dsr"]
        let pair = try TwoNodes.serving(forwarding) { pair in
            try [
                pair.service("every", number: 1, on: ["a", "b", "c", "d"], annotations: annotations),
                pair.service("far", number: 2, on: ["c"], annotations: annotations),
            ]
        }
        try remoteBackendsSeeTheClient(pair)
        for family in IPFamily.allCases {
            try pair.network.serve(from: 0)
            try theOuterHeaderHasItsRoom(pair, family)
            try connectionsSurviveThatTheirPacketsComeByAnotherNode(pair, family)
        }
        try otherWaysInGoOnWorking(pair)
    }

    private func remoteBackendsSeeTheClient(_ pair: TwoNodes) throws {
        let service = ServiceManifest("", number: 1)
        for family in IPFamily.allCases {
            let client = try pair.outside.address(family)
            let expected = Set(TwoNodes.everyServer.map { Outcome.answered(by: $0, seeing: client) })
            for node in 0..<2 {
                try pair.network.serve(from: node)
                for (kind, transport) in Self.vips.flatMap({ kind in [(kind, TransportProtocol.tcp), (kind, .udp)] }) {
                    let frontend = pair.frontend(service, kind, family, transport, node: node)
                    #expect(
                        try pair.outside.outcomes(of: frontend, expecting: expected) == expected, "\(kind) \(frontend)")
                }
            }
        }
        for node in pair.nodes {
            let counters = try node.counters()
            #expect(counters[.dsrEncapsulated] > 0)
            #expect(counters[.dsrDecapsulated] > 0)
        }
        try pair.expectNoDrops()
    }

    /// Whichever way the answers take.
    private func otherWaysInGoOnWorking(_ pair: TwoNodes) throws {
        let service = ServiceManifest("", number: 1)
        for (family, transport) in IPFamily.allCases.flatMap({ [($0, TransportProtocol.tcp), ($0, .udp)] }) {
            let inside = try pair.host("pod0").servers(
                of: service.frontend(.clusterIP, family, transport), requests: 64)
            #expect(inside == TwoNodes.everyServer)
            for node in 0..<2 {
                let nodePort = pair.frontend(service, .nodePort, family, transport, node: node)
                #expect(try pair.outside.servers(of: nodePort, requests: 64) == TwoNodes.everyServer, "\(nodePort)")
            }
        }
    }

    /// The annotation decides, and without it the flag; other tests show that without either it is not DSR.
    @Test func theAnnotationGoesBeforeTheFlag() throws {
        let pair = try TwoNodes.serving(["--forwarding": "dsr"]) { pair in
            try [
                pair.service("default", number: 1, on: ["c"]),
                pair.service("other", number: 2, on: ["c"], annotations: [Self.annotation: "snat"]),
            ]
        }
        for family in IPFamily.allCases {
            let seen = [1: try pair.outside.address(family), 2: pair.network.nodeAddress(0, family)]
            for (number, address) in seen {
                let frontend = pair.frontend(ServiceManifest("", number: number), .loadBalancer, family, .tcp)
                #expect(try pair.outside.outcome(frontend) == .answered(by: "c", seeing: address))
            }
        }
    }

    /// The outer header takes its room from every packet: connections are told beforehand, datagrams when it is too late.
    private func theOuterHeaderHasItsRoom(_ pair: TwoNodes, _ family: IPFamily) throws {
        let service = ServiceManifest("", number: 2)
        let (outer, inner) = family == .v4 ? (20, 40) : (40, 60)
        let stream = pair.frontend(service, .loadBalancer, family, .tcp)
        let connection = try TCPConnection(pair.outside, to: stream.address, port: stream.port)
        #expect(try connection.maximumSegmentSize <= 1500 - outer - inner)
        #expect(try connection.maximumSegmentSize > 1300)
        let line = String(repeating: "x", count: 200_000)
        let (answer, moved) = try pair.nodes[0].moved { try connection.request(line) }
        #expect(answer.hasSuffix(line))
        #expect(moved(.dropTooBig) == 0)

        let datagrams = pair.frontend(service, .loadBalancer, family, .udp)
        let socket = try UDPClient(pair.outside, family)
        try socket.collectErrors()
        try socket.sendWhole()
        try socket.connect(to: datagrams.address, port: datagrams.port)
        let longest = 1500 - outer
        let header = inner - 12
        for size in [longest + 1, longest, 100, longest + 1] {
            try socket.send(String(repeating: "x", count: size - header))
            if size > longest {
                #expect(
                    try socket.nextError() == .tooBig(mtu: UInt32(longest), sender: pair.network.nodeAddress(0, family))
                )
            } else {
                #expect(try socket.receive().text.hasPrefix("c "))
            }
        }
    }

    /// An upstream router hashes flows anew: what was with one node comes to the other, in the middle of connections.
    /// Connections whose backend was near have not been told to leave room, and learn it then.
    private func connectionsSurviveThatTheirPacketsComeByAnotherNode(_ pair: TwoNodes, _ family: IPFamily) throws {
        let service = ServiceManifest("", number: 1)
        let stream = pair.frontend(service, .loadBalancer, family, .tcp)
        let datagrams = pair.frontend(service, .loadBalancer, family, .udp)
        let client = try pair.outside.address(family)
        var connections: [(TCPConnection, server: String)] = []
        var sockets: [(UDPClient, server: String)] = []
        for _ in 0..<24 {
            let connection = try TCPConnection(pair.outside, to: stream.address, port: stream.port)
            let answer = try Answer(connection.request("first"))
            #expect(try answer.clientEndpoint(.tcp).address == client)
            connections.append((connection, answer.server))
            let socket = try UDPClient(pair.outside, family)
            sockets.append((socket, try socket.ask(datagrams).server))
        }
        #expect(Set(connections.map(\.server)) == TwoNodes.everyServer)
        let line = String(repeating: "x", count: 20_000)
        for node in [1, 0, 1] {
            try pair.network.serve(from: node)
            for (connection, server) in connections {
                let answer = try connection.request("\(node)\(line)")
                #expect(answer.hasPrefix("\(server) ") && answer.hasSuffix(line), "by node \(node)")
            }
            for (socket, server) in sockets { #expect(try socket.ask(datagrams).server == server, "by node \(node)") }
        }
    }
}
