import Dataplane
import NeedletailABI
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

/// What becomes of connections and of UDP sockets when endpoints and Services go: TCP stays, UDP moves on or ends.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct CleanupTests {
    /// A UDP socket and a connection of one client to one kind of frontend.
    private struct Held {
        let client: NetLab.Host
        let datagrams: TransportEndpoint
        let socket: UDPClient
        let connection: TCPConnection
        let what: String

        func server() throws -> String { try socket.ask(datagrams).server }
    }

    /// From outside by way of node 0, and from a pod there; in both families.
    private func hold(_ pair: TwoNodes, _ service: ServiceManifest) throws -> [Held] {
        var held: [Held] = []
        for family in IPFamily.allCases {
            for (name, kind) in [("outside", FrontendKind.nodePort), ("outside", .loadBalancer), ("pod0", .clusterIP)] {
                let client = try pair.host(name)
                let stream = pair.frontend(service, kind, family, .tcp)
                held.append(
                    Held(
                        client: client, datagrams: pair.frontend(service, kind, family, .udp),
                        socket: try UDPClient(client, family, timeout: .seconds(3)),
                        connection: try TCPConnection(client, to: stream.address, port: stream.port),
                        what: "\(name) to \(kind), IPv\(family.rawValue)"))
            }
        }
        return held
    }

    @Test(arguments: Forwarding.programs) func flowsEndWhenTheyShouldAndNoSooner(_ forwarding: Forwarding) throws {
        let pair = try TwoNodes.serving(forwarding) { _ in [] }
        for server in ["a", "c"] {
            try udpMovesOnAndTCPStaysWhenAnEndpointGoes(pair, server)
            for isDeleted in [false, true] {
                try udpEndsWithTheLastEndpointOrTheService(pair, isDeleted: isDeleted, server)
            }
        }
        for family in IPFamily.allCases { try aPortThatIsUsedAgainGetsAUsableBackend(pair, family) }
    }

    private func udpMovesOnAndTCPStaysWhenAnEndpointGoes(_ pair: TwoNodes, _ leaver: String) throws {
        try pair.apply(pair.service(on: [leaver]))
        let service = ServiceManifest("web", number: 1)
        let held = try hold(pair, service)
        for flow in held {
            #expect(try flow.server() == leaver, "\(flow.what)")
            #expect(try flow.connection.request("first").hasPrefix("\(leaver) "), "\(flow.what)")
        }
        // Terminating and serving: old flows stay, new ones go to who is ready.
        try pair.apply(pair.service(on: [leaver, "d"], [leaver: .draining]))
        for flow in held {
            #expect(try flow.server() == leaver, "\(flow.what), draining")
            let other = try UDPClient(flow.client, flow.datagrams.address.family)
            #expect(try other.ask(flow.datagrams).server == "d", "\(flow.what), draining, a new socket")
            #expect(try flow.connection.request("draining").hasPrefix("\(leaver) "), "\(flow.what)")
        }
        // Neither ready nor serving.
        try pair.apply(pair.service(on: [leaver, "d"], [leaver: .unready]))
        for flow in held {
            #expect(try flow.server() == "d", "\(flow.what), unready")
            #expect(try flow.connection.request("unready").hasPrefix("\(leaver) "), "\(flow.what)")
        }
        // Back again: what has moved stays where it is.
        try pair.apply(pair.service(on: [leaver, "d"]))
        for flow in held { #expect(try flow.server() == "d", "\(flow.what), back") }
        try pair.apply(pair.service(on: [leaver]))
        for flow in held {
            #expect(try flow.server() == leaver, "\(flow.what), the other is removed")
            #expect(try flow.connection.request("on").hasPrefix("\(leaver) "), "\(flow.what)")
        }
    }

    /// Issue 139628 and PR 141371 of Kubernetes, as they should be: no endpoint left, or the Service deleted, means that no
    /// datagram reaches a pod any more.
    private func udpEndsWithTheLastEndpointOrTheService(
        _ pair: TwoNodes, isDeleted: Bool, _ server: String
    ) throws {
        try pair.apply(pair.service(on: [server]))
        let service = try pair.service(on: [])
        let held = try hold(pair, service)
        for flow in held {
            #expect(try flow.server() == server, "\(flow.what)")
            #expect(try flow.connection.request("first").hasPrefix("\(server) "), "\(flow.what)")
        }
        if isDeleted { try pair.remove(service) } else { try pair.apply(service) }
        let before = try pair.requests(of: server)
        for flow in held {
            try flow.socket.setTimeout(.milliseconds(50))
            for _ in 0..<3 { #expect(throws: LabError.self, "\(flow.what)") { try flow.server() } }
        }
        #expect(try pair.requests(of: server) == before, "datagrams of ended flows have reached \(server)")
        for flow in held {
            #expect(try flow.connection.request("still").hasPrefix("\(server) "), "\(flow.what)")
            guard !isDeleted else { continue }
            // A connected socket is told.
            #expect(try flow.client.outcome(flow.datagrams) == .refused, "\(flow.what)")
        }
        // And when it is back, the same socket is served again.
        try pair.apply(pair.service(on: ["d"]))
        for flow in held {
            try flow.socket.setTimeout(.seconds(3))
            #expect(try flow.server() == "d", "\(flow.what), back")
        }
    }

    /// A client may use its port again: what is left of the old connection does not lead the new one to where nobody is.
    private func aPortThatIsUsedAgainGetsAUsableBackend(_ pair: TwoNodes, _ family: IPFamily) throws {
        let service = ServiceManifest("", number: 1)
        for (name, kind) in [("outside", FrontendKind.nodePort), ("pod0", .clusterIP)] {
            let client = try pair.host(name)
            let frontend = pair.frontend(service, kind, family, .tcp)
            for server in ["c", "d", "a", "c"] {
                try pair.apply(pair.service(on: [server]))
                let connection = try TCPConnection(
                    client, to: frontend.address, port: frontend.port, sourcePort: 40_000)
                #expect(try connection.request("hello").hasPrefix("\(server) "), "\(name) to \(frontend)")
                // Leaves no TIME_WAIT here; the backend is not told in time for the next row.
                try connection.reset()
            }
        }
    }
}
