import NetTypes
import ServiceModel
import Testing

@Suite struct CatalogTests {
    private let web = ObjectName(namespace: "default", name: "web")
    private let api = ObjectName(namespace: "default", name: "api")

    private func slice(_ name: String, of service: String?, _ addresses: String...) -> EndpointSlice {
        EndpointSlice(
            name: ObjectName(namespace: "default", name: name), serviceName: service, addressType: "IPv4",
            endpoints: addresses.map { Endpoint(addresses: [$0]) }, ports: [EndpointPort(port: 80)])
    }

    private func upsert(_ slice: EndpointSlice) -> CatalogEvent { .upsert(.endpointSlice(slice)) }

    @Test func onlyWhatDiffersIsAChange() {
        var catalog = Catalog()
        let service = Service(name: web, clusterIP: "192.0.2.1")
        #expect(catalog.apply([.upsert(.service(service))]).services == [web])
        #expect(catalog.apply([.upsert(.service(service))]).isEmpty)
        #expect(catalog.apply([.delete(.service, api)]).isEmpty)
        #expect(catalog.apply([.delete(.service, web)]).services == [web])
        #expect(catalog.services.isEmpty)
    }

    @Test func endpointsMoveBetweenSlices() {
        var catalog = Catalog()
        _ = catalog.apply([upsert(slice("web-1", of: "web", "198.18.0.1")), upsert(slice("web-2", of: "web"))])
        let moved = catalog.apply([
            upsert(slice("web-1", of: "web")), upsert(slice("web-2", of: "web", "198.18.0.1")),
        ])
        #expect(moved.services == [web])
        #expect(catalog.slices(of: web).flatMap(\.endpoints) == [Endpoint(addresses: ["198.18.0.1"])])
    }

    @Test func aSliceThatChangesItsServiceAffectsBoth() {
        var catalog = Catalog()
        _ = catalog.apply([upsert(slice("s", of: "web", "198.18.0.1"))])
        #expect(catalog.apply([upsert(slice("s", of: "api", "198.18.0.1"))]).services == [web, api])
        #expect(catalog.slices(of: web).isEmpty)
        #expect(catalog.slices(of: api).count == 1)
        #expect(catalog.apply([upsert(slice("s", of: nil))]).services == [api])
        #expect(catalog.slices(of: api).isEmpty && catalog.slices.count == 1)
        #expect(catalog.apply([upsert(slice("s", of: ""))]).services.isEmpty)
    }

    @Test func slicesAreReturnedByNameWhateverTheOrder() {
        var catalog = Catalog()
        _ = catalog.apply(["c", "a", "b"].map { upsert(slice($0, of: "web")) })
        #expect(catalog.slices(of: web).map(\.name.name) == ["a", "b", "c"])
        #expect(catalog.apply([.delete(.endpointSlice, ObjectName(namespace: "default", name: "b"))]).services == [web])
        #expect(catalog.slices(of: web).map(\.name.name) == ["a", "c"])
    }

    @Test func slicesOfAnotherNamespaceAreNotOurs() {
        var catalog = Catalog()
        var other = slice("s", of: "web")
        other.name = ObjectName(namespace: "other", name: "s")
        #expect(catalog.apply([upsert(other)]).services == [ObjectName(namespace: "other", name: "web")])
        #expect(catalog.slices(of: web).isEmpty)
    }

    @Test func nodesAndSync() {
        var catalog = Catalog()
        let node = Node(name: "n1", zone: "a")
        let changes = catalog.apply([.upsert(.node(node)), .synced])
        #expect(changes.nodes == ["n1"] && changes.becameSynced && catalog.isSynced)
        #expect(catalog.apply([.upsert(.node(node))]).isEmpty)
        #expect(catalog.apply([.delete(.node, ObjectName(namespace: "", name: "n1"))]).nodes == ["n1"])
        #expect(catalog.isSynced)
    }

    @Test(arguments: [
        (EndpointConditions(), true, true, false),
        (EndpointConditions(ready: false), false, true, false),
        (EndpointConditions(ready: false, serving: false, terminating: true), false, false, true),
        (EndpointConditions(ready: true, serving: false), true, false, false),
    ])
    func absentConditions(_ conditions: EndpointConditions, _ ready: Bool, _ serving: Bool, _ terminating: Bool) {
        #expect(conditions.isReady == ready)
        #expect(conditions.isServing == serving)
        #expect(conditions.isTerminating == terminating)
    }

    @Test func rangesOfClusterIPsOfAllServiceCIDRs() {
        var catalog = Catalog()
        let first = ServiceCIDR(name: "kubernetes", cidrs: ["203.0.113.0/24", "2001:db8::/112"])
        let second = ServiceCIDR(name: "more", cidrs: ["192.0.2.0/24", "203.0.113.0/24"])
        #expect(catalog.apply([.upsert(.serviceCIDR(first))]).serviceCIDRs == ["kubernetes"])
        #expect(catalog.apply([.upsert(.serviceCIDR(first))]).isEmpty)
        _ = catalog.apply([.upsert(.serviceCIDR(second))])
        #expect(catalog.clusterIPRanges.map(\.description) == ["192.0.2.0/24", "203.0.113.0/24", "2001:db8::/112"])
        let name = ObjectName(namespace: "", name: "kubernetes")
        #expect(!catalog.apply([.delete(.serviceCIDR, name)]).isEmpty)
        #expect(catalog.clusterIPRanges.map(\.description) == ["192.0.2.0/24", "203.0.113.0/24"])
    }
}
