import Foundation
import NetLab
import NetTypes
import Netlink
import TestSupport
import Testing

@Suite(.needsRoot, .timeLimit(.minutes(5))) struct TopologyTests {
    private let topology: Topology

    init() throws {
        topology = try Topology(podNames: ["client", "backend"], outsideNames: ["outside", "other"])
    }

    @Test(arguments: IPFamily.allCases, ["client", "outside"])
    func linesHTTPAndDatagramsReachAPod(_ family: IPFamily, _ clientName: String) throws {
        let backend = try topology.host("backend")
        let client = try topology.host(clientName)
        let server = try EchoServer(backend, port: 8080)
        let (from, to) = (try client.address(family), try backend.address(family))

        let connection = try TCPConnection(client, to: to, port: 8080)
        let seen = from.withPort(connection.local.port)
        #expect(try connection.request("one") == "backend \(seen) one")
        #expect(try connection.request("two") == "backend \(seen) two")
        #expect(try connection.remote == TransportEndpoint(to, 8080, .tcp))
        #expect(try connection.get().body == "backend \(seen)\n")
        #expect(try connection.get("/again").status == 200)
        #expect(try httpGet(client, from: to, port: 8080).body.hasPrefix("backend \(from.withPort(0).dropLast())"))

        let datagrams = try UDPClient(client, family, sourcePort: 4711)
        let reply = try datagrams.request("three", to: to, port: 8080)
        #expect(reply.text == "backend \(from.withPort(4711)) three")
        #expect(reply.sender == TransportEndpoint(to, 8080, .udp))
        try datagrams.connect(to: to, port: 8080)
        #expect(try datagrams.request("four").text == "backend \(from.withPort(4711)) four")

        #expect(server.connectionCount == 2)
        #expect(server.requestCount == 7)
    }

    @Test(arguments: IPFamily.allCases)
    func everyClientReachesTheNode(_ family: IPFamily) throws {
        let server = try EchoServer(topology.node, port: 30080)
        for name in ["client", "outside", "other"] {
            let client = try topology.host(name)
            let connection = try TCPConnection(client, to: topology.nodeAddress(family), port: 30080)
            #expect(try connection.request("x").hasPrefix("node \(client.address(family).withPort(0).dropLast())"))
        }
        #expect(server.requestCount == 3)
    }

    @Test func serverThatStopsClosesItsConnections() throws {
        let backend = try topology.host("backend")
        let client = try topology.host("client")
        let address = try backend.address(.v4)
        let server = try EchoServer(backend, port: 80)
        let connection = try TCPConnection(client, to: address, port: 80)
        _ = try connection.request("x")
        try server.stop()
        try connection.waitForEnd()
        let refused = #expect(throws: LabError.self) { try TCPConnection(client, to: address, port: 80) }
        #expect(refused?.isRefused == true)
        _ = try EchoServer(backend, port: 80)
    }

    @Test func resetIsSeenByTheServer() throws {
        let server = try EchoServer(topology.host("backend"), port: 80)
        let connection = try TCPConnection(
            topology.host("client"), to: topology.host("backend").address(.v6), port: 80, sourcePort: 40000)
        #expect(connection.local.port == 40000)
        _ = try connection.request("x")
        try connection.reset()
        #expect(throws: LabError.self) { try connection.request("y") }
        let deadline = ContinuousClock.now + .seconds(5)
        while server.openConnectionCount > 0 && .now < deadline { usleep(1000) }
        #expect(server.openConnectionCount == 0)
        #expect(server.connectionCount == 1)
    }

    @Test func nothingHangsWithoutAnAnswer() async throws {
        let client = try topology.host("client")
        // Routed to the node, which has no route on: no answer to UDP within the time, an error at once for TCP.
        let nowhere = try #require(IPAddress("203.0.113.1"))
        let datagrams = try UDPClient(client, .v4, timeout: .milliseconds(50))
        #expect(throws: LabError.self) { try datagrams.request("x", to: nowhere, port: 9) }
        let silent = try topology.host("backend")
        let silence = try UDPClient(client, .v4, timeout: .milliseconds(50))
        try silence.send("x", to: silent.address(.v4), port: 9)
        let late = #expect(throws: LabError.self) { try silence.receive() }
        #expect(late?.isTimeout == true)
        let error = await #expect(throws: LabError.self) {
            try await offPool {
                _ = try TCPConnection(client, to: nowhere, port: 9, timeout: .milliseconds(200))
            }
        }
        #expect(error?.operation == "connect")
    }

    @Test func podsComeAndGo() throws {
        let late = try topology.addPod("late")
        let client = try topology.host("client")
        #expect(topology.podDevices == ["client": "ntclient", "backend": "ntbackend", "late": "ntlate"])
        let address = try late.address(.v6)
        let server = try EchoServer(late, port: 80)
        #expect(try TCPConnection(client, to: address, port: 80).request("x").hasPrefix("late "))
        try server.stop()
        try topology.removePod("late")
        #expect(throws: LabError.self) { try topology.host("late") }
        #expect(throws: LabError.self) { try topology.node.device("ntlate") }
        #expect(throws: LabError.self) {
            try TCPConnection(client, to: address, port: 80, timeout: .milliseconds(300))
        }
    }

    @Test func twoNodesCanBeJoined() throws {
        let second = try Topology(podNames: ["far"], nodeName: "node2", number: 1)
        _ = try Wire(topology.node, "link", second.node, "link")
        for (node, own, peer, pods) in [
            (topology.node, "192.0.2.49/28", "192.0.2.50", "198.18.1.0/24"),
            (second.node, "192.0.2.50/28", "192.0.2.49", "198.18.0.0/24"),
        ] {
            let address = try #require(IPAddress(String(own.prefix { $0 != "/" })))
            try node.addAddress(address, prefixLength: 28, device: "link")
            let gateway = try #require(IPAddress(peer))
            try node.addRoute(to: #require(CIDR(pods)), via: gateway, device: "link")
        }
        let far = try second.host("far")
        let server = try EchoServer(far, port: 80)
        let connection = try TCPConnection(topology.host("client"), to: far.address(.v4), port: server.port)
        #expect(try connection.request("x") == "far 198.18.0.10:\(connection.local.port) x")
    }

    @Test func wiresCarryCompleteChecksums() throws {
        let report = try ChildProcess("ethtool", ["-k", "ntclient"], in: topology.node.namespace)
        _ = try report.wait()
        // Not the summary "tcp-segmentation-offload": it counts AccECN, too, which the old ioctl does not know.
        let settings = report.lines.map { $0.text.trimmingCharacters(in: .whitespaces) }
        for setting in [
            "tx-checksumming: off", "tx-tcp-segmentation: off", "tx-tcp6-segmentation: off",
            "generic-segmentation-offload: off",
            "generic-receive-offload: on",
        ] {
            #expect(settings.contains { $0.hasPrefix(setting) }, "\(setting)")
        }
    }

    @Test func wiresKeepChosenHardwareAddresses() throws {
        let (a, b) = (try #require(MACAddress("02:00:00:00:00:0a")), try #require(MACAddress("02:00:00:00:00:0b")))
        let wire = try Wire(topology.host("outside"), "x", topology.host("other"), "y", aMAC: a, bMAC: b)
        #expect(wire.a.device.hardwareAddress == a && wire.b.device.hardwareAddress == b)
        #expect(wire.a.device.isUp && wire.b.device.isUp)
        try wire.cut()
        #expect(throws: LabError.self) { try topology.host("other").device("y") }
    }
}
