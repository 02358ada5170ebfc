import BPF
import Dataplane
import Foundation
import NeedletailABI
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

extension Trait where Self == ConditionTrait {
    /// To make a cgroup of its own to attach to.
    static var needsCgroups: Self {
        .enabled("needs a cgroup v2 hierarchy that may be written to") {
            CgroupMount.find().map { access("\($0)/cgroup.procs", W_OK) == 0 } ?? false
        }
    }
}

/// A cluster whose socket hooks hang on a cgroup of its own, where the node's processes are, and the pod `client`.
private struct SocketCluster {
    let cluster: Cluster
    let service: ServiceManifest
    let cgroup: Cgroup
    let flags: AgentFlags

    init(_ sockets: String = "host", _ changes: [String: String] = [:]) throws {
        cgroup = try Cgroup(below: #require(CgroupMount.find()), name: "needletail-test")
        cluster = try Cluster()
        service = try cluster.service()
        flags = AgentFlags(["--sockets": sockets, "--cgroup": cgroup.path].merging(changes) { $1 })
        try cluster.manifests.put(service)
        try cgroup.add(cluster.topology.node.namespace)
        try cgroup.add(cluster.client.namespace)
        try cluster.start(flags)
        try cluster.waitForAgentLine("synced")
    }

    var node: NetLab.Host { cluster.topology.node }

    func frontend(
        _ kind: FrontendKind = .clusterIP, _ family: IPFamily, _ transport: TransportProtocol
    ) throws -> TransportEndpoint {
        try cluster.frontend(service, kind, family, transport)
    }

    /// Where a pod listens.
    func backend(_ pod: String, _ family: IPFamily, _ transport: TransportProtocol) throws -> TransportEndpoint {
        TransportEndpoint(try cluster.topology.host(pod).address(family), ServiceManifest.backendPort, transport)
    }
}

extension TransportEndpoint {
    /// The same, as an IPv4-mapped IPv6 address.
    fileprivate var mapped: TransportEndpoint {
        TransportEndpoint(IPAddress(v6: 0xFFFF << 32 | address.bits), port, transport)
    }
}

private func refusal(_ body: () throws -> Void) -> Int32? {
    do {
        try body()
        return nil
    } catch let error as LabError {
        guard case .system(let code) = error.reason else { return nil }
        return code
    } catch {
        return nil
    }
}

@Suite(.needsRoot, .needsCgroups, .ownThread, .timeLimit(.minutes(10))) struct SocketTests {
    @Test func processesOfTheNodeReachAllFrontendsByTheNameTheyCall() throws {
        let lab = try SocketCluster()
        for family in IPFamily.allCases {
            for kind in [FrontendKind.clusterIP, .nodePort, .loadBalancer, .externalIP] {
                let stream = try lab.frontend(kind, family, .tcp)
                let connection = try TCPConnection(lab.node, to: stream.address, port: stream.port)
                #expect(Cluster.servingPods.contains(try Answer(connection.request("hello")).server))
                #expect(try connection.remote == stream, "getpeername")

                let datagram = try lab.frontend(kind, family, .udp)
                #expect(Cluster.servingPods.contains(try lab.node.ask(datagram).answer.server))
                let connected = try UDPClient(lab.node, family)
                try connected.connect(to: datagram.address, port: datagram.port)
                #expect(try connected.request("hello").sender == datagram, "recvfrom")
                #expect(try connected.remote == datagram, "getpeername")
            }
            #expect(try lab.node.servers(of: lab.frontend(.clusterIP, family, .tcp)) == Set(Cluster.servingPods))
            #expect(try lab.node.servers(of: lab.frontend(.clusterIP, family, .udp)) == Set(Cluster.servingPods))
        }
        #expect(try lab.cluster.flows().isEmpty, "no packet had to be translated")
    }

    @Test func socketsOfIPv6ReachIPv4FrontendsByMappedAddresses() throws {
        let lab = try SocketCluster()
        let stream = try lab.frontend(.clusterIP, .v4, .tcp).mapped
        let connection = try TCPConnection(lab.node, to: stream.address, port: stream.port)
        #expect(Cluster.servingPods.contains(try Answer(connection.request("hello")).server))
        #expect(try connection.remote == stream)

        let datagram = try lab.frontend(.clusterIP, .v4, .udp).mapped
        let loose = try UDPClient(dualStack: lab.node)
        #expect(try loose.request("hello", to: datagram.address, port: datagram.port).sender == datagram)
        let connected = try UDPClient(dualStack: lab.node)
        try connected.connect(to: datagram.address, port: datagram.port)
        #expect(try connected.request("hello").sender == datagram)
        #expect(try connected.remote == datagram)
    }

    /// As resolvers do that ask several servers from one socket, and believe only whom they have asked.
    @Test(arguments: IPFamily.allCases) func anUnconnectedSocketIsAnsweredByWhomItAsked(_ family: IPFamily) throws {
        let lab = try SocketCluster()
        let other = try lab.cluster.service("other", number: 2)
        try lab.cluster.apply(other)
        let frontends = [
            try lab.frontend(.clusterIP, family, .udp), try lab.cluster.frontend(other, .clusterIP, family, .udp),
        ]
        let socket = try UDPClient(lab.node, family)
        for frontend in frontends { try socket.send("hello", to: frontend.address, port: frontend.port) }
        var servers: [TransportEndpoint: String] = [:]
        for _ in frontends {
            let datagram = try socket.receive()
            servers[datagram.sender] = try Answer(datagram.text).server
        }
        #expect(Set(servers.keys) == Set(frontends))
        #expect(Set(servers.values).count == 2, "one backend has one name: others are taken while there are any")
        for _ in 0..<10 {
            for frontend in frontends {
                #expect(try socket.ask(frontend).server == servers[frontend], "a socket stays with its backend")
            }
        }
        for pod in Cluster.servingPods { #expect(try socket.ask(lab.backend(pod, family, .udp)).server == pod) }
        for frontend in frontends { _ = try socket.ask(frontend) }
    }

    @Test(arguments: IPFamily.allCases) func nobodyThereIsSaidAtOnce(_ family: IPFamily) throws {
        let lab = try SocketCluster()
        try lab.cluster.apply(lab.cluster.service([:]))
        let unreachable = try [FrontendKind.clusterIP, .nodePort, .loadBalancer].flatMap { kind in
            try [TransportProtocol.tcp, .udp].map { try lab.frontend(kind, family, $0) }
        }
        let start = ContinuousClock.now
        for frontend in unreachable {
            if frontend.transport == .tcp {
                #expect(
                    refusal { _ = try TCPConnection(lab.node, to: frontend.address, port: frontend.port) }
                        == ECONNREFUSED)
            } else {
                let socket = try UDPClient(lab.node, family)
                #expect(
                    refusal { try socket.send("hello", to: frontend.address, port: frontend.port) } == ECONNREFUSED)
                #expect(refusal { try socket.connect(to: frontend.address, port: frontend.port) } == ECONNREFUSED)
            }
        }
        #expect(ContinuousClock.now - start < .seconds(1))
        let counters = try lab.cluster.counters()
        #expect(counters[.socket, .dropNoEndpoints] == 9)
    }

    @Test(arguments: IPFamily.allCases) func datagramsMoveWhenTheirBackendGoes(_ family: IPFamily) throws {
        let lab = try SocketCluster()
        let frontend = try lab.frontend(.clusterIP, family, .udp)
        let loose = try UDPClient(lab.node, family)
        let connected = try UDPClient(lab.node, family)
        try connected.connect(to: frontend.address, port: frontend.port)
        let server = try Answer(connected.request("hello").text).server
        let direct = try UDPClient(lab.node, family)
        let backend = try lab.backend(server, family, .udp)
        try direct.connect(to: backend.address, port: backend.port)
        let stream = try lab.frontend(.clusterIP, family, .tcp)
        let streams = try (0..<12).map { _ in try TCPConnection(lab.node, to: stream.address, port: stream.port) }
        let before = try streams.map { try Answer($0.request("hello")).server }
        let first = try loose.ask(frontend).server

        let rest = Cluster.servingPods.filter { $0 != server && $0 != first }
        try lab.cluster.apply(
            lab.cluster.service(Dictionary(uniqueKeysWithValues: rest.map { ($0, EndpointState.ready) })))
        #expect(rest.contains(try loose.ask(frontend).server))
        #expect(refusal { _ = try connected.receive() } == ECONNABORTED, "who waits is told; \(lab.cluster.agentLines)")
        #expect(refusal { try connected.send("hello") } == EDESTADDRREQ, "it is not connected any more")
        try connected.connect(to: frontend.address, port: frontend.port)
        #expect(rest.contains(try Answer(connected.request("hello").text).server), "the same socket, connected anew")
        #expect(try Answer(direct.request("hello").text).server == server, "it was its own choice")
        #expect(try streams.map { try Answer($0.request("hello")).server } == before, "TCP connections live on")
    }

    @Test func connectedDatagramsOfPodsAreEndedToo() throws {
        let lab = try SocketCluster("all")
        // Namespaces are found by their processes; a pod has one.
        let pause = try ChildProcess("sleep", ["60"], in: lab.cluster.client.namespace)
        let frontend = try lab.frontend(.clusterIP, .v6, .udp)
        let socket = try UDPClient(lab.cluster.client, .v6)
        try socket.connect(to: frontend.address, port: frontend.port)
        #expect(try socket.request("hello").sender == frontend)
        try lab.cluster.manifests.remove("web.yaml")
        #expect(refusal { _ = try socket.receive() } == ECONNABORTED, "who waits is told; \(lab.cluster.agentLines)")
        #expect(refusal { try socket.send("hello") } == EDESTADDRREQ, "it is not connected any more")
        try pause.signal(SIGKILL)
    }

    @Test(arguments: ["host", "all"]) func podsAreLedWhereTheyShallBe(_ sockets: String) throws {
        let lab = try SocketCluster(sockets)
        for family in IPFamily.allCases {
            for transport in [TransportProtocol.tcp, .udp] {
                let frontend = try lab.frontend(.clusterIP, family, transport)
                #expect(try lab.cluster.client.servers(of: frontend) == Set(Cluster.servingPods))
            }
        }
        #expect(try lab.cluster.flows().isEmpty == (sockets == "all"))
    }

    @Test func aBackendThatOneServiceGivesUpEndsItsSocketsAlone() throws {
        let lab = try SocketCluster()
        let other = try lab.cluster.service("other", number: 2)
        try lab.cluster.apply(other)
        let sockets = try [lab.service, other].map { service in
            let frontend = try lab.cluster.frontend(service, .clusterIP, .v4, .udp)
            let socket = try UDPClient(lab.node, .v4)
            repeat {
                try socket.connect(to: frontend.address, port: frontend.port)
            } while try Answer(
                socket.request("hello").text
            ).server != "a"
            return socket
        }
        try lab.cluster.apply(lab.cluster.service(["b": .ready, "c": .draining]))
        #expect(refusal { _ = try sockets[0].receive() } == ECONNABORTED, "\(lab.cluster.agentLines)")
        #expect(try Answer(sockets[1].request("hello").text).server == "a")
    }

    @Test func aPortThatAClusterIPDoesNotHaveIsRefused() throws {
        let lab = try SocketCluster()
        for family in IPFamily.allCases {
            let address = try lab.frontend(.clusterIP, family, .tcp).address
            #expect(refusal { _ = try TCPConnection(lab.node, to: address, port: 81) } == ECONNREFUSED)
            let socket = try UDPClient(lab.node, family)
            #expect(refusal { try socket.send("hello", to: address, port: 81) } == ECONNREFUSED)
        }
        #expect(try lab.cluster.counters()[.socket, .dropUnknownPort] == 4)
    }

    @Test func loopbackNodePortsAreTheNodesAlone() throws {
        let lab = try SocketCluster("all", ["--localhost-nodeports": ""])
        for loopback in [IPAddress(v4: 0x7F00_0001), IPAddress(v6: 1)] {
            for transport in [TransportProtocol.tcp, .udp] {
                let frontend = TransportEndpoint(loopback, lab.service.nodePort, transport)
                #expect(try lab.node.servers(of: frontend) == Set(Cluster.servingPods))
                #expect(try lab.cluster.client.cannotReach(frontend), "a pod's loopback is its own")
            }
        }
    }

    @Test func affinityHoldsForTheSocketsOfANamespace() throws {
        let lab = try SocketCluster("all")
        var service = lab.service
        service.extras = ["sessionAffinity: ClientIP"]
        try lab.cluster.apply(service)
        for family in IPFamily.allCases {
            for client in [lab.node, try lab.cluster.client] {
                let frontend = try lab.frontend(.clusterIP, family, .tcp)
                let servers = try client.servers(of: frontend, requests: 10)
                #expect(servers.count == 1)
                #expect(try client.servers(of: lab.frontend(.nodePort, family, .tcp), requests: 10) == servers)
            }
        }
    }

    @Test func sourceRangesHoldForSocketsToo() throws {
        let lab = try SocketCluster("all")
        var service = lab.service
        let frontends = try IPFamily.allCases.map { try lab.frontend(.loadBalancer, $0, .tcp) }
        func apply(_ ranges: String) throws {
            service.extras = ["loadBalancerSourceRanges: [\(ranges)]"]
            try lab.cluster.apply(service)
        }
        // The node's own addresses, then the pods'.
        try apply("\"192.0.2.0/24\", \"2001:db8:2::/48\"")
        for frontend in frontends {
            _ = try lab.node.ask(frontend)
            #expect(try lab.cluster.client.cannotReach(frontend))
        }
        try apply("\"198.18.0.0/15\", \"2001:db8:18::/48\"")
        for frontend in frontends {
            #expect(refusal { _ = try TCPConnection(lab.node, to: frontend.address, port: frontend.port) } == EPERM)
            _ = try lab.cluster.client.ask(frontend)
        }
    }

    @Test func whatIsMasqueradedIsLeftToThePackets() throws {
        let lab = try SocketCluster("all", ["--masquerade": "kube-proxy"])
        let frontend = try lab.frontend(.nodePort, .v4, .tcp)
        let pod = try lab.cluster.client.address(.v4)
        for _ in 0..<5 {
            #expect(try !lab.cluster.client.ask(frontend).answer.client.hasPrefix("\(pod):"))
            _ = try lab.node.ask(frontend)
        }
        #expect(try !lab.cluster.flows().isEmpty)
        #expect(try lab.cluster.counters()[.socket, .passToTC] == 5)
    }

    @Test func nodePortsAreKeptFree() throws {
        let lab = try SocketCluster("host", ["--protect-nodeports": ""])
        let port = lab.service.nodePort
        for family in IPFamily.allCases {
            let all = family == .v4 ? IPAddress(v4: 0) : IPAddress(v6: 0)
            for address in [all, try lab.frontend(.nodePort, family, .udp).address] {
                #expect(refusal { _ = try UDPClient(lab.node, listeningOn: address, port: port) } == EADDRINUSE)
                #expect(refusal { _ = try UDPClient(lab.node, listeningOn: address, port: port + 100) } == nil)
                #expect(refusal { _ = try UDPClient(lab.cluster.client, listeningOn: all, port: port) } == nil)
            }
            // An address that is not served is nobody's.
            let other = try #require(lab.node.addresses.last { $0.family == family })
            #expect(refusal { _ = try UDPClient(lab.node, listeningOn: other, port: port) } == nil)
        }
    }

    @Test func hooksServeWhileNoAgentRunsAndArePutBack() throws {
        let lab = try SocketCluster()
        let frontend = try lab.frontend(.clusterIP, .v4, .tcp)
        let kept = try TCPConnection(lab.node, to: frontend.address, port: frontend.port)
        _ = try kept.request("hello")
        try lab.cluster.stop(SIGKILL)
        for _ in 0..<20 { _ = try lab.node.ask(frontend) }
        try lab.cluster.start(lab.flags)
        for _ in 0..<20 { _ = try lab.node.ask(frontend) }
        #expect(try kept.remote == frontend, "the next agent's programs know the sockets of the last one's")

        let program = URL(fileURLWithPath: Cluster.program).deletingLastPathComponent().path + "/needletail"
        let status = try ChildProcess(
            program, ["status", "--pin-directory", lab.cluster.pins.root], in: lab.node.namespace)
        _ = try status.waitForLine { $0.hasPrefix("Sockets:") && $0.hasSuffix("8 hooks on the cgroup") }
        for name in lab.cluster.pins.entries(in: "links") where name.hasSuffix("-cgroup") {
            try Link.open(pinnedAt: "\(lab.cluster.pins.root)/links/\(name)").detach()
        }
        #expect(lab.node.cannotReach(frontend))
        try lab.cluster.waitForAgentLine("they are put back")
        try eventually("the hooks are back") { try lab.node.ask(frontend).answer.client != "" }

        try lab.cluster.stop(SIGTERM)
        let cleanup = try lab.cluster.run(["cleanup", "--pin-directory", lab.cluster.pins.root])
        #expect(try cleanup.wait(timeout: .seconds(20)) == .exited(0))
        #expect(lab.node.cannotReach(frontend))
    }

    @Test func anAgentWithoutHooksTakesAwayThoseOfTheLast() throws {
        let lab = try SocketCluster()
        let frontend = try lab.frontend(.clusterIP, .v4, .tcp)
        _ = try lab.node.ask(frontend)
        try lab.cluster.stop(SIGTERM)
        try lab.cluster.start()
        #expect(SocketHooks.all(in: lab.cluster.pins) == [])
        #expect(lab.node.cannotReach(frontend))
        _ = try lab.cluster.client.ask(frontend)
    }

    @Test func withoutACgroupTheAgentServesPodsAndSaysSo() throws {
        let cluster = try Cluster()
        let service = try cluster.service()
        try cluster.manifests.put(service)
        try cluster.start(AgentFlags(["--sockets": "host", "--cgroup": "/nonexistent"]))
        try cluster.waitForAgentLine("no socket hooks", "/nonexistent")
        try cluster.waitUntilInStep()
        _ = try cluster.client.ask(cluster.frontend(service, .clusterIP, .v4, .tcp))
    }
}
