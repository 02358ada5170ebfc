import Dataplane
import Glibc
import NeedletailABI
import NetLab
import NetTypes
import Netlink
import Resolver
import TestSupport
import Testing

/// The programs know the node as it is.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct NodeRecordTests {
    private func device(_ cluster: Cluster, _ name: String) throws -> UInt32 {
        try cluster.topology.node.device(name).index
    }

    @Test func devicesAndAddressesAreKnownWhenTheProgramsAre() throws {
        let (cluster, _) = try Cluster.serving()
        let records = try cluster.maps().deviceRecords()
        let pods = try (Cluster.servingPods + ["client"]).map { try device(cluster, "nt\($0)") }
        let external = try device(cluster, "eth0")
        #expect(Set(records.keys) == Set(pods + [external]))
        #expect(pods.allSatisfy { records[$0]?.role == .workload && records[$0]?.takesFromXDP == false })
        #expect(records[external]?.role == .external)
        // A veth loses what XDP sends to it.
        #expect(records[external]?.takesFromXDP == false)
        let own = try IPFamily.allCases.map { try cluster.topology.nodeAddress($0, outside: 0) }
        #expect(records[external]?.addresses == Dictionary(uniqueKeysWithValues: own.map { ($0.family, $0) }))
        #expect(try cluster.maps().nodeState().addresses == records[external]?.addresses)
    }

    @Test(arguments: [("always", true), ("never", false)]) func whoSaysSoHasXDPSendOrNot(_ flag: String, _ takes: Bool)
        throws
    {
        let (cluster, _) = try Cluster.serving(AgentFlags(["--xdp-forward": flag]))
        let records = try cluster.maps().deviceRecords()
        let (external, pod) = (try device(cluster, "eth0"), try device(cluster, "nta"))
        #expect(records[external]?.takesFromXDP == takes)
        #expect(records[pod]?.takesFromXDP == false)
    }

    @Test func recordsFollowDevicesAndAddresses() throws {
        let (cluster, _) = try Cluster.serving()
        let node = cluster.topology.node
        let external = try device(cluster, "eth0")
        try cluster.topology.addPod("late")
        let late = try device(cluster, "ntlate")
        try eventually("the new pod's device is known") { try cluster.maps().deviceRecords()[late]?.role == .workload }
        try cluster.topology.removePod("late")
        try eventually("it is forgotten") { try cluster.maps().deviceRecords()[late] == nil }

        let first = try cluster.topology.nodeAddress(.v4, outside: 0)
        // One address alone is somebody's who announces it, and not the node's own.
        try node.addAddress(IPAddress(v4: 0xC612_FF01), device: "eth0")
        try node.namespace.withNetlink {
            try $0.addAddress(IPAddress(v4: 0xC612_FE01), prefixLength: 24, to: external)
        }
        let wider = IPAddress(v4: 0xC612_FE01)
        try eventually("the address of the widest prefix is used") {
            try cluster.maps().deviceRecords()[external]?.addresses[.v4] == wider
                && cluster.maps().nodeState().addresses[.v4] == wider
        }
        try node.namespace.withNetlink { try $0.removeAddress(wider, prefixLength: 24, from: external) }
        try eventually("the first one is used again") {
            try cluster.maps().deviceRecords()[external]?.addresses[.v4] == first
                && cluster.maps().nodeState().addresses[.v4] == first
        }
    }

    @Test func whatAnEarlierAgentKnewIsCorrectedAtTheStart() throws {
        let (cluster, _) = try Cluster.serving()
        let gone = try device(cluster, "ntc")
        try cluster.stop(SIGTERM)
        try cluster.topology.removePod("c")
        try cluster.start()
        let records = try cluster.maps().deviceRecords()
        #expect(records[gone] == nil && records.count == 4)
    }

    @Test func clusterIPsLieInTheRangeAndServiceCIDRsWiden() throws {
        let (cluster, service) = try Cluster.serving(AgentFlags(["--service-cidrs": "198.19.0.0/16,2001:db8:99::/64"]))
        // The programs are told of them after the frontends.
        try eventually("the CIDRs are known") { try !cluster.maps().nodeState().serviceCIDRs.isEmpty }
        let state = try cluster.maps().nodeState()
        #expect(state.serviceCIDRs.map(\.description) == ["198.19.0.0/16", "2001:db8:99::/64"])
        for family in IPFamily.allCases {
            let address = service.frontend(.clusterIP, family, .tcp).address
            let range = try #require(state.clusterRange[family])
            #expect(range.contains(address))
            let prefixes = state.serviceCIDRs.filter { $0.family == family }
            #expect(prefixes.allSatisfy { range.contains($0.base) })
        }
    }

    @Test func aNodeCanExplainPacketsSoonAfterItsAgentBegan() throws {
        let (cluster, _) = try Cluster.serving()
        for program in DatapathProgram.attachable {
            try eventually("\(program.name) can be traced", within: .seconds(30)) {
                (try? TraceProgram(program, pinnedIn: cluster.pins)) != nil
            }
            #expect(try TraceProgram(program, pinnedIn: cluster.pins).differing == [])
        }
    }
}
