import NetTypes
import Resolver
import ServiceModel
import TestSupport
import Testing

@Suite struct ResolverPropertyTests {
    @Test(arguments: (1...300).map { UInt64($0) })
    func setsAreSound(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let service = randomService(&random)
        let slices = (0..<Int.random(in: 0...4, using: &random)).map { randomSlice($0, &random) }
        let resolved = resolver.resolve(service, slices: slices, context: context)
        for frontend in resolved.frontends {
            for answer in [frontend.external, frontend.internal] {
                check(answer, frontend, service, slices, resolved)
            }
        }
        var shuffled = slices.shuffled(using: &random)
        for index in shuffled.indices { shuffled[index].endpoints.shuffle(using: &random) }
        let again = resolver.resolve(service, slices: shuffled, context: context)
        #expect(again.frontends == resolved.frontends, "seed \(seed)")
        #expect(again.serving == resolved.serving, "seed \(seed)")
    }

    private func check(
        _ answer: ScopeAnswer, _ frontend: Frontend, _ service: Service, _ slices: [EndpointSlice],
        _ resolved: ResolvedService
    ) {
        let members = answer.backendSet.members
        #expect(members.isEmpty == (answer.refusal != nil))
        #expect(Set(members.map(\.endpoint)).count == members.count && members == members.sorted())
        // What the slices say of each member, over all its duplicates.
        var known: [TransportEndpoint: [Endpoint]] = [:]
        for slice in slices where (slice.addressType == "IPv6") == (frontend.key.address.family == .v6) {
            for port in slice.ports where port.name == frontend.servicePort.port {
                let number = UInt16(port.port ?? 0)
                for endpoint in slice.endpoints {
                    known[key(endpoint.addresses[0], number), default: []].append(endpoint)
                }
            }
        }
        for member in members {
            #expect(known[member.endpoint] != nil, "\(member) is not an endpoint of \(frontend.servicePort)")
            #expect(resolved.serving[frontend.servicePort]?.contains(member.endpoint) == true)
        }
        let canBeReady = members.filter { known[$0.endpoint, default: []].contains { $0.conditions.isReady } }
        let onlyTerminating = members.filter { known[$0.endpoint, default: []].allSatisfy { !$0.conditions.isReady } }
        #expect(canBeReady.isEmpty || onlyTerminating.isEmpty, "ready and terminating mixed")
    }

    private func randomService(_ random: inout SeededGenerator) -> Service {
        var service = fullService()
        service.internalTrafficPolicy = Bool.random(using: &random) ? .local : .cluster
        service.externalTrafficPolicy = Bool.random(using: &random) ? .local : .cluster
        if Bool.random(using: &random) {
            service.ipFamilies = ["IPv4", "IPv6"]
            service.clusterIPs.append("2001:db8:2::1")
        }
        service.ports = [ServicePort(name: "a", port: 80, nodePort: 30080), ServicePort(name: "b", port: 81)]
        return service
    }

    private func randomSlice(_ index: Int, _ random: inout SeededGenerator) -> EndpointSlice {
        let codes = (0..<Int.random(in: 0...5, using: &random)).map { _ in
            var code = "\(Int.random(in: 1...9, using: &random))"
            code += random.pick("L", "R")
            code += random.pick("", "", "n", "u", "t", "d", "p")
            code += random.pick("", "@a", "@b", "@a,b")
            return code + random.pick("", "#node-1", "#node-2")
        }
        let ports = ["a", "b"].filter { _ in Bool.random(using: &random) }
            .map { EndpointPort(name: $0, port: random.pick(8080, 9090)) }
        return slice(codes, name: "s\(index)", v6: Bool.random(using: &random), ports: ports)
    }
}
