import APIStandIn
import Foundation
import KubernetesAPI
import ServiceModel
import TestSupport
import Testing

/// How the client and the server speak to each other.
struct Wire: Sendable, CustomTestStringConvertible {
    let form: ContentType
    let version: APIStandIn.HTTPVersion
    /// Whether the server streams lists; if not, the client lists and watches.
    var streamsLists = true

    var testDescription: String { "\(form) \(version.rawValue)\(streamsLists ? "" : ", list and watch")" }

    /// All ways to begin with.
    static let all = ContentType.allCases.flatMap { form in
        APIStandIn.HTTPVersion.allCases.flatMap { version in
            [true, false].map { Wire(form: form, version: version, streamsLists: $0) }
        }
    }

    /// Each format and each version of HTTP once, with lists of both kinds; all pairs of them, which takes twice as long,
    /// with `NEEDLETAIL_FAULTS=all` in the environment.
    static let usual = all.filter { wire in
        let isUsual = (wire.form == .protobuf) == (wire.version == .http2)
        return isUsual || ProcessInfo.processInfo.environment["NEEDLETAIL_FAULTS"] == "all"
    }

    /// Where how lists are made does not matter.
    static let streaming = usual.filter(\.streamsLists)
}

/// A cluster's API with objects that change, and the truth about them.
final class World: Sendable {
    let server: APIStandIn
    let truth: Truth

    static let nodeName = "node"

    init(_ wire: Wire, services: Int = 8, _ change: (inout APIStandIn.Settings) -> Void = { _ in }) throws {
        var settings = APIStandIn.Settings()
        settings.protocols = [wire.version]
        settings.supportsWatchLists = wire.streamsLists
        settings.bookmarkInterval = 200
        change(&settings)
        let objects = World.initial(services)
        truth = Truth(Dictionary(uniqueKeysWithValues: objects.map { ($0.id, World.seen($0)) }))
        server = try APIStandIn(settings, objects: objects.map { StoredObject($0) }, resourceVersion: 1_000)
    }

    // MARK: Objects

    /// What a proxy is told of an object: nothing of Services that are for another one.
    private static func seen(_ object: CatalogObject) -> CatalogObject? {
        switch object {
        case .service(let service) where service.proxyName != nil || service.clusterIP == "None": nil
        case .endpointSlice(let slice) where slice.isHeadless: nil
        case .node(let node) where node.name != nodeName: nil
        default: StoredObject(object).value
        }
    }

    private static func initial(_ count: Int) -> [CatalogObject] {
        (0..<count).flatMap { [service($0, state: 0), slice($0, state: 0)] } + [
            .node(node(zone: "zone-a")), .node(Node(name: "another")),
            .serviceCIDR(ServiceCIDR(name: "kubernetes", cidrs: ["203.0.113.0/24", "2001:db8:113::/112"])),
            service(900, state: 0, proxyName: "other"),
        ]
    }

    static func name(_ number: Int) -> ObjectName { ObjectName(namespace: "shop", name: "service-\(number)") }

    static func sliceName(_ number: Int) -> ObjectName { ObjectName(namespace: "shop", name: "service-\(number)-x") }

    static func node(zone: String) -> Node {
        Node(name: nodeName, internalIPs: ["192.0.2.1", "2001:db8::1"], zone: zone, podCIDRs: ["198.18.1.0/24"])
    }

    /// A Service whose states all differ.
    static func service(_ number: Int, state: Int, proxyName: String? = nil) -> CatalogObject {
        let address = "203.0.113.\(1 + number % 200)"
        return .service(
            ServiceModel.Service(
                name: name(number), proxyName: proxyName, type: number % 2 == 0 ? .clusterIP : .loadBalancer,
                clusterIP: address, clusterIPs: [address], ipFamilies: ["IPv4"],
                ports: [
                    ServicePort(name: "http", port: 80, nodePort: number % 2 == 0 ? 0 : 30_000 + number % 1000),
                    ServicePort(name: "dns", protocolName: "UDP", port: 53),
                ],
                externalTrafficPolicy: state % 2 == 1 && number % 2 == 1 ? .local : .cluster,
                sessionAffinity: state % 3 == 1 ? .clientIP(timeoutSeconds: 60) : .none,
                loadBalancerIngress: number % 2 == 0 ? [] : [LoadBalancerIngress(ip: "192.0.2.\(number % 200)")],
                forwarding: "state \(state) \"<&>\" ü"))
    }

    /// A slice of the Service of that number, whose states all differ.
    static func slice(_ number: Int, state: Int, endpoints: Int = 4) -> CatalogObject {
        .endpointSlice(
            EndpointSlice(
                name: sliceName(number), serviceName: name(number).name, addressType: "IPv4",
                endpoints: (0..<endpoints).map { index in
                    Endpoint(
                        addresses: ["198.18.\(index / 250).\(1 + index % 250)"],
                        conditions: EndpointConditions(
                            ready: (state + index) % 3 != 0, serving: true, terminating: (state + index) % 3 == 0),
                        nodeName: index % 2 == 0 ? nodeName : "another", zone: "state-\(state)",
                        forZones: index % 2 == 0 ? ["zone-a"] : [])
                },
                ports: [
                    EndpointPort(name: "http", port: 8080), EndpointPort(name: "dns", protocolName: "UDP", port: 53),
                ]
            ))
    }

    // MARK: Changes

    func put(_ object: CatalogObject) throws {
        truth.note(object.id, Self.seen(object))
        try server.put(object)
    }

    func delete(_ id: ObjectID) throws {
        truth.note(id, nil)
        try server.delete(id)
    }

    /// Changes, additions and deletions, in an order by the numbers. Services below 4 stay all the time; `round` makes
    /// states that have not been.
    func change(_ count: Int, round: Int, _ random: inout SeededGenerator) throws {
        for step in 0..<count {
            let state = round * 1_000 + step + 1
            let number = random.below(12)
            let slice = ObjectID(kind: .endpointSlice, name: Self.sliceName(number))
            let service = ObjectID(kind: .service, name: Self.name(number))
            switch random.below(8) {
            case 0, 1: try put(Self.service(number, state: state))
            case 2 where number >= 4: try delete(service)
            case 3 where number >= 4: try delete(slice)
            case 4 where number >= 4: try put(Self.service(number, state: state, proxyName: "other"))
            case 5: try put(.node(Self.node(zone: "zone-\(state)")))
            default: try put(Self.slice(number, state: state))
            }
        }
    }

    /// Brings the server back with an older etcd: lower versions, some objects gone, some as they are, some others.
    func restore(resourceVersion: UInt64) throws {
        let kept = truth.now.filter { object in
            switch object {
            case .service(let service): service.name < Self.name(6)
            case .endpointSlice(let slice): slice.name < Self.sliceName(6)
            default: true
            }
        }
        let older = [Self.service(1, state: 999_999), Self.slice(2, state: 999_998)]
        let objects = kept.filter { object in !older.contains { $0.id == object.id } } + older
        try server.stop()
        for object in truth.now { truth.note(object.id, nil) }
        for object in objects { truth.note(object.id, Self.seen(object)) }
        try server.restart(objects: objects.map { StoredObject($0) }, resourceVersion: resourceVersion)
    }
}
