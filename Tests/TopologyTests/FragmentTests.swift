import Dataplane
import NeedletailABI
import NetLab
import NetTypes
import Netlink
import PacketKit
import Resolver
import TestSupport
import Testing

/// Datagrams too long for one packet, on a node with its own pods.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct FragmentTests {
    private static let text = String(repeating: "0123456789", count: 400)

    /// A client, its device at the node, and what it addresses.
    private static let ways: [(client: String, device: String, kinds: [FrontendKind])] = [
        ("client", "ntclient", [.clusterIP, .nodePort]), ("outside", "eth0", [.nodePort, .loadBalancer]),
    ]

    @Test(arguments: AttachMode.all)
    func longDatagramsReachABackendAndTheAnswersTheirClient(_ mode: AttachMode) throws {
        let (cluster, service) = try Cluster.serving(mode.flags)
        for way in Self.ways {
            for kind in way.kinds {
                for family in IPFamily.allCases {
                    let frontend = try cluster.frontend(service, kind, family, .udp)
                    let socket = try UDPClient(cluster.topology.host(way.client), family)
                    for _ in 0..<5 {
                        let datagram = try socket.request(Self.text, to: frontend.address, port: frontend.port)
                        #expect(datagram.sender == frontend)
                        #expect(datagram.text.hasSuffix(" " + Self.text))
                    }
                }
            }
        }
        let counters = try cluster.counters()
        for counter in DatapathCounter.allCases where counter.outcome == .dropped {
            #expect(counters[counter] == 0, "\(counter.name)")
        }
    }

    @Test("Those that come before the first one wait for it", arguments: AttachMode.all)
    func reordered(_ mode: AttachMode) throws {
        let (cluster, service) = try Cluster.serving(mode.flags)
        var identification: UInt32 = 1
        for way in Self.ways {
            let client = try cluster.topology.host(way.client)
            let (near, far) = (try client.device("eth0"), try cluster.topology.node.device(way.device))
            let own = try #require(near.hardwareAddress).bytes
            let node = try #require(far.hardwareAddress).bytes
            for kind in way.kinds {
                for family in IPFamily.allCases {
                    let frontend = try cluster.frontend(service, kind, family, .udp)
                    let socket = try UDPClient(client, family)
                    let local = TransportEndpoint(try client.address(family), socket.local.port, .udp)
                    // Its neighbours are known, and then the flow.
                    _ = try socket.request("hello", to: frontend.address, port: frontend.port)
                    for order in [[2, 1, 0], [1, 0, 2], [2, 0, 1]] {
                        identification += 1
                        let fragments = PacketBuilder(from: local, to: frontend, payload: Array(Self.text.utf8))
                            .fragments(size: 1448, identification: identification)
                        try #require(fragments.count == order.count)
                        let before = try cluster.counters()
                        for (place, number) in order.enumerated() {
                            // Far longer than the node needs for a packet.
                            if place > 0 { pause(.milliseconds(20)) }
                            try client.send(
                                frame: fragments[number].relinked(from: own, to: node).bytes, device: "eth0")
                        }
                        let datagram = try socket.receive()
                        #expect(datagram.sender == frontend)
                        #expect(datagram.text.hasSuffix(" " + Self.text))
                        let after = try cluster.counters()
                        let program = way.client == "client" ? DatapathProgram.workloadIngress : .externalIngress
                        let early = order.firstIndex(of: 0) ?? 0
                        #expect(
                            after[program, .fragmentReordered] - before[program, .fragmentReordered] == UInt64(early),
                            "\(kind) \(family) \(order)")
                    }
                }
            }
        }
    }
}
