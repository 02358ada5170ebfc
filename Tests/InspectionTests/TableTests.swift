import BPF
import Dataplane
import Foundation
import Inspection
import NeedletailABI
import NetTypes
import Planning
import Resolver
import Testing

/// What people see, text for text where it does not depend on the kernel.
@Suite(.serialized, .requiresBPF, .timeLimit(.minutes(2)))
struct TableTests {
    let datapath: TestDatapath
    let inspector: Inspector

    init() throws {
        datapath = try Scene.datapath()
        inspector = try datapath.inspector
    }

    private func flowTable(_ filter: FlowFilter = FlowFilter(), _ detail: Detail = .normal) throws -> String {
        var text = ""
        _ = try inspector.flows(filter, to: FlowWriter(detail) { text += $0 })
        return text
    }

    @Test func frontendsWithTheAnswersOfBothScopes() throws {
        #expect(
            try inspector.services().text(.normal) == """
                SERVICE                  KIND          FRONTEND               EXTERNAL            INTERNAL      STATE
                kube-system/dns:dns      ClusterIP     198.18.0.53:53/UDP     2                   2             active
                kube-system/dns:dns-tcp  ClusterIP     198.18.0.53:53/TCP     2                   2             active
                shop/api                 ClusterIP     198.18.0.11:443/TCP    1                   1             active
                shop/api                 LoadBalancer  203.0.113.11:443/TCP   no-local-endpoints  1             active
                shop/empty               ClusterIP     198.18.0.12:80/TCP     no-endpoints        no-endpoints  active
                shop/web:http            ClusterIP     198.18.0.10:80/TCP     3                   3             active
                shop/web:http            ClusterIP     [2001:db8::10]:80/TCP  1                   1             active
                shop/web:http            NodePort      192.0.2.1:30080/TCP    1                   3             active

                """)
    }

    @Test func aServiceWithItsSetsAndFlows() throws {
        #expect(
            try inspector.service(ServiceSelector("shop/web")).text(.normal) == """
                Service shop/web:http/TCP, id 1, 3 flows
                  3 new flows, 3 packets (140 B) to backends, 1 (40 B) back, nothing refused
                  FRONTEND               KIND       SCOPE     NEW CONNECTIONS      OPTIONS
                  198.18.0.10:80/TCP     ClusterIP  external  3 backends of set 2
                  198.18.0.10:80/TCP     ClusterIP  internal  3 backends of set 2
                  [2001:db8::10]:80/TCP  ClusterIP  external  1 backend of set 6
                  [2001:db8::10]:80/TCP  ClusterIP  internal  1 backend of set 6
                  192.0.2.1:30080/TCP    NodePort   external  1 backend of set 1
                  192.0.2.1:30080/TCP    NodePort   internal  3 backends of set 2

                Set 1: 1 backend, 251 slots in lines 0-16
                  BACKEND              ID  SLOTS    SHARE  STATE   LOCAL  FLOWS
                  198.18.1.1:8080/TCP   1    251  100.00%  active  yes        1

                Set 2: 3 backends, 509 slots in lines 17-49
                  BACKEND              ID  SLOTS   SHARE  STATE   LOCAL  FLOWS
                  198.18.1.1:8080/TCP   1    169  33.20%  active  yes        1
                  198.18.1.2:8080/TCP   2    170  33.40%  active  no         0
                  198.18.1.3:8080/TCP   3    170  33.40%  active  no         1

                Set 6: 1 backend, 251 slots in lines 101-117
                  BACKEND                   ID  SLOTS    SHARE  STATE   LOCAL  FLOWS
                  [2001:db8:1::1]:8080/TCP   9    251  100.00%  active  yes        1

                """)
    }

    @Test func refusalsAreExplained() throws {
        #expect(
            try inspector.service(ServiceSelector("shop/api")).text(.normal) == """
                Service shop/api/TCP, id 2, 0 flows
                  0 new flows, 0 packets (0 B) to backends, 0 (0 B) back, nothing refused
                  FRONTEND              KIND          SCOPE     NEW CONNECTIONS              OPTIONS
                  198.18.0.11:443/TCP   ClusterIP     external  1 backend of set 3
                  198.18.0.11:443/TCP   ClusterIP     internal  1 backend of set 3
                  203.0.113.11:443/TCP  LoadBalancer  external  refused: no-local-endpoints
                  203.0.113.11:443/TCP  LoadBalancer  internal  1 backend of set 3
                  no-local-endpoints: externalTrafficPolicy is Local, and no usable endpoint is on this node

                Set 3: 1 backend, 251 slots in lines 50-66
                  BACKEND              ID  SLOTS    SHARE  STATE   LOCAL  FLOWS
                  198.18.1.4:8443/TCP   4    251  100.00%  active  no         0

                """)
    }

    @Test func whatAServiceAsksForIsExplained() throws {
        try datapath.program([Scene.special], Resolver.Options(masquerade: .kubeProxy))
        let report = try inspector.service(ServiceSelector("shop/special")).text(.normal)
        #expect(
            report.split(separator: "\n\n")[0] == """
                Service shop/special/TCP, id 6, 0 flows
                  0 new flows, 0 packets (0 B) to backends, 0 (0 B) back, nothing refused
                  FRONTEND              KIND          SCOPE     NEW CONNECTIONS     OPTIONS
                  198.18.0.14:443/TCP   ClusterIP     external  1 backend of set 7  masquerade
                  198.18.0.14:443/TCP   ClusterIP     internal  1 backend of set 7
                  203.0.113.14:443/TCP  LoadBalancer  external  1 backend of set 7  source-ranges,masquerade,dsr
                  203.0.113.14:443/TCP  LoadBalancer  internal  1 backend of set 7  source-ranges,masquerade
                  source-ranges: only 198.18.2.0/24, 198.18.4.0/24 may connect
                  affinity: a client stays with its backend for 600 s after its last new connection
                """)
        let wide = rows(try inspector.services().text(.wide)).filter { $0.first == "shop/special" }
        #expect(wide.count == 2 && wide[1].contains("affinity,source-ranges,masquerade,dsr"))
    }

    @Test func backendsWithSharesFlowsAndServices() throws {
        #expect(
            try inspector.backends().text(.normal) == """
                BACKEND                   ID  STATE   LOCAL  SLOTS    SHARE  FLOWS  SERVICES
                198.18.1.1:8080/TCP        1  active  yes      420   55.26%      1  shop/web:http
                198.18.1.2:8080/TCP        2  active  no       170   33.40%      0  shop/web:http
                198.18.1.3:8080/TCP        3  active  no       170   33.40%      1  shop/web:http
                198.18.1.4:8443/TCP        4  active  no       251  100.00%      0  shop/api
                198.18.1.5:53/TCP          5  active  yes      126   50.20%      0  kube-system/dns:dns-tcp
                198.18.1.5:53/UDP          7  active  yes      125   49.80%      0  kube-system/dns:dns
                198.18.1.6:53/TCP          6  active  yes      125   49.80%      0  kube-system/dns:dns-tcp
                198.18.1.6:53/UDP          8  active  yes      126   50.20%      1  kube-system/dns:dns
                [2001:db8:1::1]:8080/TCP   9  active  yes      251  100.00%      1  shop/web:http

                """)
    }

    @Test func flowsWithBothEntriesAsOne() throws {
        let table = rows(try flowTable())
        #expect(table[0] == ["PROTO", "CLIENT", "FRONTEND", "BACKEND", "SERVICE", "STATE", "AGE", "IDLE", "NOTE"])
        // Ages depend on the clock.
        #expect(
            table.dropFirst().map { Array($0.prefix(6)) } == [
                ["TCP", "198.18.2.1:40001", "198.18.0.10:80", "198.18.1.1:8080", "shop/web:http", "established"],
                ["TCP", "198.18.2.2:40002", "198.18.0.10:80", "198.18.1.3:8080", "shop/web:http", "opening"],
                ["UDP", "198.18.2.3:5353", "198.18.0.53:53", "198.18.1.6:53", "kube-system/dns:dns", "opening"],
                [
                    "TCP", "[2001:db8:2::1]:40003", "[2001:db8::10]:80", "[2001:db8:1::1]:8080", "shop/web:http",
                    "opening",
                ],
            ])
        #expect(try flowTable(FlowFilter(), .wide).contains("syn,replied"))
    }

    @Test(arguments: [FlowDirection.forward, .reverse])
    func aFlowWithOneEntrySaysSo(_ lost: FlowDirection) throws {
        for name in ["nt_tcp_flows4", "nt_udp_flows4"] {
            let flows = try BPFMap<nt_flow_key4, nt_flow4>.open(pinnedAt: datapath.pins.map(name))
            for (key, _) in try flows.entries() where UInt32(key.direction) == lost.rawValue { try flows.delete(key) }
        }

        let lines = try flowTable().split(separator: "\n").dropFirst().filter { !$0.contains("[") }
        #expect(lines.count == 3)
        for line in lines {
            #expect(line.hasSuffix(lost == .forward ? "no forward entry" : "no reply entry"))
            #expect(line.contains("198.18.2.") && line.contains("198.18.0."))
        }
        // What has one entry is flushed, and counted, like any other flow.
        #expect(try inspector.flush(FlowFilter(), dryRun: true).flows == 4)
        #expect(try inspector.flush(FlowFilter(), dryRun: false).flows == 4)
        #expect(rows(try flowTable()).count == 1)
    }

    @Test func maglevTablesAreCheckedAndCounted() throws {
        #expect(
            try inspector.maglev(ServiceSelector("kube-system/dns:53/udp")).text(.normal) == """
                Service:  kube-system/dns:dns/UDP

                Set:       5
                Used by:   198.18.0.53:53/UDP external
                           198.18.0.53:53/UDP internal
                Table:     251 slots in lines 84-100
                Evenness:  1.0040 (busiest backend over the average)
                Verify:    ok: the table is the one its backends should have
                  BACKEND            ID  SLOTS  EXPECTED  DEVIATION
                  198.18.1.5:53/UDP   7    125    125.50     -0.40%
                  198.18.1.6:53/UDP   8    126    125.50      0.40%

                """)
        #expect(
            try inspector.maglev(ServiceSelector("shop/empty:80")).text(.normal)
                == "Service:  shop/empty/TCP\nAll frontends refuse, there is no table.\n")
    }

    @Test func aWrongSlotIsFound() throws {
        let slots = try BPFMap<UInt32, nt_slot_line>.open(pinnedAt: datapath.pins.map("nt_slots"))
        var line = try #require(try slots.lookup(84))
        line.slot.3 = BackendID(rawValue: line.slot.3.rawValue == 7 ? 8 : 7)
        try slots.update(84, line)
        let text = try inspector.maglev(ServiceSelector("kube-system/dns:dns")).text(.normal)
        #expect(text.contains("differs: 1 of 251 slots are not as its backends should have them"))
    }

    @Test func runsOfSlotsCoverTheTable() throws {
        let tables = try #require(
            document(try inspector.maglev(ServiceSelector("shop/web:http"), slots: true))["tables"] as? [[String: Any]])
        for table in tables {
            let runs = try #require(table["runs"] as? [[String: Int]])
            var next = 0
            for run in runs {
                #expect(run["first"] == next)
                next = try #require(run["last"]) + 1
            }
            #expect(next == table["size"] as? Int)
        }
    }

    @Test func mapsWithTheSettingsThatRaiseThem() throws {
        let table = rows(try inspector.mapUsage().text(.normal))
        let used = Dictionary(uniqueKeysWithValues: table.dropFirst().map { ($0[0], "\($0[5])/\($0[6]) \($0[7])") })
        #expect(used["nt_frontends4"] == "7/256 entries")
        #expect(used["nt_frontends6"] == "1/256 entries")
        #expect(used["nt_backends"] == "9/128 entries")
        #expect(used["nt_sets"] == "6/64 entries")
        #expect(used["nt_slots"] == "1888/16384 slots")
        #expect(used["nt_tcp_flows4"] == "4/2048 entries")
        #expect(used["nt_udp_flows4"] == "2/2048 entries")
        #expect(used["nt_tcp_flows6"] == "2/2048 entries")
        #expect(used["nt_udp_flows6"] == "0/2048 entries")
        #expect(used["nt_stats"] == "5/64 entries")
        let settings = Dictionary(uniqueKeysWithValues: table.dropFirst().map { ($0[0], $0[$0.count - 1]) })
        #expect(settings["nt_tcp_flows6"] == "--max-tcp-flows")
        #expect(settings["nt_slots"] == "--max-slots")
        #expect(settings["nt_meta"] == "-")
    }

    @Test func normalTablesFitAndNoLineEndsInBlanks() throws {
        try datapath.program(Scene.all + [Scene.crowded])
        let tables = [
            try inspector.status().text(.normal), try inspector.services().text(.normal),
            try inspector.backends().text(.normal), try inspector.mapUsage().text(.normal), try flowTable(),
            try inspector.service(ServiceSelector("shop/web")).text(.normal),
            try inspector.service(ServiceSelector("shop/crowded")).text(.normal),
            try inspector.maglev(ServiceSelector("shop/crowded")).text(.normal),
            try inspector.maglev(ServiceSelector("shop/empty")).text(.normal),
        ]
        for line in tables.joined().split(separator: "\n") where !line.hasPrefix("Datapath") {
            #expect(line.count <= 120, "\(line)")
            #expect(!line.hasSuffix(" "), "\(line)")
        }
    }

    @Test func removedServicesAreShownAsRetired() throws {
        try datapath.program([Scene.dns, Scene.api, Scene.empty])
        let report = try inspector.service(ServiceSelector("shop/web")).text(.normal)
        #expect(report.contains("refused: retired"))
        #expect(report.contains("retired: removed: serves the flows it has, starts no new ones"))
        let list = rows(try inspector.services().text(.normal))
        #expect(list.count { $0.last == "retired" } == 3)
        #expect(try inspector.status().text(.normal).contains("7 IPv4, 1 IPv6, 3 of them retired"))
        #expect(try inspector.backends().text(.normal).contains("gone"))
    }

    @Test func idsThatNameNothingAreShownNotTrusted() throws {
        let key = try endpoint("198.18.0.99:80/TCP")
        let nameless = FrontendRecord(
            flags: .clusterIP, service: ServiceID(rawValue: 60), external: .set(SetID(rawValue: 50)),
            internal: .set(SetID(rawValue: 2)))
        let beyond = SetRecord(line: 1020, slots: 65537, backends: 3, digest: 1)
        try datapath.perform([
            .frontend(key, nameless), .backend(BackendID(rawValue: 3), nil), .set(SetID(rawValue: 1), beyond),
            .service(ServiceID(rawValue: 2), nil),
        ])
        let list = try inspector.services().text(.normal)
        #expect(list.contains("?60") && list.contains("?50") && list.contains("?2"))
        let show = try inspector.service(ServiceSelector("shop/web")).text(.normal)
        #expect(rows(show).contains { $0.first == "?" && $0.dropFirst().first == "3" })
        let maglev = try inspector.maglev(ServiceSelector("shop/web")).text(.normal)
        #expect(maglev.contains("unknown: 1 of its backends are not in the maps"))
        _ = try inspector.backends().text(.wide)
        _ = try inspector.status().text(.wide)
        #expect(try flowTable().contains("198.18.2.2:40002"))
    }
}
