import BPF
import Dataplane
import Foundation
import NeedletailABI
import NetLab
import NetTypes
import Netlink
import Resolver
import TestSupport
import Testing

@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct DeviceTests {
    @Test func podsGetServiceAsTheyComeAndLeaveNothingAsTheyGo() throws {
        let (cluster, service) = try Cluster.serving()
        for name in ["late", "later"] {
            let pod = try cluster.topology.addPod(name)
            let index = Int32(try cluster.topology.node.device("nt\(name)").index)
            try eventually("\(name) has service") {
                try IPFamily.allCases.allSatisfy { family in
                    try pod.ask(service.frontend(.clusterIP, family, .tcp), timeout: .milliseconds(300)).answer.server
                        .count == 1
                }
            }
            #expect(Attachments.all(in: cluster.pins).count { $0.interface == index } == 2)
            try cluster.topology.removePod(name)
            try eventually("nothing of \(name) is left") { !Attachments.interfaces(in: cluster.pins).contains(index) }
        }
        #expect(try cluster.client.servers(of: service.frontend(.clusterIP, .v6, .udp)) == Set(Cluster.servingPods))
    }

    /// Pods may have been served by their own addresses before the pod of that address is in any Service.
    @Test func aPodStartedLateServes() throws {
        let (cluster, service) = try Cluster.serving()
        let pod = try cluster.topology.addPod("late")
        let server = try EchoServer(pod, port: ServiceManifest.backendPort)
        try cluster.apply(cluster.service(["late": .ready]))
        for family in IPFamily.allCases {
            #expect(try cluster.client.servers(of: service.frontend(.clusterIP, family, .udp)) == ["late"])
            #expect(try cluster.outside.servers(of: cluster.frontend(service, .nodePort, family, .tcp)) == ["late"])
        }
        try server.stop()
    }

    @Test(arguments: IPFamily.allCases) func nodePortsFollowTheNodesAddresses(_ family: IPFamily) throws {
        let (cluster, service) = try Cluster.serving(AgentFlags(["--nodeport-addresses": "external"]))
        let node = cluster.topology.node
        let second = family == .v4 ? IPAddress(v4: 0xC612_FF01) : IPAddress(v6: 0x2001_0db8_00ff << 80 | 1)
        let index = try node.device("eth0").index
        let frontends = [TransportProtocol.tcp, .udp].map {
            service.frontend(.nodePort, family, $0, node: second)
        }
        for frontend in frontends { #expect(try cluster.outside.cannotReach(frontend)) }
        try node.addAddress(second, device: "eth0")
        try cluster.waitUntilInStep()
        for frontend in frontends {
            #expect(try cluster.outside.servers(of: frontend) == Set(Cluster.servingPods))
        }
        try node.namespace.withNetlink {
            try $0.removeAddress(second, prefixLength: family.bitWidth, from: index)
        }
        try cluster.waitUntilInStep()
        for frontend in frontends { #expect(try cluster.outside.cannotReach(frontend)) }
        let first = try cluster.frontend(service, .nodePort, family, .tcp)
        #expect(try cluster.outside.servers(of: first) == Set(Cluster.servingPods))
    }

    /// As kube-proxy's nftables mode has it by default, but followed (service semantics 2.6).
    @Test(arguments: IPFamily.allCases) func nodePortsAreServedOnThePrimaryAddressAlone(_ family: IPFamily) throws {
        let (cluster, service) = try Cluster.serving()
        let node = cluster.topology.node
        let (second, third) =
            family == .v4
            ? (IPAddress(v4: 0xC612_FF01), IPAddress(v4: 0xC612_FF02))
            : (IPAddress(v6: 0x2001_0db8_00ff << 80 | 1), IPAddress(v6: 0x2001_0db8_00ff << 80 | 2))
        let first = try cluster.topology.nodeAddress(family, outside: 0)
        for address in [second, third] { try node.addAddress(address, device: "eth0") }
        /// Which of the three answer.
        func serving() throws -> [IPAddress] {
            try cluster.waitUntilInStep()
            return try [first, second, third].filter { address in
                let frontends = [TransportProtocol.tcp, .udp].map {
                    service.frontend(.nodePort, family, $0, node: address)
                }
                let answers = try frontends.map { try !cluster.outside.cannotReach($0) }
                #expect(Set(answers).count == 1, "\(address)")
                return answers[0]
            }
        }
        #expect(try serving() == [first], "without a Node object that of the first external device")
        let rows: [(internal: [IPAddress], external: [IPAddress], served: IPAddress)] = [
            ([second], [third], second), ([third, second], [], third), ([], [second, third], second),
            ([first], [], first),
        ]
        for row in rows {
            try cluster.manifests.put(
                "node.yaml", Self.nodeObject(internal: row.internal, external: row.external))
            #expect(try serving() == [row.served], "\(row)")
        }
        try cluster.manifests.remove("node.yaml")
        #expect(try serving() == [first])
    }

    /// A `/0` is all of a family, and so is a list that has no prefix of it.
    @Test(arguments: [
        (prefixes: "198.18.255.1/32", v4: ["198.18.255.1"], v6: ["2001:db8:ff::1", "2001:db8:ff::2"]),
        (
            prefixes: "2001:db8:ff::/48", v4: ["198.18.255.1", "198.18.255.2"],
            v6: ["2001:db8:ff::1", "2001:db8:ff::2"]
        ),
        (prefixes: "0.0.0.0/0,2001:db8:ff::2/128", v4: ["198.18.255.1", "198.18.255.2"], v6: ["2001:db8:ff::2"]),
    ])
    func nodePortsAreServedOnAddressesInPrefixes(_ row: (prefixes: String, v4: [String], v6: [String])) throws {
        let (cluster, service) = try Cluster.serving(AgentFlags(["--nodeport-addresses": row.prefixes]))
        let all = ["198.18.255.1", "198.18.255.2", "2001:db8:ff::1", "2001:db8:ff::2"].compactMap { IPAddress($0) }
        for address in all { try cluster.topology.node.addAddress(address, device: "eth0") }
        try cluster.waitUntilInStep()
        for address in all {
            let isServed = (row.v4 + row.v6).contains("\(address)")
            let frontend = service.frontend(.nodePort, address.family, .tcp, node: address)
            #expect(try cluster.outside.cannotReach(frontend) == !isServed, "\(address)")
        }
    }

    private static func nodeObject(internal: [IPAddress], external: [IPAddress]) -> String {
        let addresses =
            `internal`.map { "{type: InternalIP, address: \"\($0)\"}" }
            + external.map { "{type: ExternalIP, address: \"\($0)\"}" }
        return """
            apiVersion: v1
            kind: Node
            metadata: {name: node}
            status:
              addresses: [\(addresses.joined(separator: ", "))]

            """
    }

    @Test func devicesTheConfigurationNoLongerNamesAreLetGo() throws {
        let (cluster, service) = try Cluster.serving()
        let frontend = service.frontend(.clusterIP, .v4, .tcp)
        _ = try cluster.client.ask(frontend)
        let other = try cluster.topology.addPod("other")
        let index = Int32(try cluster.topology.node.device("ntclient").index)
        try cluster.stop(SIGTERM)
        try cluster.start(AgentFlags(["--workload-devices": "nt*,!ntclient"]))
        #expect(!Attachments.interfaces(in: cluster.pins).contains(index))
        #expect(try cluster.client.cannotReach(frontend))
        #expect(try Set(Cluster.servingPods).contains(other.ask(frontend).answer.server))
    }

    @Test(.needs("tc")) func programsThatSomebodyTakesAwayArePutBack() throws {
        let (cluster, service) = try Cluster.serving(AgentFlags(["--tc": "clsact"]))
        let frontend = service.frontend(.clusterIP, .v4, .tcp)
        let tc = try ChildProcess(
            "/usr/bin/env", ["tc", "qdisc", "del", "dev", "ntclient", "clsact"], in: cluster.topology.node.namespace)
        #expect(try tc.wait(timeout: .seconds(10)) == .exited(0))
        try cluster.waitForAgentLine("warning", "ntclient", "put back")
        try eventually("the client is served again") { try !cluster.client.cannotReach(frontend) }
        #expect(Attachments.all(in: cluster.pins).count { $0.mechanism == .clsact } > 0)
    }

    @Test func aDeviceThatIsNamedIsAttachedToWhenItAppears() throws {
        let flags = AgentFlags([
            "--external-devices": "eth0,eth7", "--nodeport-addresses": "external",
        ])
        let (cluster, service) = try Cluster.serving(flags)
        try cluster.waitForAgentLine("warning", "device=eth7", "attached to when it appears")
        let node = cluster.topology.node
        // Made elsewhere and moved: the agent attaches at once, and the wire's settings cannot change under XDP.
        let other = try NetLab.Host(name: "other")
        let wire = try Wire(NetLab.Host(name: "workshop"), "eth7", other, "eth0")
        let namespace = node.namespace.rawDescriptor
        let index = wire.a.device.index
        try wire.a.host.namespace.withNetlink { try $0.moveInterface(index, toNamespace: namespace) }
        let moved = try node.device("eth7").index
        try node.namespace.withNetlink { try $0.setUp(moved) }
        let (here, there) = (IPAddress(v4: 0xC612_F001), IPAddress(v4: 0xC612_F002))
        try node.addAddress(here, prefixLength: 30, device: "eth7")
        try other.addAddress(there, prefixLength: 30, device: "eth0")
        try other.addDefaultRoute(via: here, device: "eth0")
        try cluster.waitUntilInStep()
        let frontend = service.frontend(.nodePort, .v4, .tcp, node: here)
        try eventually("eth7 is attached to") { !other.cannotReach(frontend) }
        #expect(try other.servers(of: frontend) == Set(Cluster.servingPods))
        let programs = Attachments.all(in: cluster.pins).filter { $0.interface == Int32(moved) }.map(\.program)
        #expect(programs == [.externalXDP, .externalIngress, .externalEgress])
    }

    @Test(.needs("ip")) func devicesThatCannotCarryTheDatapathDoNotStopOthers() throws {
        let cluster = try Cluster()
        let service = try cluster.service()
        try cluster.manifests.put(service)
        try ip(cluster, "tuntap", "add", "dev", "eth8", "mode", "tun")
        try cluster.start()
        try cluster.waitForAgentLine("error", "device=eth8", "only Ethernet devices")
        try ip(cluster, "tuntap", "add", "dev", "eth9", "mode", "tun")
        try cluster.waitForAgentLine("error", "device=eth9", "only Ethernet devices")
        try cluster.waitUntilInStep()
        for family in IPFamily.allCases {
            let frontend = try cluster.frontend(service, .nodePort, family, .tcp)
            #expect(try cluster.outside.servers(of: frontend) == Set(Cluster.servingPods))
        }
    }

    /// Somebody else's XDP program keeps ours away. tc does the same work; only that XDP was demanded makes it an error.
    @Test(arguments: [
        (xdp: "auto", level: "notice"), (xdp: "native", level: "error"), (xdp: "generic", level: "error"),
    ])
    func aDeviceWhoseXDPHookIsTakenIsServedByTC(_ expected: (xdp: String, level: String)) throws {
        let cluster = try Cluster()
        let service = try cluster.service()
        try cluster.manifests.put(service)
        let index = Int32(try cluster.topology.node.device("eth0").index)
        // With empty maps it lets everything pass.
        let foreign = try Datapath.load(DatapathSettings(), pins: nil)
        let program = try #require(foreign.programs[.externalXDP])
        let link = try cluster.topology.node.namespace.run {
            try program.attachXDP(interface: index, mode: .generic)
        }
        try cluster.start(AgentFlags(["--xdp": expected.xdp]))
        try cluster.waitForAgentLine(expected.level, "device=eth0", "XDP of interface \(index)")
        try cluster.waitUntilInStep()
        let tc = AttachMode.mechanisms[0]
        let attached = Attachments.all(in: cluster.pins).filter { $0.interface == index }
        #expect(attached.map(\.mechanism.rawValue) == [tc, tc])
        for family in IPFamily.allCases {
            let frontend = try cluster.frontend(service, .nodePort, family, .udp)
            #expect(try cluster.outside.servers(of: frontend) == Set(Cluster.servingPods))
        }
        #expect(link.interface == index, "it is left alone")
    }

    private func ip(_ cluster: Cluster, _ arguments: String...) throws {
        let process = try ChildProcess("ip", arguments, in: cluster.topology.node.namespace)
        #expect(try process.wait() == .exited(0), "\(process.lines)")
    }
}
