import NetLab
import NetTypes
import TestSupport
import Testing

@Suite(.needsRoot, .timeLimit(.minutes(5))) struct RoutedTopologyTests {
    @Test(arguments: [false, true]) func everybodyReachesEveryPod(_ joinedDirectly: Bool) throws {
        let topology = try RoutedTopology(
            podNames: [["a"], ["b", "c"]], clientNames: ["x", "y"], joinedDirectly: joinedDirectly)
        let servers = try ["a", "b"].map { try EchoServer(topology.host($0), port: 8080) }
        for client in ["x", "y", "c"] {
            for server in servers {
                for family in IPFamily.allCases {
                    let (from, to) = (try topology.host(client), try topology.host(server.name).address(family))
                    let socket = try UDPClient(from, family, sourcePort: 4711)
                    let answer = try socket.request("hello", to: to, port: 8080)
                    #expect(answer.text == "\(server.name) \(try from.address(family).withPort(4711)) hello")
                }
            }
        }
        // A pod's packet crosses its node, the other node, and the router between them if there is no wire.
        let far = try UDPClient(topology.host("a"), .v4, timeout: .milliseconds(100))
        try far.setHopLimit(joinedDirectly ? 3 : 4)
        #expect(throws: Never.self) { try far.request("x", to: topology.host("b").address(.v4), port: 8080) }
        try far.setHopLimit(joinedDirectly ? 2 : 3)
        #expect(throws: LabError.self) { try far.request("x", to: topology.host("b").address(.v4), port: 8080) }
    }

    @Test func theRouterChoosesTheNodeThatServes() throws {
        let topology = try RoutedTopology(podNames: [["a"], ["b"]], clientNames: ["x"])
        let client = try topology.host("x")
        for (family, address) in [
            (IPFamily.v4, IPAddress(v4: 0xCB00_7101)), (.v6, IPAddress(v6: 0x2001_0db8_0113 << 80 | 1)),
        ] {
            for node in topology.nodes { try node.node.addAddress(address, device: "lo") }
            for number in [0, 1, 0] {
                let server = try EchoServer(topology.nodes[number].node, port: 80, families: [family])
                try topology.serve(from: number)
                #expect(try TCPConnection(client, to: address, port: 80).request("x").hasPrefix("node\(number) "))
                #expect(throws: LabError.self) {
                    try topology.serve(from: 1 - number)
                    _ = try TCPConnection(client, to: address, port: 80)
                }
                try server.stop()
            }
        }
    }

    @Test(arguments: IPFamily.allCases) func aNarrowPathSaysSo(_ family: IPFamily) throws {
        let topology = try RoutedTopology(podNames: [["a"]], clientNames: ["x"])
        let (client, pod) = (try topology.host("x"), try topology.host("a"))
        let server = try EchoServer(pod, port: 8080)
        let address = try pod.address(family)
        let header = family == .v4 ? 28 : 48
        try topology.narrowPath(toPodsOf: 0, mtu: 1400)

        let socket = try UDPClient(client, family, timeout: .milliseconds(100))
        try socket.collectErrors()
        try socket.sendWhole()
        try socket.send([UInt8](repeating: 1, count: 1401 - header), to: address, port: 8080)
        let router = try UDPClient(topology.router, family)
        try router.connect(to: client.address(family), port: 9)
        #expect(try socket.nextError() == .tooBig(mtu: 1400, sender: router.local.address))
        try socket.send([UInt8](repeating: 1, count: 1400 - header), to: address, port: 8080)
        #expect(try socket.receive().sender.address == address)

        // A connection learns it by itself, in both directions.
        try topology.narrowPath(toClient: client, mtu: 1300)
        let connection = try TCPConnection(client, to: address, port: 8080)
        let line = String(repeating: "x", count: 50_000)
        #expect(try connection.request(line).hasSuffix(line))
        #expect(connection.local.address.family == family)
        #expect(try connection.maximumSegmentSize <= 1400 - header - 12)
        #expect(server.requestCount == 2)
    }

    @Test(arguments: IPFamily.allCases) func pingsAndClosedPortsAreAnswered(_ family: IPFamily) throws {
        let topology = try RoutedTopology(podNames: [["a"]], clientNames: ["x"])
        let client = try topology.host("x")
        let address = try topology.host("a").address(family)
        #expect(try client.ping(address))
        let nobody = try #require(IPAddress(family == .v4 ? "198.18.0.200" : "2001:db8:18::200"))
        let silent = (try? client.ping(nobody, timeout: .milliseconds(200))) ?? false
        #expect(!silent)
        let socket = try UDPClient(client, family)
        try socket.collectErrors()
        try socket.send("x", to: address, port: 9)
        #expect(try socket.nextError() == .portUnreachable(sender: address))
    }
}
