import Dataplane
import Inspection
import NeedletailABI
import NetTypes
import Testing

@Suite(.serialized, .requiresBPF, .timeLimit(.minutes(2)))
struct FilterTests {
    let inspector: Inspector
    private let datapath: TestDatapath

    init() throws {
        datapath = try Scene.datapath()
        inspector = try datapath.inspector
    }

    @Test func services() throws {
        let table: [(String, (inout ServiceFilter) throws -> Void, Int)] = [
            ("namespace", { $0.namespace = "kube-system" }, 2), ("name", { $0.name = "web" }, 3),
            (
                "both",
                {
                    $0.namespace = "shop"; $0.name = "api"
                }, 2
            ), ("unknown namespace", { $0.namespace = "no" }, 0),
            ("address", { $0.address = try EndpointFilter("198.18.0.53") }, 2),
            ("prefix", { $0.address = try EndpointFilter("198.18.0.0/16") }, 5),
            ("IPv6 prefix", { $0.address = try EndpointFilter("2001:db8::/32") }, 1),
            ("address and port", { $0.address = try EndpointFilter("[2001:db8::10]:80") }, 1),
            ("protocol", { $0.transport = .udp }, 1), ("port", { $0.port = 80 }, 3),
            ("kind", { $0.kind = try FrontendKindName("node-port") }, 1),
            (
                "all at once",
                {
                    $0.name = "web"; $0.transport = .tcp; $0.port = 30080; $0.kind = .nodePort
                }, 1
            ),
            ("nothing", { $0.port = 81 }, 0),
        ]
        for (label, change, count) in table {
            var filter = ServiceFilter()
            try change(&filter)
            #expect(try inspector.services(filter).frontends.count == count, "\(label)")
        }
    }

    @Test func backends() throws {
        let table: [(String, (inout BackendFilter) throws -> Void, Int)] = [
            ("namespace", { $0.namespace = "shop" }, 5), ("name", { $0.name = "dns" }, 4),
            ("id", { $0.backend = try BackendFilterTarget("7") }, 1),
            ("address", { $0.backend = try BackendFilterTarget("198.18.1.5") }, 2),
            ("prefix", { $0.backend = try BackendFilterTarget("198.18.1.0/30") }, 3),
            ("endpoint", { $0.backend = try BackendFilterTarget("198.18.1.4:8443") }, 1),
            ("protocol", { $0.transport = .udp }, 2), ("state", { $0.state = .terminating }, 0),
            ("active", { $0.state = .active }, 9), ("local", { $0.isLocal = true }, 6),
            ("remote", { $0.isLocal = false }, 3),
        ]
        for (label, change, count) in table {
            var filter = BackendFilter()
            try change(&filter)
            #expect(try inspector.backends(filter).backends.count == count, "\(label)")
        }
    }

    @Test func flows() throws {
        let table: [(String, (inout FlowFilter) throws -> Void, Int)] = [
            ("namespace", { $0.namespace = "kube-system" }, 1), ("name", { $0.name = "web" }, 3),
            ("client", { $0.address = try EndpointFilter("198.18.2.1") }, 1),
            ("client's prefix", { $0.address = try EndpointFilter("198.18.2.0/24") }, 3),
            ("frontend", { $0.address = try EndpointFilter("198.18.0.10:80") }, 2),
            ("backend as an address", { $0.address = try EndpointFilter("198.18.1.6") }, 1),
            ("protocol", { $0.transport = .udp }, 1), ("state", { $0.state = .established }, 1),
            ("opening", { $0.state = .opening }, 3), ("closed", { $0.state = .closed }, 0),
            ("service", { $0.service = try ServiceSelector("shop/web") }, 3),
            ("service and port", { $0.service = try ServiceSelector("shop/web:http/tcp") }, 3),
            ("service and number", { $0.service = try ServiceSelector("kube-system/dns:53/udp") }, 1),
            ("a port without flows", { $0.service = try ServiceSelector("kube-system/dns:dns-tcp") }, 0),
            ("backend", { $0.backend = try BackendFilterTarget("198.18.1.1:8080") }, 1),
            ("backend id", { $0.backend = try BackendFilterTarget("9") }, 1),
        ]
        for (label, change, count) in table {
            var filter = FlowFilter()
            try change(&filter)
            let summary = try inspector.flows(filter, to: FlowWriter(.normal) { _ in })
            #expect(summary.shown == count, "\(label)")
            // A flush takes what a listing shows, and nothing else.
            #expect(try inspector.flush(filter, dryRun: true).flows == count, "\(label)")
            #expect(try inspector.flush(filter, dryRun: false).flows == count, "\(label)")
            #expect(try inspector.flows(to: FlowWriter(.normal) { _ in }).shown == 4 - count, "\(label)")
            try Scene.addFlows(to: datapath)
        }
    }

    @Test func unknownServices() throws {
        let table = [
            ("shop/web:https", "Service shop/web has no such port: it has http (80,30080)/TCP"),
            ("shop/web/udp", "Service shop/web has no such port: it has http (80,30080)/TCP"),
            ("shop/wbe", "no Service shop/wbe is balanced here: did you mean shop/web?"),
            ("default/web", "no Service default/web is balanced here: did you mean shop/web?"),
            ("a/b", "no Service a/b is balanced here: `needletail service list` shows those there are"),
        ]
        for (text, message) in table {
            let selector = try ServiceSelector(text)
            var filter = FlowFilter()
            filter.service = selector
            for question in [
                { _ = try inspector.service(selector) }, { _ = try inspector.maglev(selector) },
                { _ = try inspector.flush(filter, dryRun: true) },
            ] {
                let error = #expect(throws: InspectionError.self) { try question() }
                #expect(error?.kind == .notFound)
                #expect(error?.description == message)
            }
        }
    }

    @Test func anUnknownNameIsNotAnEmptyList() throws {
        var filter = ServiceFilter()
        filter.name = "wep"
        let error = #expect(throws: InspectionError.self) { try inspector.services(filter) }
        #expect(error?.description == "no Service wep is balanced here: did you mean web?")
        filter.namespace = "kube-system"
        filter.name = "web"
        #expect(throws: InspectionError.self) { try inspector.services(filter) }
    }

    @Test func aMapsLayoutOfAnotherVersion() throws {
        var record = try datapath.datapath.maps.nodeRecord()
        record.abi_version = 99
        try datapath.datapath.maps.store(record)
        let error = #expect(throws: InspectionError.self) { try datapath.inspector }
        #expect(error?.kind == .unavailable)
        #expect(error?.description.contains("layout version 99, this program's is \(NT_ABI_VERSION)") == true)
    }
}

@Suite struct FilterValueTests {
    @Test(arguments: [
        "192.0.2.1", "192.0.2.0/24", "192.0.2.1:80", "2001:db8::1", "2001:db8::/32", "[2001:db8::1]:80",
    ])
    func endpoints(_ text: String) throws { _ = try EndpointFilter(text) }

    @Test(arguments: ["", "web", "192.0.2", "192.0.2.1:", "192.0.2.1:70000", "192.0.2.0/33", "[192.0.2.1]:80", ":80"])
    func notEndpoints(_ text: String) {
        #expect(throws: FilterError.self) { try EndpointFilter(text) }
    }

    @Test(arguments: ["", "web", "shop/", "/web", "shop/web:", "shop/web/", "shop/web/sctp", "a/b/tcp/c", "shop/a:b:c"])
    func notServices(_ text: String) {
        #expect(throws: FilterError.self) { try ServiceSelector(text) }
    }

    @Test(arguments: ["shop/web", "shop/web:80", "shop/web:http", "shop/web/udp", "shop/web:http/TCP"])
    func services(_ text: String) throws {
        #expect("\(try ServiceSelector(text))".lowercased() == text.lowercased())
    }

    @Test func words() throws {
        #expect(try FrontendKindName("loadbalancer") == .loadBalancer)
        #expect(try BackendStateName("Gone") == .gone)
        #expect(try FlowEntry.State(filter: "CLOSING") == .closing)
        #expect(throws: FilterError.self) { try FrontendKindName("?") }
        #expect(throws: FilterError.self) { try BackendStateName("?") }
        #expect(throws: FilterError.self) { try FlowEntry.State(filter: "open") }
        #expect(throws: FilterError.self) { try TransportProtocol(filter: "sctp") }
    }
}
