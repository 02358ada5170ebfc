import Dataplane
import NeedletailABI
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

/// Direct server return: the backend's own node answers the client.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(5))) struct DSRTests {
    private static let annotation = "needletail.io/forwarding"
    private static let vips = [FrontendKind.loadBalancer, .externalIP]

    @Test(arguments: Forwarding.all) func remoteBackendsSeeTheClient(_ forwarding: Forwarding) throws {
        let pair = try TwoNodes.serving(forwarding) {
            [try $0.service(on: ["a", "b", "c", "d"], annotations: [Self.annotation: "dsr"])]
        }
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
            // Other ways in go on working, whichever way the answers take.
            let nodePort = pair.frontend(service, .nodePort, family, .tcp)
            #expect(try pair.outside.servers(of: nodePort, requests: 64) == TwoNodes.everyServer)
            let inside = try pair.host("pod0").servers(of: service.frontend(.clusterIP, family, .udp), requests: 64)
            #expect(inside == TwoNodes.everyServer)
        }
        for node in pair.nodes {
            let counters = try node.counters()
            #expect(counters[.dsrEncapsulated] > 0)
            #expect(counters[.dsrDecapsulated] > 0)
        }
        try pair.expectNoDrops()
    }

    /// The annotation decides, and without it the flag.
    @Test(arguments: [(flag: "snat", annotation: "dsr"), ("dsr", nil), ("dsr", "snat"), ("snat", nil)])
    func theAnnotationGoesBeforeTheFlag(_ setting: (flag: String, annotation: String?)) throws {
        let pair = try TwoNodes.serving(["--forwarding": setting.flag]) {
            [try $0.service(on: ["c"], annotations: setting.annotation.map { [Self.annotation: $0] } ?? [:])]
        }
        let isDSR = (setting.annotation ?? setting.flag) == "dsr"
        for family in IPFamily.allCases {
            let frontend = pair.frontend(ServiceManifest("", number: 1), .loadBalancer, family, .tcp)
            let seen = isDSR ? try pair.outside.address(family) : pair.network.nodeAddress(0, family)
            #expect(try pair.outside.outcome(frontend) == .answered(by: "c", seeing: seen))
        }
    }

    /// The outer header takes its room from every packet: connections are told beforehand, datagrams when it is too late.
    @Test(arguments: Forwarding.all, IPFamily.allCases)
    func theOuterHeaderHasItsRoom(_ forwarding: Forwarding, _ family: IPFamily) throws {
        let pair = try TwoNodes.serving(forwarding) {
            [try $0.service(on: ["c"], annotations: [Self.annotation: "dsr"])]
        }
        let service = ServiceManifest("", number: 1)
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
    @Test(arguments: Forwarding.all, IPFamily.allCases)
    func connectionsSurviveThatTheirPacketsComeByAnotherNode(_ forwarding: Forwarding, _ family: IPFamily) throws {
        let pair = try TwoNodes.serving(forwarding) {
            [try $0.service(on: ["a", "b", "c", "d"], annotations: [Self.annotation: "dsr"])]
        }
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
        // They end well, too, by way of whichever node.
        for (connection, _) in connections { connection.close() }
        try pair.expectNoDrops()
    }
}
