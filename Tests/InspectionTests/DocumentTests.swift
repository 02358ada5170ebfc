import Dataplane
import Foundation
import Inspection
import NeedletailABI
import Testing

/// The keys that programs rely on: those of docs/cli.md, all of them, and no others.
@Suite(.serialized, .requiresBPF, .timeLimit(.minutes(2)))
struct DocumentTests {
    let datapath: TestDatapath
    let inspector: Inspector

    init() throws {
        datapath = try Scene.datapath()
        try datapath.storeNodeRecord()
        inspector = try datapath.inspector
    }

    private func objects(_ document: [String: Any], _ key: String) throws -> [[String: Any]] {
        try #require(document[key] as? [[String: Any]])
    }

    private func keys(_ object: [String: Any]) -> [String] { object.keys.sorted() }

    @Test func status() throws {
        let status = try document(inspector.status())
        #expect(
            keys(status) == [
                "abiVersion", "agent", "attachments", "counters", "kernel", "pinDirectory", "socketHooks", "totals",
                "traffic",
            ])
        let agent = try #require(status["agent"] as? [String: Any])
        #expect(
            keys(agent) == [
                "lastSync", "lastSyncAge", "node", "pid", "running", "started", "syncFailures", "syncs", "version",
            ])
        #expect(agent["started"] as? String == "2026-09-21T14:13:20Z")
        #expect(agent["syncs"] as? Int == 12)
        let totals = try #require(status["totals"] as? [String: Any])
        #expect(
            keys(totals) == [
                "backends", "flows4", "flows6", "frontends4", "frontends6", "retired", "servicePorts", "sets", "slots",
            ])
        #expect(totals["backends"] as? [String: Int] == ["active": 9, "terminating": 0, "gone": 0])
        #expect(totals["slots"] as? Int == 251 * 5 + 509)
        let counters = try objects(status, "counters")
        #expect(counters.count == Int(NT_COUNTER_COUNT))
        #expect(keys(counters[0]) == ["counter", "explanation", "outcome", "packets", "programs"])
        let new = try #require(counters.first { $0["counter"] as? String == "forward-new" })
        #expect(new["packets"] as? Int == 4)
        #expect(new["programs"] as? [String: Int] == ["workload_ingress": 4])
    }

    @Test func services() throws {
        let frontends = try objects(document(inspector.services()), "frontends")
        #expect(frontends.count == 8)
        let api = frontends[3]
        #expect(
            keys(api) == [
                "address", "external", "forwarding", "internal", "kind", "name", "namespace", "port", "portName",
                "protocol", "retired", "serviceID",
            ])
        #expect(api["address"] as? String == "203.0.113.11")
        #expect(api["kind"] as? String == "LoadBalancer")
        #expect(api["portName"] as? String == "")
        let external = try #require(api["external"] as? [String: Any])
        #expect(keys(external) == ["explanation", "masquerade", "refusal", "scope"])
        #expect(external["refusal"] as? String == "no-local-endpoints")
        let `internal` = try #require(api["internal"] as? [String: Any])
        #expect(keys(`internal`) == ["backends", "explanation", "masquerade", "scope", "set"])
    }

    @Test func whatAServiceAsksFor() throws {
        try datapath.program([Scene.special])
        let ports = try objects(document(inspector.service(ServiceSelector("shop/special"))), "ports")
        let frontends = try objects(ports[0], "frontends")
        #expect(frontends.map { $0["affinity"] as? Int } == [600, 600])
        #expect(frontends.map { $0["forwarding"] as? String } == ["snat", "dsr"])
        #expect(frontends[0]["sourceRanges"] == nil)
        #expect(frontends[1]["sourceRanges"] as? [String] == ["198.18.2.0/24", "198.18.4.0/24"])
    }

    @Test func service() throws {
        let ports = try objects(document(inspector.service(ServiceSelector("shop/web:http/tcp"))), "ports")
        #expect(ports.count == 1)
        #expect(
            keys(ports[0]) == [
                "flows", "frontends", "name", "namespace", "portName", "protocol", "serviceID", "sets", "traffic",
            ])
        let sets = try objects(ports[0], "sets")
        #expect(sets.map { $0["slots"] as? Int } == [251, 509, 251])
        #expect(keys(sets[1]) == ["backends", "id", "line", "lines", "slots"])
        let members = try objects(sets[1], "backends")
        #expect(keys(members[0]) == ["address", "flows", "id", "local", "port", "share", "slots", "state"])
        #expect(members.map { $0["slots"] as? Int } == [169, 170, 170])
        let shares = members.compactMap { $0["share"] as? Double }
        #expect(abs(shares.reduce(0, +) - 100) < 0.001)
    }

    @Test func backends() throws {
        let backends = try objects(document(inspector.backends()), "backends")
        #expect(
            keys(backends[0]) == [
                "address", "flows", "id", "local", "port", "protocol", "services", "sets", "share", "slots", "state",
            ])
        #expect(backends[0]["services"] as? [String] == ["shop/web:http"])
        #expect(backends[0]["sets"] as? [Int] == [1, 2])
    }

    @Test func flows() throws {
        var text = ""
        _ = try inspector.flows(to: FlowWriter(JSONDocument()) { text += $0 })
        let parsed = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        let flows = try objects(parsed, "flows")
        #expect(flows.count == 4)
        #expect(
            keys(flows[0]) == [
                "age", "backend", "backendID", "client", "entries", "flags", "frontend", "idle", "protocol", "service",
                "serviceID", "state",
            ])
        #expect(flows[0]["flags"] as? [String] == ["syn", "replied"])
        #expect(flows[0]["entries"] as? String == "both")
        let client = try #require(flows[0]["client"] as? [String: Any])
        #expect(client["address"] as? String == "198.18.2.1")
        #expect(client["port"] as? Int == 40001)
    }

    @Test func flush() throws {
        let flushed = try document(inspector.flush(FlowFilter(), dryRun: true))
        #expect(keys(flushed) == ["dryRun", "flows"])
        #expect(flushed["flows"] as? Int == 4)
        #expect(flushed["dryRun"] as? Bool == true)
    }

    @Test func maglev() throws {
        let report = try document(inspector.maglev(ServiceSelector("shop/web:80"), slots: true))
        #expect(keys(report) == ["services", "tables"])
        let tables = try objects(report, "tables")
        #expect(
            keys(tables[0]) == [
                "evenness", "explanation", "line", "lines", "runs", "set", "shares", "size", "users", "verdict",
            ])
        #expect(tables.map { $0["verdict"] as? String } == ["ok", "ok", "ok"])
        let shares = try objects(tables[1], "shares")
        #expect(keys(shares[0]) == ["backend", "deviation", "expected", "id", "slots"])
        #expect(shares[0]["expected"] as? Double == 169.6667)
        #expect(try objects(document(inspector.maglev(ServiceSelector("shop/web"))), "tables")[0]["runs"] == nil)
    }

    @Test func maps() throws {
        let maps = try objects(document(inspector.mapUsage()), "maps")
        #expect(maps.count == 22)
        #expect(
            keys(maps[0]) == [
                "bytes", "id", "keySize", "maxEntries", "name", "percent", "setting", "size", "type", "unit", "used",
                "valueSize",
            ])
        let backends = try #require(maps.first { $0["name"] as? String == "nt_backends" })
        #expect(backends["percent"] as? Double == 7.0313)
    }

    @Test func version() throws {
        let version = try document(VersionReport())
        #expect(keys(version) == ["abiVersion", "version"])
    }

    @Test func flowsBeyondTheSortLimitAreStreamed() throws {
        let table: [(limit: Int?, sortLimit: Int)] = [(nil, 2), (3, 2), (2, 100), (1, 0)]
        for (limit, sortLimit) in table {
            var text = ""
            let summary = try inspector.flows(
                limit: limit, sortLimit: sortLimit, to: FlowWriter(JSONDocument()) { text += $0 })
            let parsed = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
            #expect(try objects(parsed, "flows").count == min(limit ?? 4, 4))
            #expect(summary.shown == min(limit ?? 4, 4))
            #expect(summary.isSorted == (sortLimit >= 4))
        }
    }

    @Test func thousandsOfFlowsInChunks() throws {
        // More than one chunk of the writer, so that streaming is more than its last step.
        let web = try endpoint("198.18.0.10:80/TCP")
        for port in 0..<700 {
            let client = try endpoint("198.18.3.1:\(10_000 + port)/TCP")
            try datapath.send(Packet(client, web, flags: Packet.syn), by: .workloadIngress)
        }
        var sorted = ""
        let all = try inspector.flows(to: FlowWriter(.normal) { sorted += $0 })
        var streamed = ""
        let unsorted = try inspector.flows(sortLimit: 10, to: FlowWriter(.normal) { streamed += $0 })
        #expect(all.shown == unsorted.shown && all.isSorted && !unsorted.isSorted)
        func lines(_ text: String) -> [[String]] { rows(text).dropFirst().map { Array($0.prefix(6)) } }
        #expect(lines(sorted).count == all.shown)
        #expect(Set(lines(sorted)) == Set(lines(streamed)))
    }

    @Test func emptyLists() throws {
        _ = try inspector.flush(FlowFilter(), dryRun: false)
        var text = ""
        _ = try inspector.flows(to: FlowWriter(JSONDocument()) { text += $0 })
        let parsed = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        #expect(try objects(parsed, "flows").isEmpty)
        var table = ""
        _ = try inspector.flows(to: FlowWriter(.normal) { table += $0 })
        #expect(rows(table) == [["PROTO", "CLIENT", "FRONTEND", "BACKEND", "SERVICE", "STATE", "AGE", "IDLE", "NOTE"]])
    }
}
