import Manifests
import ServiceModel
import Testing

@Suite struct ManifestParserTests {
    @Test func everyKind() throws {
        let text = [serviceYAML, sliceYAML, nodeYAML, serviceCIDRYAML].joined(separator: "---\n")
        let parsed = try parse(text)
        #expect(
            parsed.items.map(\.object) == [
                .service(sampleService), .endpointSlice(sampleSlice), .node(sampleNode),
                .serviceCIDR(sampleServiceCIDR),
            ])
        #expect(parsed.items.map(\.line) == [1, 35, 58, 74])
        #expect(parsed.notes.isEmpty)
    }

    @Test(arguments: ["\u{FEFF}" + sliceYAML, sliceYAML.replacing("\n", with: "\r\n"), sliceYAML + "...\n"])
    func textAsEditorsWriteIt(_ text: String) throws {
        #expect(try objects(text) == [.endpointSlice(sampleSlice)])
    }

    @Test func defaultsOfTheAPIServer() throws {
        let expected = Service(
            name: ObjectName(namespace: "default", name: "web"), clusterIP: "203.0.113.1",
            clusterIPs: ["203.0.113.1"], ipFamilies: ["IPv4"], ports: [ServicePort(port: 80)])
        #expect(try objects(smallService("web")) == [.service(expected)])
        let affinity = smallService("web") + "  sessionAffinity: ClientIP\n"
        guard case .service(let sticky) = try objects(affinity)[0] else { return #expect(Bool(false)) }
        #expect(sticky.sessionAffinity == .clientIP(timeoutSeconds: 10_800))
    }

    @Test func headless() throws {
        let text = smallService("web").replacing("203.0.113.1", with: "None")
        guard case .service(let service) = try objects(text)[0] else { return #expect(Bool(false)) }
        #expect(service.clusterIP == "None" && service.clusterIPs == ["None"] && service.ipFamilies == [])
    }

    @Test func json() throws {
        let text = #"""
            {"apiVersion":"v1","kind":"ServiceList","metadata":{"resourceVersion":"1"},"items":[
            	{"metadata":{"name":"web","namespace":"default","labels":null},"spec":{"clusterIP":"203.0.113.1",
            	"ports":[{"port":80,"protocol":"TCP","name":"a\/b\u0041"}],"sessionAffinity":"None"},"status":{}}]}
            """#
        guard case .service(let service) = try objects(text)[0] else { return #expect(Bool(false)) }
        #expect(service.ports == [ServicePort(name: "a/bA", port: 80)])
    }

    @Test func lists() throws {
        let item = smallService("web").split(separator: "\n").map { "  \($0)" }.joined(separator: "\n")
        let list = "apiVersion: v1\nkind: List\nitems:\n-\n\(item)\n- apiVersion: apps/v1\n  kind: Deployment\n"
        let parsed = try parse(list)
        #expect(parsed.items.count == 1)
        #expect(parsed.notes.map(\.path) == ["items[1]"])
        #expect(parsed.notes[0].message.contains("apps/v1 Deployment"))
        let typed = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSliceList\nitems:\n- metadata: {name: s}\n"
        #expect(try objects(typed + "  addressType: IPv6\n").count == 1)
        #expect(problem(typed)?.path == "items[0].addressType")
        #expect(try objects("apiVersion: v1\nkind: NodeList\nitems: []\n") == [])
    }

    @Test("A Node that is being deleted is told from one that is not")
    func deletion() throws {
        let node = { (metadata: String) throws -> Node in
            let text = "apiVersion: v1\nkind: Node\nmetadata: {name: n\(metadata)}\n"
            guard case .node(let node) = try #require(objects(text).first) else { throw CancellationError() }
            return node
        }
        #expect(try node(", deletionTimestamp: 2026-01-31T12:00:00Z").isBeingDeleted)
        #expect(try !node(", deletionTimestamp: null").isBeingDeleted)
        #expect(try !node("").isBeingDeleted)
    }

    @Test(
        "The time of the change that a slice follows is read as far as it is one",
        arguments: [
            ("2026-01-31T12:00:00Z", 1_769_860_800_000_000_000), ("2026-01-31T12:00:00.25Z", 1_769_860_800_250_000_000),
            ("2026-01-31T13:00:00.1234567891+01:00", 1_769_860_800_123_456_789), ("2026-01-31T12:00:00.Z", nil),
            ("9999-12-31T23:59:59Z", nil), ("yesterday", nil), ("", nil),
        ] as [(String, Int64?)])
    func lastChangeTriggerTime(_ text: String, _ expected: Int64?) throws {
        let slice = """
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata: {name: s, annotations: {endpoints.kubernetes.io/last-change-trigger-time: "\(text)"}}
            addressType: IPv4

            """
        guard case .endpointSlice(let read) = try #require(objects(slice).first) else { throw CancellationError() }
        #expect(read.lastChangeTriggerTime == expected)
    }

    @Test(arguments: ["", "\n", "---\n---\n", "# nothing\n", "~", "--- null\n...\n"])
    func nothing(_ text: String) throws {
        let parsed = try parse(text)
        #expect(parsed.items.isEmpty && parsed.notes.isEmpty)
    }

    @Test(arguments: ["v1 ConfigMap", "serving.knative.dev/v1 Service", "discovery.k8s.io/v1beta1 EndpointSlice"])
    func otherKindsAreNoted(_ type: String) throws {
        let parts = type.split(separator: " ")
        let parsed = try parse("---\napiVersion: \(parts[0])\nkind: \(parts[1])\n---\n" + smallService("web"))
        #expect(parsed.items.count == 1)
        #expect(parsed.notes.map(\.line) == [2])
    }

    @Test func aliasesWork() throws {
        let text = smallService("web").replacing("web", with: "&n web") + "  externalIPs: [&a 203.0.113.2, *a]\n"
        guard case .service(let service) = try objects(text)[0] else { return #expect(Bool(false)) }
        #expect(service.externalIPs == ["203.0.113.2", "203.0.113.2"])
    }

    @Test(
        arguments: [
            ("2026-01-31T12:00:00Z", 1_769_860_800), ("1970-01-01T00:00:00Z", 0), ("2000-02-29T23:59:59Z", 951_868_799),
            ("2024-03-01T00:00:00.123456Z", 1_709_251_200), ("2024-03-01T01:30:00+01:30", 1_709_251_200),
            ("2024-02-29T22:00:00-02:00", 1_709_251_200), ("1969-12-31T23:59:59Z", -1),
        ] as [(String, Int64)])
    func timestamps(_ text: String, _ seconds: Int64) throws {
        let manifest = smallService("web\n  creationTimestamp: \(text)")
        guard case .service(let service) = try objects(manifest)[0] else { return #expect(Bool(false)) }
        #expect(service.creationTimestamp == seconds)
    }

    /// What a cluster may have stored long ago can be written to a file and read from there: spellings are kept, the
    /// Resolver reads them.
    @Test(arguments: [
        ("1st", "203.000.113.001", ["203.000.113.001"], ["IPv4"]),
        ("web", "203.000.113.001", ["203.0.113.1", "2001:0db8::00001"], ["IPv4", "IPv6"]),
        ("0-a", "2001:00db8::1", ["2001:00db8::1"], ["IPv6"]),
    ])
    func legacySpellings(_ name: String, _ clusterIP: String, _ clusterIPs: [String], _ families: [String]) throws {
        let list = clusterIPs.map { "\"\($0)\"" }.joined(separator: ", ")
        let text = smallService(name).replacing(
            "203.0.113.1", with: "\"\(clusterIP)\"\n  clusterIPs: [\(list)]\n  loadBalancerSourceRanges: [1.2.3.0/024]")
        guard case .service(let service) = try objects(text)[0] else { return #expect(Bool(false)) }
        #expect(service.name.name == name)
        #expect(service.clusterIPs == clusterIPs && service.ipFamilies == families)
        #expect(service.loadBalancerSourceRanges == ["1.2.3.0/024"])
    }

    /// A field of ``smallService``, ``serviceYAML`` and so on with another value; the line, path and message expected.
    @Test(arguments: [
        ("port: 80", "port: 70000", 8, "spec.ports[0].port", "70000: must be 1-65535"),
        ("port: 80", "port: 0", 8, "spec.ports[0].port", "0: must be 1-65535"),
        ("port: 80", "port: -1", 8, "spec.ports[0].port", "-1: must be 1-65535"),
        ("port: 80", "port: \"80\"", 8, "spec.ports[0].port", "expected an integer, found the string \"80\""),
        ("port: 80", "port: 80.5", 8, "spec.ports[0].port", "80.5: expected a decimal integer"),
        ("port: 80", "port: 0x50", 8, "spec.ports[0].port", "0x50: expected a decimal integer"),
        ("port: 80", "port: 010", 8, "spec.ports[0].port", "010: expected a decimal integer"),
        ("port: 80", "port: 99999999999999999999", 8, "spec.ports[0].port", "99999999999999999999: out of range"),
        ("port: 80", "port: [80]", 8, "spec.ports[0].port", "expected an integer, found a list"),
        ("port: 80", "port:", 8, "spec.ports[0].port", "missing"),
        ("port: 80", "port: 80\n    nodePort: 65536", 9, "spec.ports[0].nodePort", "65536: must be 0-65535"),
        ("port: 80", "port: 80\n    protocol: QUIC", 9, "spec.ports[0].protocol", "\"QUIC\": must be TCP, UDP, SCTP"),
        ("port: 80", "port: 80\n    name: 443", 9, "spec.ports[0].name", "expected a string, found the number 443"),
        ("  - port: 80", "  - 80", 8, "spec.ports[0]", "expected an object, found the number 80"),
        ("  - port: 80", "    port: 80", 8, "spec.ports", "expected a list, found an object"),
        ("name: web", "name: no", 4, "metadata.name", "expected a string, found the boolean no (put it in quotes)"),
        ("name: web", "name: We_b", 4, "metadata.name", "must be 1-253 lower-case"),
        ("name: web", "namespace: x", 4, "metadata.name", "missing"),
        ("203.0.113.1", "203.0.113.300", 6, "spec.clusterIP", "\"203.0.113.300\": must be an IP address"),
        (
            "203.0.113.1", "203.0.113.1\n  clusterIPs: [203.0.113.9]", 7, "spec.clusterIPs",
            "the first must be clusterIP"
        ),
        ("ports:", "ipFamilies: [IPv5]\n  ports:", 7, "spec.ipFamilies[0]", "\"IPv5\": must be IPv4, IPv6"),
        ("ports:", "type: Cluster\n  ports:", 7, "spec.type", "\"Cluster\": must be ClusterIP, NodePort"),
        ("ports:", "externalTrafficPolicy: local\n  ports:", 7, "spec.externalTrafficPolicy", "must be Cluster, Local"),
        ("ports:", "loadBalancerSourceRanges: [1.2.3.4]\n  ports:", 7, "spec.loadBalancerSourceRanges[0]", "prefix"),
        ("ports:", "<<: {a: b}\n  ports:", 7, "spec.<<", "merge keys"),
        ("ports:", "clusterIP: 203.0.113.1\n  ports:", 6, "", "clusterIP is there more than once"),
        ("spec:", "spec:\n\tx: 1", 6, "", "not YAML"),
        ("spec:", "spec: [", 6, "", "not YAML"),
        ("kind: Service", "kind:", 1, "kind", "missing"),
        ("kind: Service", "kind: Service\nkind: Service", 2, "", "more than once"),
        ("apiVersion: v1", "apiVersion: 1", 1, "apiVersion", "expected a string, found the number 1"),
        ("apiVersion: v1", "- v1\n---\napiVersion: v1", 1, "", "expected an object, found a list"),
        ("name: web", "name: web\n  creationTimestamp: 2026-13-01T00:00:00Z", 5, "metadata.creationTimestamp", "time"),
    ])
    func brokenServices(_ old: String, _ new: String, _ line: Int, _ path: String, _ message: String) throws {
        let found = try #require(problem(smallService("web").replacing(old, with: new)))
        #expect(found.line.map { abs($0 - line) <= (path.isEmpty || message == "missing" ? 1 : 0) } == true, "\(found)")
        #expect(found.path == path)
        #expect(found.message.contains(message), "\(found)")
        #expect(found.description.hasPrefix("test.yaml:"))
    }

    @Test(arguments: [
        ("addressType: IPv4", "addressType: IPv6", 10, "endpoints[0].addresses[0]", "must be an IPv6 address"),
        ("addressType: IPv4", "addressType: v4", 8, "addressType", "must be IPv4, IPv6, FQDN"),
        ("[198.18.0.1]", "[]", 10, "endpoints[0].addresses", "empty: must have an address"),
        ("ready: true", "ready: 1", 11, "endpoints[0].conditions.ready", "expected true or false, found the number 1"),
        ("serving: true", "serving: \"true\"", 11, "endpoints[0].conditions.serving", "expected true or false"),
        ("port: 8080", "port: http", 19, "ports[0].port", "expected an integer, found the string \"http\""),
        ("forZones: [{name: a}]", "forZones: [a]", 15, "endpoints[0].hints.forZones[0]", "expected an object"),
    ])
    func brokenSlices(_ old: String, _ new: String, _ line: Int, _ path: String, _ message: String) throws {
        let found = try #require(problem(sliceYAML.replacing(old, with: new)))
        #expect(found.line == line && found.path == path, "\(found)")
        #expect(found.message.contains(message), "\(found)")
    }

    @Test(arguments: [
        ("cidrs: [203.0.113.0/24, \"2001:db8::/112\"]", "cidrs: [203.0.113.0]", "spec.cidrs[0]", "prefix"),
        ("spec:\n", "status:\n", "spec", "missing"),
    ])
    func brokenServiceCIDRs(_ old: String, _ new: String, _ path: String, _ message: String) throws {
        let found = try #require(problem(serviceCIDRYAML.replacing(old, with: new)))
        #expect(found.path == path && found.message.contains(message), "\(found)")
    }

    @Test func notText() throws {
        let bytes = Array("apiVersion: v1\nkind: \u{E9}\n".utf8) + [0xFF, 0x0A]
        let found = #expect(throws: ManifestProblem.self) { try ManifestParser().parse(bytes, file: "f") }
        #expect(found?.line == 3 && found?.message == "not UTF-8 text")
        #expect(problem("kind: a\u{0}b\n")?.message.contains("control characters") == true)
    }
}
