import NeedletailABI
import NetTypes
import TestSupport
import Testing

@testable import Dataplane

/// What the programs are told of the node: read back as it was written.
@Suite struct NodeRecordTests {
    private static func addresses(_ texts: [String]) throws -> [IPAddress] {
        try texts.map { try #require(IPAddress($0)) }
    }

    private static func prefixes(_ texts: [String]) throws -> [CIDR] { try texts.map { try #require(CIDR($0)) } }

    @Test(
        "Nothing that may be a ClusterIP lies outside the range, and the range ends with the last",
        arguments: [
            (ips: [], cidrs: [], v4: nil, v6: nil),
            (ips: ["198.18.0.10"], cidrs: [], v4: ["198.18.0.10", "198.18.0.10"], v6: nil),
            (
                ips: ["198.18.9.1", "198.18.0.10", "2001:db8::10"], cidrs: [], v4: ["198.18.0.10", "198.18.9.1"],
                v6: ["2001:db8::10", "2001:db8::10"]
            ),
            (
                ips: ["198.18.0.10"], cidrs: ["198.18.0.0/24", "2001:db8:0:5::/112"],
                v4: ["198.18.0.0", "198.18.0.255"], v6: ["2001:db8:0:5::", "2001:db8:0:5::ffff"]
            ),
            (
                ips: ["192.0.2.1", "2001:db8::1"], cidrs: ["198.18.4.0/22", "2001:db8:ffff::/48"],
                v4: ["192.0.2.1", "198.18.7.255"], v6: ["2001:db8::1", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"]
            ),
            (ips: [], cidrs: ["203.0.113.7/32"], v4: ["203.0.113.7", "203.0.113.7"], v6: nil),
        ] as [(ips: [String], cidrs: [String], v4: [String]?, v6: [String]?)])
    func clusterRange(_ given: (ips: [String], cidrs: [String], v4: [String]?, v6: [String]?)) throws {
        let state = NodeState(
            clusterIPs: try Self.addresses(given.ips), serviceCIDRs: try Self.prefixes(given.cidrs))
        for (family, wanted) in [(IPFamily.v4, given.v4), (.v6, given.v6)] {
            let ends = try wanted.map(Self.addresses)
            #expect(state.clusterRange[family] == ends.map { $0[0]...$0[1] })
        }
        #expect(NodeState(state.wire) == state)
        // The programs' own comparison: a range that is none holds no address.
        let wire = state.wire
        if given.v4 == nil { #expect(wire.cluster_first4 > wire.cluster_last4) }
        if given.v6 == nil { #expect(wire.cluster_first6 > wire.cluster_last6) }
    }

    @Test func nodeStates() throws {
        let prefixes = try Self.prefixes([
            "198.18.0.0/24", "198.18.2.0/23", "203.0.113.7/32", "192.0.2.128/25", "2001:db8:1::/64", "2001:db8:2::/108",
        ])
        let own: [IPFamily: IPAddress] = [
            .v4: IPAddress(v4: 0xC000_0201), .v6: IPAddress(v6: 0x2001_0DB8 << 96 | 0xFFFF_0001),
        ]
        for addresses in [own, own.filter { $0.key == .v4 }, own.filter { $0.key == .v6 }, [:]] {
            let state = NodeState(addresses: addresses, serviceCIDRs: prefixes)
            #expect(NodeState(state.wire) == state)
            #expect(state.serviceCIDRs == prefixes.sorted())
        }
        for texts in [[], ["198.18.0.0/16"], ["2001:db8:b::/48"], ["198.18.4.4/32", "8000::/1"], ["128.0.0.0/1"]] {
            let pods = try Self.prefixes(texts)
            let state = NodeState(podPrefixes: Dictionary(uniqueKeysWithValues: pods.map { ($0.family, $0) }))
            #expect(NodeState(state.wire) == state)
            #expect(Set(state.podPrefixes.values) == Set(pods))
        }
        #expect(NodeState(nt_node()) == NodeState(), "what nobody has written yet")
    }

    @Test("Of more prefixes than there is room for, the first of each family are used")
    func tooManyPrefixes() throws {
        let v4 = try Self.prefixes((0..<6).map { "198.18.\($0).0/24" })
        let v6 = try Self.prefixes(["2001:db8::/64"])
        let state = NodeState(serviceCIDRs: v6 + v4.reversed())
        #expect(state.serviceCIDRs == Array(v4.prefix(NodeState.maxServiceCIDRs)) + v6)
        #expect(NodeState(state.wire) == state)
    }

    @Test func devices() {
        var random = RandomValues(seed: .random(in: 0...UInt64.max))
        for role in DeviceRole.allCases {
            for takesFromXDP in [false, true] {
                for families in [[], [IPFamily.v4], [.v6], [.v4, .v6]] {
                    let record = DeviceRecord(
                        role: role, takesFromXDP: takesFromXDP,
                        addresses: Dictionary(uniqueKeysWithValues: families.map { ($0, random.address($0)) }))
                    #expect(DeviceRecord(record.wire) == record)
                }
            }
        }
    }

    @Test(.needsRoot) func theTableOfDevicesIsWhatWasStoredLast() throws {
        try Lab.withLab { lab in
            let (external, workload) = (
                DeviceRecord(role: .external, takesFromXDP: true, addresses: [.v4: IPAddress(v4: 0xC000_0201)]),
                DeviceRecord(role: .workload, takesFromXDP: false, addresses: [:])
            )
            var table = try DeviceTable(lab.datapath.maps)
            let states: [[UInt32: DeviceRecord]] = [
                [2: external, 3: workload], [3: external, 4: workload], [4: workload], [:],
            ]
            for wanted in states {
                try table.store(wanted)
                #expect(try lab.datapath.maps.deviceRecords() == wanted)
                // The next agent goes on from there.
                if wanted.count == 1 { table = try DeviceTable(lab.datapath.maps) }
            }
        }
    }

    @Test(.needsRoot) func theNodeIsWhatWasStoredLast() throws {
        try Lab.withLab { lab in
            let state = NodeState(
                addresses: [.v4: IPAddress(v4: 0xC000_0201)], clusterIPs: [IPAddress(v4: 0xC612_000A)])
            try lab.datapath.maps.store(state)
            #expect(try lab.datapath.maps.nodeState() == state)
        }
    }

    @Test(
        "A limit for a second is one for a tick of 0.54 s, and does not become none",
        arguments: [
            (UInt32(0), UInt32(0)), (1, 1), (60, 32), (100_000, 53_687), (1_000_000_000, 536_870_912),
        ])
    func rates(perSecond: UInt32, perTick: UInt32) {
        #expect(DatapathSettings.perTick(perSecond) == perTick)
    }

    @Test(
        "The flow table's share of the memory has bounds",
        arguments: [
            (UInt64(0), UInt32(65_536)), (1 << 30, 65_536), (16 << 30, 111_848), (256 << 30, 1_789_569),
            (4 << 40, 2_097_152),
        ])
    func flowCapacity(memory: UInt64, flows: UInt32) {
        #expect(FlowCapacity.tcp(memory: memory) == flows)
        #expect(FlowCapacity.udp(memory: memory) == flows / 4)
    }
}
