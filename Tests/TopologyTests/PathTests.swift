import Dataplane
import NeedletailABI
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

/// ICMP errors about translated flows, path MTUs, hop limits and fragments, with a router on the way.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct PathTests {
    /// The IP and UDP headers in front of a payload.
    private func headers(_ family: IPFamily) -> Int { family == .v4 ? 28 : 48 }

    /// A socket whose datagrams go out whole, to a Service.
    private func socket(_ client: NetLab.Host, _ frontend: TransportEndpoint) throws -> UDPClient {
        let socket = try UDPClient(client, frontend.address.family)
        try socket.collectErrors()
        try socket.sendWhole()
        try socket.connect(to: frontend.address, port: frontend.port)
        return socket
    }

    /// A datagram of so many bytes of IP.
    private func datagram(_ size: Int, _ family: IPFamily) -> String {
        String(repeating: "x", count: size - headers(family))
    }

    @Test(arguments: Forwarding.all) func theWayIsToldToWhomItConcerns(_ forwarding: Forwarding) throws {
        let pair = try TwoNodes.serving(forwarding) { pair in
            try [
                pair.service("near", number: 1, on: ["a"]), pair.service("far", number: 2, on: ["c"]),
                // These pods have no servers.
                pair.service("near-closed", number: 3, on: ["pod0"]),
                pair.service("far-closed", number: 4, on: ["pod1"]),
            ]
        }
        try fragmentsFindTheirWay(pair)
        for family in IPFamily.allCases {
            if !forwarding.joinedDirectly { try hopLimitsRunOutWhereTheyShould(pair, family) }
            try aClosedPortOfABackendIsToldToTheClient(pair, family)
            if forwarding.joinedDirectly {
                try whatIsTooLongForTheNodesOwnWireIsAnsweredByTheNode(pair, family)
            } else {
                try aNarrowPathToTheBackendIsToldToTheClient(pair, family)
            }
            try aNarrowPathToTheClientIsToldToTheBackend(pair, family)
        }
    }

    /// A router between this node and the backend's says that a packet is too long: the client hears it, from whom it
    /// talks to.
    private func aNarrowPathToTheBackendIsToldToTheClient(_ pair: TwoNodes, _ family: IPFamily) throws {
        try pair.network.narrowPath(toPodsOf: 1, mtu: 1400)
        for kind in [FrontendKind.nodePort, .loadBalancer] {
            let frontend = pair.frontend(ServiceManifest("", number: 2), kind, family, .udp)
            let socket = try socket(pair.outside, frontend)
            #expect(try socket.request("hello").text.hasPrefix("c "))
            let (error, moved) = try pair.nodes[0].moved {
                try socket.send(datagram(1500, family))
                return try socket.nextError()
            }
            #expect(error == .tooBig(mtu: 1400, sender: frontend.address), "\(kind)")
            #expect(moved(.icmpTranslated) == 1)
            #expect(try socket.request(datagram(1400 - 60, family)).text.hasPrefix("c "))
        }
        let frontend = pair.frontend(ServiceManifest("", number: 2), .nodePort, family, .tcp)
        let connection = try TCPConnection(pair.outside, to: frontend.address, port: frontend.port)
        let line = String(repeating: "x", count: 100_000)
        #expect(try connection.request(line).hasSuffix(line))
        // Of the IP and TCP headers, without options.
        #expect(try connection.maximumSegmentSize <= 1400 - headers(family) - 12)
    }

    /// The other way: the router's message about an answer finds the backend, here and on the other node.
    private func aNarrowPathToTheClientIsToldToTheBackend(_ pair: TwoNodes, _ family: IPFamily) throws {
        for (number, server) in [(1, "a"), (2, "c")] {
            // Narrower than anything that was learnt before.
            try pair.network.narrowPath(toClient: pair.outside, mtu: 1300)
            let frontend = pair.frontend(ServiceManifest("", number: number), .nodePort, family, .tcp)
            let connection = try TCPConnection(pair.outside, to: frontend.address, port: frontend.port)
            let line = String(repeating: "x", count: 100_000)
            let (answer, moved) = try pair.nodes[0].moved { try connection.request(line) }
            #expect(answer.hasSuffix(line), "\(server)")
            #expect(moved(.icmpTranslated) > 0, "\(server)")
            try pair.network.narrowPath(toClient: pair.outside, mtu: nil)
        }
    }

    /// The node itself answers what is too long for the way on.
    private func whatIsTooLongForTheNodesOwnWireIsAnsweredByTheNode(_ pair: TwoNodes, _ family: IPFamily) throws {
        try pair.network.setJoint(mtu: 1400)
        let frontend = pair.frontend(ServiceManifest("", number: 2), .loadBalancer, family, .udp)
        let socket = try socket(pair.outside, frontend)
        #expect(try socket.request("hello").text.hasPrefix("c "))
        let (error, moved) = try pair.nodes[0].moved {
            try socket.send(datagram(1401, family))
            return try socket.nextError()
        }
        #expect(error == .tooBig(mtu: 1400, sender: pair.network.nodeAddress(0, family)))
        #expect(moved(.answerTooBig) == 1)
        #expect(moved(.dropTooBig) == 1)
        // The answer has the server's words in front.
        #expect(try socket.request(datagram(1400 - 60, family)).text.hasPrefix("c "))

        let stream = pair.frontend(ServiceManifest("", number: 2), .nodePort, family, .tcp)
        let connection = try TCPConnection(pair.outside, to: stream.address, port: stream.port)
        let line = String(repeating: "x", count: 100_000)
        #expect(try connection.request(line).hasSuffix(line))
    }

    /// A trace of the route shows each hop, and those behind the node in the name of the Service.
    private func hopLimitsRunOutWhereTheyShould(_ pair: TwoNodes, _ family: IPFamily) throws {
        let frontend = pair.frontend(ServiceManifest("", number: 2), .nodePort, family, .udp)
        // Establishes the flow, and has the neighbours known.
        let socket = try socket(pair.outside, frontend)
        #expect(try socket.request("hello").text.hasPrefix("c "))
        let router = try UDPClient(pair.network.router, family)
        try router.connect(to: pair.outside.address(family), port: 9)
        let hops: [(sender: IPAddress, counter: DatapathCounter?)] = [
            (router.local.address, nil), (pair.network.nodeAddress(0, family), .answerTimeExceeded),
            (frontend.address, .icmpTranslated), (frontend.address, .icmpTranslated),
        ]
        for (i, hop) in hops.enumerated() {
            try socket.setHopLimit(Int32(i + 1))
            let (error, moved) = try pair.nodes[0].moved {
                try socket.send("x")
                return try socket.nextError()
            }
            #expect(error == .timeExceeded(sender: hop.sender), "hop limit \(i + 1)")
            if let counter = hop.counter { #expect(moved(counter) == 1, "hop limit \(i + 1)") }
        }
        try socket.setHopLimit(Int32(hops.count + 1))
        #expect(try socket.request("hello").text.hasPrefix("c "))
    }

    /// A backend that has no such port says so, and the client hears it from the Service.
    private func aClosedPortOfABackendIsToldToTheClient(_ pair: TwoNodes, _ family: IPFamily) throws {
        for (number, client) in [(3, "outside"), (4, "outside"), (4, "a")] {
            for kind in [FrontendKind.clusterIP, .nodePort] {
                let service = ServiceManifest("", number: number)
                let host = try pair.host(client)
                let datagrams = pair.frontend(service, kind, family, .udp)
                let socket = try UDPClient(host, family)
                try socket.collectErrors()
                let (error, moved) = try pair.nodes[0].moved {
                    try socket.send("x", to: datagrams.address, port: datagrams.port)
                    return try socket.nextError()
                }
                #expect(error == .portUnreachable(sender: datagrams.address), "\(client) to \(datagrams)")
                #expect(moved(.icmpTranslated) == 1)
                let stream = pair.frontend(service, kind, family, .tcp)
                #expect(try host.outcome(stream) == .refused, "\(client) to \(stream)")
            }
        }
    }

    /// Datagrams longer than a packet arrive whole, and so do the answers.
    private func fragmentsFindTheirWay(_ pair: TwoNodes) throws {
        for family in IPFamily.allCases {
            for (number, server) in [(1, "a"), (2, "c")] {
                for (client, kind) in [
                    ("outside", FrontendKind.nodePort), ("outside", .loadBalancer), ("pod0", .clusterIP),
                ] {
                    let frontend = pair.frontend(ServiceManifest("", number: number), kind, family, .udp)
                    let socket = try UDPClient(pair.host(client), family)
                    for size in [3000, 1473, 20_000, 5] {
                        let text = String(repeating: "x", count: size)
                        let answer = try socket.request(text, to: frontend.address, port: frontend.port)
                        #expect(answer.sender == frontend)
                        #expect(answer.text.hasPrefix("\(server) ") && answer.text.hasSuffix(" \(text)"))
                    }
                }
            }
        }
        try pair.expectNoDrops()
    }
}
