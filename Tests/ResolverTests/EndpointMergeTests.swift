import NetTypes
import Resolver
import ServiceModel
import Testing

/// Slices and duplicates: section 2.2.
@Suite struct EndpointMergeTests {
    private func clusterSet(_ slices: [EndpointSlice], _ service: Service = plainService()) -> String? {
        resolver.resolve(service, slices: slices, context: context).frontend(.clusterIP)?.internal.short
    }

    @Test func slicesAreMergedInAnyOrder() {
        let slices = [slice(["3R", "1R"], name: "b"), slice(["2R"], name: "a"), slice(["1R"], name: "c")]
        #expect(clusterSet(slices) == "1 2 3")
        #expect(clusterSet(slices.reversed()) == "1 2 3")
    }

    @Test(arguments: [
        ("1Rt", "1R", "1"), ("1Rd", "1R", "1"), ("1Rt", "1Rn", "noEndpoints"), ("1Rn", "1R", "1"), ("1Rt", "1Rd", "1"),
    ])
    func aRunningPodWinsOverAGhost(_ one: String, _ other: String, _ expected: String) {
        #expect(clusterSet([slice([one], name: "a"), slice([other], name: "b")]) == expected)
        #expect(clusterSet([slice([other], name: "a"), slice([one], name: "b")]) == expected)
        #expect(clusterSet([slice([one, other])]) == expected)
        #expect(clusterSet([slice([other, one])]) == expected)
    }

    @Test func oneAddressWithTwoPortsIsTwoEndpoints() throws {
        let slices = [
            slice(["1R"], name: "a", ports: [EndpointPort(name: "http", port: 8080)]),
            slice(["1R", "2R"], name: "b", ports: [EndpointPort(name: "http", port: 9090)]),
        ]
        var service = plainService()
        service.ports = [ServicePort(name: "http", port: 80)]
        let resolved = resolver.resolve(service, slices: slices, context: context)
        let members = try #require(resolved.frontend(.clusterIP)).internal.backendSet.members.map(\.endpoint)
        #expect(members == [key("198.18.0.1", 8080), key("198.18.0.1", 9090), key("198.18.0.2", 9090)])
    }

    @Test func portsJoinByNameAndProtocolOnly() {
        var service = plainService()
        service.ports = [
            ServicePort(name: "dns", protocolName: "UDP", port: 53), ServicePort(name: "dns-tcp", port: 53),
            ServicePort(name: "metrics", port: 8080),
        ]
        let slices = [
            slice(["1R"], name: "a", ports: [EndpointPort(name: "dns", protocolName: "UDP", port: 5353)]),
            slice(
                ["2R"], name: "b",
                ports: [EndpointPort(name: "dns-tcp", port: 5353), EndpointPort(name: "x", port: 80)]),
            slice(["3R"], name: "c", ports: [EndpointPort(name: "metrics", protocolName: "UDP", port: 8080)]),
        ]
        let resolved = resolver.resolve(service, slices: slices, context: context)
        #expect(resolved.frontend("203.0.113.1", 53, .udp)?.internal.short == "1")
        #expect(resolved.frontend("203.0.113.1", 53, .tcp)?.internal.short == "2")
        #expect(resolved.frontend("203.0.113.1", 8080)?.internal.short == "noEndpoints")
    }

    @Test func slicesThatAreNotForUs() {
        var headless = slice(["1R"])
        headless.isHeadless = true
        var other = slice(["1R"])
        other.name = ObjectName(namespace: "other", name: "web-1")
        var names = slice(["1R"])
        names.addressType = "FQDN"
        names.endpoints[0].addresses = ["web.example.com"]
        var unlabelled = slice(["1R"])
        unlabelled.serviceName = ""
        for unused in [headless, other, names, unlabelled] {
            #expect(clusterSet([unused]) == "noEndpoints")
            let resolved = resolver.resolve(plainService(), slices: [unused], context: context)
            #expect(resolved.problems.isEmpty && resolved.servingBackends.isEmpty)
        }
    }

    @Test func onlyTheFirstAddressCounts() {
        var several = slice(["1R"])
        several.endpoints[0].addresses.append("198.18.0.9")
        #expect(clusterSet([several]) == "1")
    }

    @Test func portsWithoutNameOrNumberAreSkipped() {
        let ports = [EndpointPort(name: nil, port: 80), EndpointPort(port: nil), EndpointPort(port: 0)]
        let resolved = resolver.resolve(plainService(), slices: [slice(["1R"], ports: ports)], context: context)
        #expect(resolved.frontend(.clusterIP)?.internal.short == "noEndpoints")
        #expect(resolved.problems.isEmpty)
    }

    @Test func servingBackendsAreAllThatAnswer() {
        let states = ["1L", "2Rn", "3Ru", "4Rt", "5Rd", "6Rp"]
        var service = plainService()
        service.internalTrafficPolicy = .local
        let resolved = resolver.resolve(service, slices: [slice(states)], context: context)
        let port = ServicePortName(service: web, port: "", transport: .tcp)
        #expect(resolved.serving == [port: Set([1, 2, 4, 6].map { key("198.18.0.\($0)", 8080) })])
    }

    @Test func whatIsWrongInASliceDoesNotHarmTheRest() {
        var broken = slice(["1R", "2R", "3R", "4R", "5R"])
        broken.endpoints[0].addresses = ["300.1.2.3"]
        broken.endpoints[1].addresses = []
        broken.endpoints[2].addresses = ["2001:db8::1"]
        broken.endpoints[3].addresses = ["127.0.0.1"]
        broken.ports += [EndpointPort(name: "a", port: 70_000), EndpointPort(name: "b", protocolName: "QUIC", port: 1)]
        let resolved = resolver.resolve(plainService(), slices: [broken], context: context)
        #expect(resolved.frontend(.clusterIP)?.internal.short == "5")
        #expect(
            resolved.problems.map(\.path) == [
                "endpoints[0].addresses[0]", "endpoints[1].addresses", "endpoints[2].addresses[0]",
                "endpoints[3].addresses[0]", "ports[1].port", "ports[2].protocol",
            ])
        #expect(resolved.problems.allSatisfy { $0.object.description == "EndpointSlice default/web-1" })
    }
}
