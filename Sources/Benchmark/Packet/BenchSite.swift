internal import Maglev
internal import NetTypes
internal import Resolver
internal import ServiceModel

/// Whose traffic it is. Each has client ports of its own, so that no two flows have the same reply tuple.
enum ClientSide: Hashable, CaseIterable {
    case external
    case workload
}

/// The node of the packet suite as its packets see it: addresses of one family, and the Services behind them.
///
/// | what | IPv4 | IPv6 |
/// | --- | --- | --- |
/// | clients (16 bits) | 198.18.0.0 | 2001:db8:0:3:: |
/// | the node; its next hop; whoever sends ICMP errors | 203.0.113.1, .2, .3 | 2001:db8:0:1::1, ::2, ::3 |
/// | `web`, ClusterIP | 203.0.113.10:80 | 2001:db8:0:1::10 |
/// | `web`, NodePort | 203.0.113.1:30080 | 2001:db8:0:1::1 |
/// | its one backend, on the node | 192.0.2.10:8080 | 2001:db8:0:2::10 |
/// | `remote`, NodePort 30081; backends on another node | 192.0.2.64-127:8080 | 2001:db8:0:2::40-7f |
/// | `idle`, NodePort 30082, no endpoints | 203.0.113.11:80 | 2001:db8:0:1::11 |
/// | no Service at all | 192.0.2.200:80 | 2001:db8:0:2::200 |
/// | ClusterIPs of many Services | 198.19.0.0/18 | 2001:db8:0:5:: |
/// | load balancer IPs of many Services | 198.19.64.0/18 | 2001:db8:0:6:: |
/// | their endpoints | 198.19.128.0/17 | 2001:db8:0:7:: |
struct BenchSite {
    let family: IPFamily

    static let nodeName = "bench"
    private static let otherNodeName = "other"
    /// What client ports begin at.
    private static let firstPorts: [ClientSide: UInt16] = [.external: 1024, .workload: 1024 + (1 << 14)]
    static let remoteBackends = 64

    private func address(_ v4: UInt32, _ subnet: UInt128, _ host: UInt128) -> IPAddress {
        family == .v4 ? IPAddress(v4: v4) : IPAddress(v6: 0x2001_0DB8 << 96 | subnet << 64 | host)
    }

    var node: IPAddress { address(0xCB00_7101, 1, 1) }
    var nextHop: IPAddress { address(0xCB00_7102, 1, 2) }
    var router: IPAddress { address(0xCB00_7103, 1, 3) }
    private var webIP: IPAddress { address(0xCB00_710A, 1, 0x10) }
    private var idleIP: IPAddress { address(0xCB00_710B, 1, 0x11) }
    private var remoteIP: IPAddress { address(0xCB00_710C, 1, 0x12) }
    private var clientNetwork: IPAddress { address(0xC612_0000, 3, 0) }
    private func remoteBackend(_ index: Int) -> IPAddress {
        address(0xC000_0240 + UInt32(index), 2, 0x40 + UInt128(index))
    }

    /// Prefixes behind the next hop: clients and remote backends.
    var routed: [CIDR] {
        let hostBits = family.bitWidth
        return [
            CIDR(clientNetwork, length: hostBits - 16), CIDR(remoteBackend(0), length: hostBits - 6),
        ].compactMap { $0 }
    }

    /// All clients of a side: 16 bits of address, and ports from this one on.
    func clients(_ side: ClientSide, _ transport: TransportProtocol) -> TransportEndpoint {
        TransportEndpoint(clientNetwork, Self.firstPorts[side] ?? 0, transport)
    }

    /// Where clients find `web`.
    func web(_ side: ClientSide, _ transport: TransportProtocol) -> TransportEndpoint {
        side == .external ? TransportEndpoint(node, 30_080, transport) : TransportEndpoint(webIP, 80, transport)
    }

    /// The backend of `web`.
    func backend(_ transport: TransportProtocol) -> TransportEndpoint {
        TransportEndpoint(address(0xC000_020A, 2, 0x10), 8080, transport)
    }

    /// Where clients outside find `remote`.
    var remote: TransportEndpoint { TransportEndpoint(node, 30_081, .tcp) }

    /// Backends of `remote`: 16 bits of address of them.
    var remoteBackends: TransportEndpoint { TransportEndpoint(address(0xC000_0000, 2, 0), 8080, .tcp) }

    /// Where clients find nobody.
    func idle(_ side: ClientSide) -> TransportEndpoint {
        side == .external ? TransportEndpoint(node, 30_082, .tcp) : TransportEndpoint(idleIP, 80, .tcp)
    }

    /// A port of a ClusterIP that no Service has.
    var unknownPort: TransportEndpoint { TransportEndpoint(webIP, 81, .tcp) }

    /// Somebody no Service knows.
    var stranger: TransportEndpoint { TransportEndpoint(address(0xC000_02C8, 2, 0x200), 80, .tcp) }

    /// Frontends of many Services, the first of them: the others are at the next addresses.
    func many(_ side: ClientSide) -> TransportEndpoint {
        side == .external
            ? TransportEndpoint(address(0xC613_4000, 6, 0), 80, .tcp)
            : TransportEndpoint(address(0xC613_0000, 5, 0), 80, .tcp)
    }

    private func manyIP(_ side: ClientSide, _ index: Int) -> IPAddress {
        many(side).address.advanced(by: index)
    }

    var clusterIPs: [IPAddress] { [webIP, idleIP, remoteIP] }
}

// MARK: Services

extension BenchSite {
    private static let sites = IPFamily.allCases.map(BenchSite.init)

    /// What the maps should hold, by way of the resolver: the three Services, and `many` others with so many endpoints.
    static func desiredState(many: Int, endpoints: Int) -> DesiredState {
        let context = NodeContext(nodeName: nodeName, nodePortAddresses: sites.map(\.node))
        let resolver = Resolver()
        let few = [
            few("web", 30_080, \.webIP, on: nodeName) { [$0.backend(.tcp).address] },
            few("remote", 30_081, \.remoteIP, on: otherNodeName) { site in
                (0..<remoteBackends).map(site.remoteBackend)
            },
            few("idle", 30_082, \.idleIP, on: nodeName) { _ in [] },
        ]
        let all = few + (0..<many).map { manyService($0, endpoints: endpoints) }
        return resolver.merge(all.map { resolver.resolve($0.0, slices: $0.1, context: context) })
    }

    /// The ClusterIPs, for the node's record.
    static func clusterIPs(many: Int) -> [IPAddress] {
        sites.flatMap { site in
            site.clusterIPs + (many > 0 ? [site.manyIP(.workload, 0), site.manyIP(.workload, many - 1)] : [])
        }
    }

    /// TCP and UDP at port 80 and a NodePort.
    private static func few(
        _ name: String, _ nodePort: Int, _ clusterIP: KeyPath<BenchSite, IPAddress>, on node: String,
        _ endpoints: (BenchSite) -> [IPAddress]
    ) -> (Service, [EndpointSlice]) {
        let transports = [("tcp", "TCP"), ("udp", "UDP")]
        let service = service(
            name, type: .nodePort, clusterIPs: sites.map { $0[keyPath: clusterIP] },
            ports: transports.map { ServicePort(name: $0.0, protocolName: $0.1, port: 80, nodePort: nodePort) })
        let slices = sites.map { site in
            slice(
                name, site, endpoints(site), on: node,
                transports.map { EndpointPort(name: $0.0, protocolName: $0.1, port: 8080) })
        }
        return (service, slices)
    }

    /// One of many: TCP at port 80 of a ClusterIP and of a load balancer's address.
    private static func manyService(_ index: Int, endpoints: Int) -> (Service, [EndpointSlice]) {
        let name = "many-\(index)"
        var service = service(
            name, type: .loadBalancer, clusterIPs: sites.map { $0.manyIP(.workload, index) },
            ports: [ServicePort(port: 80)])
        service.loadBalancerIngress = sites.map { LoadBalancerIngress(ip: "\($0.manyIP(.external, index))") }
        // More endpoints than there are addresses have other ports.
        let first = index * endpoints
        let slices = sites.flatMap { site in
            let numbers = Dictionary(grouping: first..<first + endpoints) { $0 / mostAddresses }
            return numbers.sorted { $0.key < $1.key }.map { round, numbers in
                let base = site.address(0xC613_8000, 7, 0)
                return slice(
                    name, site, numbers.map { base.advanced(by: $0 % mostAddresses) }, on: nodeName,
                    [EndpointPort(port: 8080 + round)])
            }
        }
        return (service, slices)
    }

    /// Of the many Services' endpoints.
    private static let mostAddresses = 1 << 15

    private static func service(
        _ name: String, type: ServiceType, clusterIPs: [IPAddress], ports: [ServicePort]
    ) -> Service {
        Service(
            name: ObjectName(namespace: "bench", name: name), type: type, clusterIP: "\(clusterIPs[0])",
            clusterIPs: clusterIPs.map { "\($0)" }, ipFamilies: sites.map { "IPv\($0.family.rawValue)" }, ports: ports)
    }

    private static func slice(
        _ service: String, _ site: BenchSite, _ addresses: [IPAddress], on node: String, _ ports: [EndpointPort]
    ) -> EndpointSlice {
        EndpointSlice(
            name: ObjectName(
                namespace: "bench", name: "\(service)-\(site.family.rawValue)-\(ports[0].port ?? 0)"),
            serviceName: service, addressType: "IPv\(site.family.rawValue)",
            endpoints: addresses.map { Endpoint(addresses: ["\($0)"], nodeName: node) }, ports: ports)
    }

    /// Maglev slots that the sets of so many Services take, both families, with room to spare.
    static func slots(many: Int, endpoints: Int) -> Int {
        // Line by line: a table, and the members' ids after it.
        let each = MaglevSize.tableSize(forBackends: endpoints) + endpoints + 2 * 16
        return (1 << 16) + many * each * sites.count
    }
}

extension IPAddress {
    /// The address so many after this one.
    fileprivate func advanced(by distance: Int) -> IPAddress {
        family == .v4 ? IPAddress(v4: UInt32(bits) + UInt32(distance)) : IPAddress(v6: bits + UInt128(distance))
    }
}
