import NetTypes
import Resolver
import ServiceModel
import Testing

/// Frontends that several Services claim: section 2.6.
@Suite struct MergeTests {
    private func claimant(_ name: String, _ clusterIP: String, created: Int64?) -> Service {
        Service(
            name: ObjectName(namespace: "default", name: name), creationTimestamp: created, clusterIP: clusterIP,
            externalIPs: ["203.0.113.200"], ports: [ServicePort(port: 80)])
    }

    private func merge(_ services: [Service]) -> DesiredState {
        resolver.merge(services.map { resolver.resolve($0, slices: [], context: context) })
    }

    @Test(
        arguments: [
            (1, 2, "a"), (2, 1, "b"), (5, 5, "a"), (nil, 7, "b"), (7, nil, "a"), (nil, nil, "a"),
        ] as [(Int64?, Int64?, String)])
    func theOlderServiceWins(_ first: Int64?, _ second: Int64?, _ winner: String) throws {
        let services = [
            claimant("a", "203.0.113.1", created: first), claimant("b", "203.0.113.2", created: second),
        ]
        for order in [services, services.reversed()] {
            let state = merge(order)
            let shared = try #require(state.frontends[key("203.0.113.200", 80)])
            #expect(shared.servicePort.service.name == winner)
            #expect(state.frontends.count == 3)
            let conflict = try #require(state.conflicts.first)
            #expect(state.conflicts.count == 1)
            #expect(conflict.winner == shared.servicePort)
            #expect(conflict.loser.service.name == (winner == "a" ? "b" : "a"))
        }
    }

    @Test func exactAddressesWinOverNodePorts() throws {
        var nodePort = claimant("a", "203.0.113.1", created: 1)
        nodePort.externalIPs = []
        nodePort.ports[0].nodePort = 30080
        var exact = claimant("b", "203.0.113.2", created: 2)
        exact.externalIPs = ["192.0.2.10"]
        exact.ports[0].port = 30080
        for order in [[nodePort, exact], [exact, nodePort]] {
            let state = merge(order)
            #expect(state.frontends[key("192.0.2.10", 30080)]?.kind == .externalIP)
            #expect(state.conflicts.map(\.loserKind) == [.nodePort])
        }
    }

    @Test func withinAServiceToo() {
        var service = fullService()
        service.externalIPs = ["192.0.2.10", "203.0.113.3"]
        service.ports = [ServicePort(name: "a", port: 80, nodePort: 443), ServicePort(name: "b", port: 443)]
        let state = merge([service])
        #expect(state.frontends[key("192.0.2.10", 443)]?.servicePort.port == "b")
        #expect(state.conflicts.map(\.loser.port) == ["a"])
        // The same port at an address that is external and the load balancer's is one frontend, with its ranges.
        #expect(state.frontends[key("203.0.113.3", 80)]?.kind == .loadBalancer)
    }

    @Test func threeClaimsNameTheFinalWinner() {
        let services = [
            claimant("c", "203.0.113.3", created: 3), claimant("b", "203.0.113.2", created: 2),
            claimant("a", "203.0.113.1", created: 1),
        ]
        let conflicts = merge(services).conflicts
        #expect(conflicts.map(\.winner.service.name) == ["a", "a"])
        #expect(conflicts.map(\.loser.service.name) == ["b", "c"])
    }

    @Test func aCatalogAsAWhole() {
        var catalog = Catalog()
        _ = catalog.apply([
            .upsert(.service(plainService())), .upsert(.endpointSlice(slice(["1L"]))),
            .upsert(.service(claimant("other", "203.0.113.9", created: 1))),
        ])
        let state = resolver.resolve(catalog, context: context)
        #expect(state.services.count == 2)
        #expect(state.frontends[key("203.0.113.1", 80)]?.internal.short == "1")
        #expect(state.backends == [key("198.18.0.1", 8080)])
    }
}
