import NetTypes
import Resolver
import ServiceModel
import Testing

/// Which Services are balanced, and at which addresses: sections 2.1, 2.6, 2.7.
@Suite struct FrontendTests {
    private func resolve(_ service: Service, _ resolver: Resolver = resolver) -> ResolvedService {
        resolver.resolve(service, slices: [slice(["1L", "2R"]), slice(["3R"], name: "6", v6: true)], context: context)
    }

    private func keys(_ service: Service) -> [String] { resolve(service).frontends.map(\.key.description) }

    @Test func everyKind() {
        #expect(
            keys(fullService()) == [
                "192.0.2.10:30080/TCP", "203.0.113.1:80/TCP", "203.0.113.2:80/TCP", "203.0.113.3:80/TCP",
            ])
    }

    @Test func skipped() {
        func note(_ change: (inout Service) -> Void) -> [ResolutionNote] {
            var service = fullService()
            change(&service)
            let resolved = resolve(service)
            #expect(resolved.frontends.isEmpty && resolved.servingBackends.isEmpty)
            return resolved.notes
        }
        #expect(note { $0.proxyName = "" } == [.skipped(.otherProxy(""))])
        #expect(note { $0.proxyName = "cilium" } == [.skipped(.otherProxy("cilium"))])
        #expect(note { $0.type = .externalName } == [.skipped(.externalName)])
        #expect(note { $0.clusterIP = "None" } == [.skipped(.headless)])
        #expect(note { $0.clusterIP = "" } == [.skipped(.noClusterIP)])
    }

    /// Both senses of `service.kubernetes.io/service-proxy-name`: without a name of its own a proxy serves what names
    /// none, whatever the value is; with one, what names it.
    @Test(
        arguments: [
            (nil, nil, nil), (nil, "", .otherProxy("")), (nil, "needletail", .otherProxy("needletail")),
            ("needletail", nil, .notForThisProxy), ("needletail", "needletail", nil),
            ("needletail", "", .otherProxy("")), ("needletail", "cilium", .otherProxy("cilium")),
            ("needletail", "Needletail", .otherProxy("Needletail")),
        ] as [(String?, String?, ResolutionNote.SkipReason?)])
    func proxyNames(_ own: String?, _ label: String?, _ reason: ResolutionNote.SkipReason?) {
        var service = fullService()
        service.proxyName = label
        let resolved = resolve(service, Resolver(options: .init(serviceProxyName: own)))
        #expect(resolved.frontends.isEmpty == (reason != nil))
        if let reason { #expect(resolved.notes == [.skipped(reason)]) }
    }

    /// `ShouldSkipService`, the selectors of kube-proxy's watches and what they leave: service semantics 2.1.
    @Test func whatIsProxied() {
        func frontends(_ change: (inout Service) -> Void) -> Int {
            var service = fullService()
            change(&service)
            return resolve(service).frontends.count
        }
        let all = frontends { _ in }
        #expect(all == 4)
        #expect(frontends { $0.clusterIP = "None" } == 0)
        #expect(
            frontends {
                $0.clusterIPs = ["None"]; $0.clusterIP = "None"
            } == 0)
        #expect(frontends { $0.type = .externalName } == 0)
        #expect(frontends { $0.type = .nodePort } == all)
        #expect(frontends { $0.ipFamilies = ["IPv6"] } == 0)
        // A headless Service's slices do not count for another Service; without others it has no endpoints.
        var headless = slice(["1L"])
        headless.isHeadless = true
        let resolved = resolver.resolve(fullService(), slices: [headless], context: context)
        #expect(resolved.frontends.count == all)
        #expect(resolved.frontends.allSatisfy { $0.external == .refused(.noEndpoints) })
    }

    @Test func families() {
        var service = fullService()
        service.clusterIPs = ["203.0.113.1", "2001:db8:2::1"]
        service.ipFamilies = ["IPv4", "IPv6"]
        service.externalIPs.append("2001:db8:2::2")
        let resolved = resolve(service)
        #expect(resolved.frontend("203.0.113.1", 80)?.internal.short == "1 2")
        for address in ["2001:db8:2::1", "2001:db8:2::2"] {
            #expect(resolved.frontend(address, 80)?.internal.short == "3")
        }
        #expect(resolved.frontend("2001:db8:1::10", 30080)?.internal.short == "3")
        #expect(resolved.servingBackends.count == 3)
    }

    @Test func withoutAClusterIPOfAFamilyTheServiceIsNotInIt() {
        var service = fullService()
        service.externalIPs.append("2001:db8:2::2")
        #expect(resolve(service).frontends.allSatisfy { $0.key.address.family == .v4 })
        #expect(resolve(service).servingBackends.count == 2)
    }

    @Test func familiesFromClusterIPWhenNoneAreGiven() {
        var service = plainService()
        service.ipFamilies = []
        service.clusterIPs = []
        #expect(keys(service) == ["203.0.113.1:80/TCP"])
        service.clusterIP = "2001:db8:2::1"
        #expect(keys(service) == ["[2001:db8:2::1]:80/TCP"])
    }

    /// As kube-proxy's `TestBadIPs`: whatever the field, leading zeros are decimal, and what comes out is canonical.
    @Test func legacyAddressesAreRead() throws {
        var service = fullService()
        service.clusterIP = "203.000.113.001"
        service.clusterIPs = ["203.000.113.001", "2001:00db8:0002::1"]
        service.ipFamilies = ["IPv4", "IPv6"]
        service.externalIPs = ["203.0.113.002"]
        service.loadBalancerIngress = [LoadBalancerIngress(ip: "203.0.113.03")]
        service.loadBalancerSourceRanges = ["198.018.000.000/015"]
        var endpoints = slice(["1R"])
        endpoints.endpoints[0].addresses = ["198.018.000.001"]
        let resolved = resolver.resolve(service, slices: [endpoints], context: context)
        #expect(resolved.problems == [])
        #expect(
            Set(resolved.frontends.map { "\($0.kind) \($0.key)" }) == [
                "clusterIP 203.0.113.1:80/TCP", "externalIP 203.0.113.2:80/TCP", "loadBalancer 203.0.113.3:80/TCP",
                "nodePort 192.0.2.10:30080/TCP", "clusterIP [2001:db8:2::1]:80/TCP",
                "nodePort [2001:db8:1::10]:30080/TCP",
            ])
        #expect(resolved.frontend(.loadBalancer)?.allowedSources?.map(\.description) == ["198.18.0.0/15"])
        #expect(resolved.frontend(.externalIP)?.internal.short == "1")
        #expect(resolved.servingBackends.map(\.description) == ["198.18.0.1:8080/TCP"])
        let same = try ["203.0.113.1", "203.000.113.001"].map { text in
            service.clusterIPs[0] = text
            return try #require(resolver.resolve(service, slices: [endpoints], context: context).frontends.first)
        }
        #expect(same[0] == same[1])
    }

    /// Names of Services are DNS labels since Kubernetes 1.36 (`RelaxedServiceNameValidation`), and no longer.
    @Test(arguments: [
        ("web", true), ("0", true), ("1st-service", true), ("2026", true), (String(repeating: "9", count: 63), true),
        (String(repeating: "a", count: 64), false),
    ])
    func names(_ name: String, _ isServed: Bool) {
        var service = plainService()
        service.name = ObjectName(namespace: "default", name: name)
        let resolved = resolve(service)
        #expect(!resolved.frontends.isEmpty == isServed)
        #expect(resolved.problems.map(\.path) == (isServed ? [] : ["metadata.name"]))
    }

    @Test(arguments: [false, true]) func externalIPsAreServedUnlessTheyAreNotAllowed(_ allowed: Bool) throws {
        var service = fullService()
        service.type = .clusterIP
        service.ports[0].nodePort = 0
        service.loadBalancerIngress = []
        service.externalTrafficPolicy = .local
        let resolved = resolve(service, Resolver(options: .init(servesExternalIPs: allowed)))
        #expect(resolved.frontends.map(\.kind).contains(.externalIP) == allowed)
        // Nothing else of the Service is any different.
        let clusterIP = try #require(resolved.frontend(.clusterIP))
        #expect(clusterIP.internal.short == "1 2" && clusterIP.external.short == "1 2")
        #expect(resolved.frontends.count == (allowed ? 2 : 1) && resolved.problems.isEmpty)
    }

    @Test func fieldsMakeFrontendsWhateverTheTypeSays() {
        var service = fullService()
        service.type = .clusterIP
        #expect(resolve(service).frontends.count == 4)
    }

    @Test func loadBalancersThatAreNotOurs() {
        var service = plainService()
        service.loadBalancerIngress = [
            LoadBalancerIngress(ip: "203.0.113.3", ipMode: "Proxy"), LoadBalancerIngress(hostname: "lb.example.com"),
            LoadBalancerIngress(ip: "203.0.113.4", ipMode: "VIP"), LoadBalancerIngress(ip: "203.0.113.5"),
        ]
        #expect(keys(service) == ["203.0.113.1:80/TCP", "203.0.113.4:80/TCP", "203.0.113.5:80/TCP"])
        #expect(resolve(service).notes.first?.description.contains("203.0.113.3") == true)
    }

    @Test func sctpIsReportedAndNotBalanced() {
        var service = plainService()
        service.ports.append(ServicePort(name: "s", protocolName: "SCTP", port: 9))
        #expect(keys(service) == ["203.0.113.1:80/TCP"])
        #expect(resolve(service).notes == [.notBalanced(ServicePortName(service: web, port: "s", transport: .sctp))])
    }

    @Test func invalidValuesAreReportedAndTheRestGoesOn() {
        var service = fullService()
        service.externalIPs = ["nonsense", "203.0.113.2", "0.0.0.0"]
        service.loadBalancerIngress.append(LoadBalancerIngress(ip: "1.2.3"))
        service.ports = [
            ServicePort(name: "a", port: 80, nodePort: 70_000), ServicePort(name: "b", port: 0),
            ServicePort(name: "c", port: 70_000), ServicePort(name: "d", protocolName: "QUIC", port: 443),
            ServicePort(name: "e", port: 80), ServicePort(name: "a", port: 81), ServicePort(name: "f", port: -1),
            ServicePort(name: "g", port: 82, nodePort: 30082), ServicePort(name: "h", port: 83, nodePort: 30082),
        ]
        let resolved = resolve(service)
        #expect(
            resolved.problems.map(\.path).sorted() == [
                "spec.externalIPs[0]", "spec.externalIPs[2]", "spec.ports[0].nodePort", "spec.ports[1].port",
                "spec.ports[2].port", "spec.ports[3].protocol", "spec.ports[4].port", "spec.ports[5].name",
                "spec.ports[6].port", "spec.ports[8].nodePort", "status.loadBalancer.ingress[1].ip",
            ])
        #expect(resolved.problemTexts.contains("spec.ports[2].port: 70000 is not a port: must be 1-65535"))
        let clusterPorts = resolved.frontends.filter { $0.kind == .clusterIP }.map(\.key.port)
        #expect(clusterPorts == [80, 82, 83])
        #expect(resolved.frontends.filter { $0.kind == .nodePort }.map(\.key.port) == [30082])
    }

    @Test func namesThatNoObjectCanHaveAreReported() {
        let long = String(repeating: "a", count: 64)
        var service = plainService()
        service.ports = [ServicePort(name: long, port: 80), ServicePort(name: "ok", port: 81)]
        #expect(resolve(service).frontends.map(\.key.port) == [81])
        #expect(resolve(service).problems.map(\.path) == ["spec.ports[0].name"])
        service.name = ObjectName(namespace: "default", name: long)
        #expect(resolve(service).frontends.isEmpty)
        #expect(resolve(service).problems.map(\.path) == ["metadata.name"])
    }

    @Test func familyAndAddressMustAgree() {
        var service = plainService()
        service.ipFamilies = ["IPv6", "IPX"]
        service.clusterIPs.append("203.0.113.9")
        let resolved = resolve(service)
        #expect(resolved.frontends.isEmpty && resolved.notes == [.skipped(.noClusterIP)])
        #expect(resolved.problems.map(\.path) == ["spec.clusterIPs[0]", "spec.ipFamilies[1]"])
    }

    @Test(
        arguments: [
            ([String](), nil), (["198.18.0.0/16"], ["198.18.0.0/16"]), ([" 198.18.0.0/16 "], ["198.18.0.0/16"]),
            (["198.18.0.0/16", "0.0.0.0/0"], nil), (["2001:db8::/32"], nil), (["198.18.0.0/33"], []),
            (["2001:db8::/320"], nil), (["192.0.2.0/24"], ["192.0.2.0/24", "203.0.113.3/32"]),
        ] as [([String], [String]?)])
    func sourceRanges(_ ranges: [String], _ expected: [String]?) throws {
        var service = fullService()
        service.loadBalancerSourceRanges = ranges
        let resolved = resolve(service)
        #expect(try #require(resolved.frontend(.loadBalancer)).allowedSources?.map(\.description) == expected)
        for kind in [FrontendKind.clusterIP, .externalIP, .nodePort] {
            #expect(try #require(resolved.frontend(kind)).allowedSources == nil)
        }
    }

    @Test func whatIsNotDoneIsReported() {
        var service = fullService()
        service.externalTrafficPolicy = .local
        service.healthCheckNodePort = 32000
        service.ports.append(ServicePort(name: "s", protocolName: "SCTP", port: 9))
        service.loadBalancerSourceRanges = ["198.18.0.0/16"]
        service.sessionAffinity = .clientIP(timeoutSeconds: 60)
        #expect(resolve(service).problems.map(\.path) == ["spec.ports"])
    }

    /// Which sources are rewritten: section 2.5, with the node's own traffic left to its sockets.
    @Test(
        arguments: [
            (.minimal, .cluster, ".. .. .. .."), (.minimal, .local, ".. .. .. .."),
            (.kubeProxy, .cluster, "E. EI EI EI"), (.kubeProxy, .local, "E. .. .. .."),
            (.all, .cluster, "EI EI EI EI"), (.all, .local, "EI .. .. .."),
        ] as [(MasqueradeMode, TrafficPolicy, String)], [TrafficPolicy.cluster, .local])
    func masquerade(_ row: (MasqueradeMode, TrafficPolicy, String), _ internalPolicy: TrafficPolicy) throws {
        var service = fullService()
        service.externalTrafficPolicy = row.1
        service.internalTrafficPolicy = internalPolicy
        let resolved = resolve(service, Resolver(options: .init(masquerade: row.0)))
        let flags = try [FrontendKind.clusterIP, .loadBalancer, .externalIP, .nodePort].map { kind in
            let masquerade = try #require(resolved.frontend(kind)).masquerade
            return (masquerade.external ? "E" : ".") + (masquerade.internal ? "I" : ".")
        }
        #expect(flags.joined(separator: " ") == row.2)
    }

    @Test(
        arguments: [
            (nil, Forwarding.snat, 0), (nil, .dsr, 2), ("snat", .dsr, 0), ("dsr", .snat, 2), ("DSR", .snat, 0),
            ("DSR", .dsr, 2), ("", .snat, 0),
        ] as [(String?, Forwarding, Int)])
    func forwarding(_ annotation: String?, _ standard: Forwarding, _ direct: Int) {
        var service = fullService()
        service.forwarding = annotation
        let resolved = resolve(service, Resolver(options: .init(forwarding: standard)))
        #expect(resolved.frontends.count { $0.forwarding == .dsr } == direct)
        #expect(resolved.frontend(.clusterIP)?.forwarding == .snat)
        let isGood = annotation.map { $0 == "snat" || $0 == "dsr" } ?? true
        #expect(
            resolved.problems.map(\.path) == (isGood ? [] : ["metadata.annotations[needletail.io/forwarding]"]))
    }

    @Test func nodePortsOnLoopbackAreForTheNodeAlone() throws {
        var service = fullService()
        service.clusterIPs = ["203.0.113.1", "2001:db8:2::1"]
        service.ipFamilies = ["IPv4", "IPv6"]
        let here = resolve(service, Resolver(options: .init(servesLocalhostNodePorts: true)))
        for (address, backends) in [("127.0.0.1", "1 2"), ("::1", "3")] {
            #expect(resolve(service).frontend(address, 30080) == nil)
            let frontend = try #require(here.frontend(address, 30080))
            #expect(frontend.internal.short == backends)
            #expect(frontend.external == .refused(.loopback))
        }
        #expect(here.frontends.count == resolve(service).frontends.count + 2)
    }

    @Test func healthCheckCountsLocalReadyAddresses() {
        var service = fullService()
        service.healthCheckNodePort = 32000
        #expect(resolve(service).healthCheck == nil)
        service.externalTrafficPolicy = .local
        service.ports.append(ServicePort(name: "b", port: 81))
        let ports = [EndpointPort(port: 8080), EndpointPort(name: "b", port: 8081)]
        let slices = [slice(["1L", "2L", "3Lt", "4R", "5Ln"], ports: ports)]
        let check = resolver.resolve(service, slices: slices, context: context).healthCheck
        #expect(check?.port == 32000)
        #expect(check?.localEndpoints == [.v4: 2])
        service.type = .nodePort
        #expect(resolve(service).healthCheck == nil)
    }

    @Test(arguments: [(60, 60, 0), (0, 10_800, 1), (86_401, 10_800, 1)])
    func affinity(_ seconds: Int, _ taken: Int, _ problems: Int) {
        var service = plainService()
        service.sessionAffinity = .clientIP(timeoutSeconds: seconds)
        let resolved = resolve(service)
        #expect(resolved.frontend(.clusterIP)?.affinity == .clientIP(timeoutSeconds: taken))
        #expect(resolved.problems.count == problems)
    }

    @Test func primaryAddressesOfANode() {
        let node = Node(
            name: here, internalIPs: ["bad", "192.0.2.10", "192.0.2.11"],
            externalIPs: ["203.0.113.10", "2001:db8::10"],
            zone: "a")
        let found = NodeContext(nodeName: here, node: node)
        #expect(found.nodePortAddresses.map(\.description) == ["192.0.2.10", "2001:db8::10"])
        #expect(found.nodeAddresses.count == 4 && found.zone == "a")
        #expect(NodeContext(nodeName: here, node: nil) == NodeContext(nodeName: here))
    }
}
