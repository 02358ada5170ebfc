import BPF
import NeedletailABI
import NetLab
import NetTypes
import Netlink
import PacketKit
import Resolver
import ServiceModel
import TestSupport
import Testing

@testable import Dataplane

/// Answers as the sockets of a pod take them. What a pod sends mostly waits for its checksum still, which a test run cannot
/// imitate.
@Suite(.needsRoot) struct AnswerSocketTests {
    /// How what a host sends gets to the program.
    enum Way: CaseIterable {
        case tc
        /// Waiting for their checksums still.
        case tcWithoutChecksums
        case nativeXDP
        case genericXDP

        var program: DatapathProgram { [.nativeXDP, .genericXDP].contains(self) ? .externalXDP : .workloadIngress }
    }

    /// A host behind a node whose program is attached to the device towards it.
    private struct Place {
        let lab: Lab
        let pod: NetLab.Host
        let node: NetLab.Host
        let wire: Wire
        let links: [Link]

        init(_ lab: Lab, _ way: Way) throws {
            self.lab = lab
            let node = try NetLab.Host(name: "node")
            let pod = try NetLab.Host(name: "pod")
            let wire = try Wire(node, "ntpod", pod, "eth0")
            if way == .tcWithoutChecksums { try wire.b.offloadChecksums() }
            try lab.setDevice(wire.a.device.index, NT_DEVICE_XDP, nil)
            for family in IPFamily.allCases {
                let scene = Scene(ingress: .workloadIngress, family: family, transport: .tcp)
                let length = family == .v4 ? 24 : 64
                try node.addAddress(scene.client(1).address, prefixLength: length, device: "ntpod")
                try pod.addAddress(scene.client(2).address, prefixLength: length, device: "eth0")
                try pod.addDefaultRoute(via: scene.client(1).address, device: "eth0")
                try lab.setClusterRange(scene.frontend(1).address, scene.frontend(9).address)
            }
            let frontends = IPFamily.allCases.flatMap { family in
                [TransportProtocol.tcp, .udp].map {
                    Scene(ingress: .workloadIngress, family: family, transport: $0).refusing()
                }
            }
            try lab.serve(frontends)
            for frontend in frontends {
                // As if the Service had another port, with endpoints.
                try lab.setAddress(frontend.key.address, NT_ADDRESS_CLUSTER_IP | NT_ADDRESS_ENDPOINTS)
            }
            let program = try #require(lab.datapath.programs[way.program])
            let index = Int32(bitPattern: wire.a.device.index)
            (self.pod, self.node, self.wire) = (pod, node, wire)
            var links: [Link] = []
            switch way {
            case .tc, .tcWithoutChecksums:
                links.append(
                    try node.namespace.run { try program.attachTCX(interface: index, direction: .ingress) })
            case .nativeXDP:
                links.append(try node.namespace.run { try program.attachXDP(interface: index, mode: .native) })
                // A veth fetches what XDP_TX gave it at once only if it has a program itself (veth_xdp_flush in
                // drivers/net/veth.c).
                let peer = Int32(bitPattern: wire.b.device.index)
                links.append(try pod.namespace.run { try program.attachXDP(interface: peer, mode: .native) })
            case .genericXDP:
                links.append(try node.namespace.run { try program.attachXDP(interface: index, mode: .generic) })
            }
            self.links = links
            // A device that has just come up may lose its first packets.
            for address in node.addresses {
                var tries = 0
                while try !pod.ping(address, timeout: .milliseconds(200)), tries < 50 { tries += 1 }
            }
        }

        func refuses(_ what: String, _ body: () throws -> Void) {
            do {
                try body()
                Issue.record("\(what): accepted")
            } catch let error as LabError {
                #expect(error.isRefused, "\(what): \(error)")
            } catch {
                Issue.record("\(what): \(error)")
            }
        }
    }

    @Test(
        "Sockets of a pod are refused at the first try, where there are no endpoints and on unknown ports; pings are answered",
        arguments: Way.allCases)
    func sockets(_ way: Way) throws {
        try Lab.withLab { lab in
            let place = try Place(lab, way)
            let before = try CounterReading(lab.datapath.maps)
            for family in IPFamily.allCases {
                let frontend = Scene(ingress: .workloadIngress, family: family, transport: .tcp).frontend().address
                for port: UInt16 in [80, 81] {
                    place.refuses("TCP \(frontend) \(port)") {
                        _ = try TCPConnection(place.pod, to: frontend, port: port)
                    }
                    for size in [1, 17, 400, 600, 1400] {
                        place.refuses("UDP \(frontend) \(port), \(size) bytes") {
                            let client = try UDPClient(place.pod, family)
                            try client.connect(to: frontend, port: port)
                            _ = try client.request(String(repeating: "u", count: size))
                        }
                    }
                }
                #expect(try place.pod.ping(frontend), "ping \(frontend)")
            }
            // Each at the first try: the kernel would repeat a SYN whose answer it cannot read.
            let after = try CounterReading(lab.datapath.maps)
            for (counter, number): (DatapathCounter, UInt64) in [
                (.answerReset, 4), (.answerUnreachable, 20), (.answerEcho, 2), (.dropAnswerLimit, 0),
            ] {
                #expect(after[way.program, counter] - before[way.program, counter] == number, "\(counter)")
            }
            _ = consume place
        }
    }
}
