internal import NetTypes
internal import Resolver
internal import ServiceModel

/// The Services that are in place while something is measured: dual-stack, TCP, each with endpoints of its own. The last
/// is the one that is measured; it has a NodePort too. All others are there to be passed over.
///
/// | | IPv4 | IPv6 |
/// | --- | --- | --- |
/// | ClusterIP of Service i | 198.18.16.0 + i | 2001:db8:113:: + i |
/// | endpoints of the measured Service | 198.18.8.(1+j) | 2001:db8:255::(1+j) |
/// | those of others | from 198.18.64.0, then other ports | 2001:db8:64:: + number |
struct BenchServices: Sendable, Hashable {
    /// Where the endpoints of the measured Service are.
    enum Placement: String, Sendable, Hashable, CaseIterable {
        /// Pods of the node. `externalTrafficPolicy` is `Local`, so that nobody masquerades.
        case local
        /// Behind another device of the node, as pods of another node are: what comes by the NodePort is masqueraded.
        case remote
    }

    /// How many Services.
    let count: Int
    /// Endpoints of each.
    let backends: Int
    /// Where those of the measured Service are.
    let placement: Placement

    /// The name of the node under test.
    static let nodeName = "node"
    /// The port of every ClusterIP.
    static let port: UInt16 = 80
    /// The port of the measured Service's endpoints.
    static let backendPort: UInt16 = 8080
    /// The NodePort of the measured Service.
    static let nodePort: UInt16 = 30_080

    /// - Throws: ``BenchmarkError/unusableSetting(_:)`` when there are not so many addresses.
    init(count: Int, backends: Int, placement: Placement = .local) throws(BenchmarkError) {
        guard (1...10_000).contains(count), (1...250).contains(backends) else {
            throw .unusableSetting(
                "\(count) services of \(backends) backends: must be 1 to 10000 services of 1 to 250 backends")
        }
        self.count = count
        self.backends = backends
        self.placement = placement
    }

    /// The number of the measured Service.
    var measured: Int { count - 1 }

    /// What clients of a Service address.
    func clusterIP(_ index: Int, _ family: IPFamily) -> TransportEndpoint {
        let address =
            family == .v4
            ? IPAddress(v4: 0xC612_1000 + UInt32(index)) : IPAddress(v6: 0x2001_0DB8_0113 << 80 | UInt128(index))
        return TransportEndpoint(address, Self.port, .tcp)
    }

    /// The measured Service's ClusterIP.
    func clusterIP(_ family: IPFamily) -> TransportEndpoint { clusterIP(measured, family) }

    /// The measured Service's NodePort, at the node's address towards clients.
    func nodePort(_ family: IPFamily) -> TransportEndpoint {
        TransportEndpoint(Self.nodeAddress(family), Self.nodePort, .tcp)
    }

    /// The endpoints of a Service.
    func endpoints(_ index: Int, _ family: IPFamily) -> [TransportEndpoint] {
        (0..<backends).map { index == measured ? Self.backend($0, family) : other(index * backends + $0, family) }
    }

    /// The endpoints of the measured Service.
    func endpoints(_ family: IPFamily) -> [TransportEndpoint] { endpoints(measured, family) }

    /// The node's address towards clients, where NodePorts are served.
    static func nodeAddress(_ family: IPFamily) -> IPAddress {
        family == .v4 ? IPAddress(v4: 0xC000_0201) : IPAddress(v6: 0x2001_0DB8_0002 << 80 | 1)
    }

    /// What all endpoints of the measured Service are in.
    static func backendPrefix(_ family: IPFamily) -> CIDR? {
        CIDR(backend(-1, family).address, length: family == .v4 ? 24 : 64)
    }

    private static func backend(_ number: Int, _ family: IPFamily) -> TransportEndpoint {
        let address =
            family == .v4
            ? IPAddress(v4: 0xC612_0800 + UInt32(number + 1))
            : IPAddress(v6: 0x2001_0DB8_0255 << 80 | UInt128(number + 1))
        return TransportEndpoint(address, backendPort, .tcp)
    }

    private func other(_ number: Int, _ family: IPFamily) -> TransportEndpoint {
        guard family == .v4 else {
            return TransportEndpoint(IPAddress(v6: 0x2001_0DB8_0064 << 80 | UInt128(number)), Self.backendPort, .tcp)
        }
        // 198.18.64.0 to 198.18.239.255.
        let addresses = 0xB000
        return TransportEndpoint(
            IPAddress(v4: 0xC612_4000 + UInt32(number % addresses)),
            Self.backendPort + UInt16(number / addresses), .tcp)
    }
}

extension BenchServices {
    /// What the maps should hold, by way of the resolver.
    var desiredState: DesiredState {
        let context = NodeContext(
            nodeName: Self.nodeName, nodePortAddresses: IPFamily.allCases.map(Self.nodeAddress))
        let resolver = Resolver()
        return resolver.merge(
            (0..<count).map { resolver.resolve(service($0), slices: slices($0), context: context) })
    }

    private func name(_ index: Int) -> ObjectName { ObjectName(namespace: "bench", name: "service-\(index)") }

    private func service(_ index: Int) -> Service {
        let addresses = IPFamily.allCases.map { "\(clusterIP(index, $0).address)" }
        let isMeasured = index == measured
        return Service(
            name: name(index), type: isMeasured ? .nodePort : .clusterIP, clusterIP: addresses[0],
            clusterIPs: addresses, ipFamilies: IPFamily.allCases.map { "IPv\($0.rawValue)" },
            ports: [ServicePort(port: Int(Self.port), nodePort: isMeasured ? Int(Self.nodePort) : 0)],
            externalTrafficPolicy: isMeasured && placement == .local ? .local : .cluster)
    }

    private func slices(_ index: Int) -> [EndpointSlice] {
        let node = index == measured && placement == .local ? Self.nodeName : "another-node"
        return IPFamily.allCases.flatMap { family in
            // Of one port each: endpoints of the others may have several.
            Dictionary(grouping: endpoints(index, family), by: \.port).map { port, endpoints in
                EndpointSlice(
                    name: ObjectName(namespace: "bench", name: "service-\(index)-\(family.rawValue)-\(port)"),
                    serviceName: name(index).name, addressType: "IPv\(family.rawValue)",
                    endpoints: endpoints.map { Endpoint(addresses: ["\($0.address)"], nodeName: node) },
                    ports: [EndpointPort(port: Int(port))])
            }
        }
    }
}
