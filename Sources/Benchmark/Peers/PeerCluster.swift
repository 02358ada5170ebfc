package import NetTypes

/// One port of a Service, as a peer is to serve it.
package struct PeerService: Sendable, Hashable {
    /// Namespace and name, as in `team-1/service-7`.
    package let name: String
    /// What the port is called.
    package let portName: String
    /// TCP or UDP.
    package let transport: TransportProtocol
    /// The ClusterIP.
    package let clusterIP: IPAddress
    /// Its port.
    package let port: UInt16
    /// The NodePort, if there is one.
    package let nodePort: UInt16?
    /// Whether the NodePort has `externalTrafficPolicy: Local`: its endpoints are on this node, and they see the
    /// client's address.
    package let keepsClientAddress: Bool
    /// Ready endpoints; their transport is the Service's.
    package var endpoints: [TransportEndpoint]

    /// A port of a Service.
    package init(
        _ name: String, portName: String = "http", transport: TransportProtocol, clusterIP: IPAddress, port: UInt16,
        nodePort: UInt16? = nil, keepsClientAddress: Bool = false, endpoints: [TransportEndpoint]
    ) {
        self.name = name
        self.portName = portName
        self.transport = transport
        self.clusterIP = clusterIP
        self.port = port
        self.nodePort = nodePort
        self.keepsClientAddress = keepsClientAddress
        self.endpoints = endpoints
    }

    /// `tcp` or `udp`: as rules and their chains' names have it.
    var transportName: String { transport == .udp ? "udp" : "tcp" }
    /// `team-1/service-7:http`: what kube-proxy calls it in comments (`ServicePortName.String()`).
    var fullName: String { "\(name):\(portName)" }
}

/// All Services of one family that a peer is to serve on a node: those that are measured, last, and others before them
/// that only fill the rules.
///
/// kube-proxy goes through its Services in no order, so a Service has half of the others before it, on average; here the
/// measured ones have all.
package struct PeerCluster: Sendable {
    /// The family of all addresses.
    package let family: IPFamily
    /// In the order of the rules.
    package private(set) var services: [PeerService]
    /// Where Pods are (`--cluster-cidr`). What comes from elsewhere to a ClusterIP is masqueraded; without it nothing is.
    package let podRange: CIDR?
    /// The node's addresses, which take NodePorts.
    package let nodeAddresses: [IPAddress]
    /// How many of the Services are there to fill the rules.
    package let others: Int

    /// The most Services.
    package static let mostServices = 16_000

    /// So many Services. Others have a NodePort if a measured one has, as far as there are ports (30000 to 32767).
    ///
    /// - Parameters:
    ///   - measured: comes last.
    ///   - count: of all Services; at least the measured ones are there.
    ///   - endpointsOfOthers: of each that is not measured; nothing is sent to them.
    /// - Throws: ``PeerError/failed(_:)`` if a measured address is of another family, or one that others have.
    package init(
        family: IPFamily, measured: [PeerService], services count: Int, endpointsOfOthers: Int = 1,
        podRange: CIDR? = nil, nodeAddresses: [IPAddress] = []
    ) throws(PeerError) {
        for service in measured {
            for address in [service.clusterIP] + service.endpoints.map(\.address) {
                guard address.family == family, !Self.range(.clusterIP, family).contains(address),
                    !Self.range(.endpoint, family).contains(address)
                else {
                    throw .failed("\(service.fullName) cannot have \(address): of another family, or one for others")
                }
            }
        }
        guard count <= Self.mostServices, (1...250).contains(endpointsOfOthers) else {
            throw .failed("there is no room for \(count) Services of \(endpointsOfOthers) endpoints")
        }
        others = max(0, count - measured.count)
        let nodePorts = measured.compactMap(\.nodePort)
        var next: UInt16 = 30_000
        services = (0..<others).map { index in
            while nodePorts.contains(next) { next += 1 }
            let nodePort = nodePorts.isEmpty || next > 32_767 ? nil : next
            next += 1
            return Self.other(index, family, nodePort: nodePort, endpoints: endpointsOfOthers)
        }
        services += measured
        self.family = family
        self.podRange = podRange
        self.nodeAddresses = nodeAddresses.filter { $0.family == family }
    }

    /// Endpoints of all Services.
    package var endpointCount: Int { services.reduce(0) { $0 + $1.endpoints.count } }

    /// Gives a Service other endpoints.
    package mutating func setEndpoints(_ endpoints: [TransportEndpoint], of index: Int) {
        services[index].endpoints = endpoints
    }

    /// Where the ClusterIPs of others are.
    var clusterIPRange: CIDR { Self.range(.clusterIP, family) }

    private enum Use {
        case clusterIP, endpoint
    }

    /// 198.18.64.0/18 and 198.18.128.0/18, 2001:db8:5e::/48 and 2001:db8:5f::/48.
    private static func range(_ use: Use, _ family: IPFamily) -> CIDR {
        let (base, length) =
            switch (family, use) {
            case (.v4, .clusterIP): (IPAddress(v4: 0xC612_4000), 18)
            case (.v4, .endpoint): (IPAddress(v4: 0xC612_8000), 18)
            case (.v6, .clusterIP): (IPAddress(v6: 0x2001_0db8_005e << 80), 48)
            case (.v6, .endpoint): (IPAddress(v6: 0x2001_0db8_005f << 80), 48)
            }
        guard let range = CIDR(base, length: length) else { preconditionFailure("these lengths fit the families") }
        return range
    }

    private static func other(
        _ index: Int, _ family: IPFamily, nodePort: UInt16?, endpoints count: Int
    ) -> PeerService {
        let endpoints = (index * count..<(index + 1) * count).map { number in
            // As many addresses as the IPv4 range has, then the next port.
            TransportEndpoint(
                address(.endpoint, family, number & 0x3FFF), UInt16(8080 + number >> 14), .tcp)
        }
        return PeerService(
            "team-\(index % 40)/service-\(index)", transport: .tcp, clusterIP: address(.clusterIP, family, index + 1),
            port: 80, nodePort: nodePort, endpoints: endpoints)
    }

    private static func address(_ use: Use, _ family: IPFamily, _ number: Int) -> IPAddress {
        let bits = range(use, family).base.bits + UInt128(number)
        return family == .v4 ? IPAddress(v4: UInt32(bits)) : IPAddress(v6: bits)
    }
}

/// Why a peer does not serve.
package enum PeerError: Error, Sendable, Hashable, CustomStringConvertible {
    /// This kernel or system lacks it; what exactly.
    case unavailable(String)
    /// It took longer than there is time for; what, and how long.
    case tooSlow(String)
    /// It should work here and does not; what was tried and what came of it.
    case failed(String)

    /// What is wrong, and with what.
    package var description: String {
        switch self {
        case .unavailable(let reason), .tooSlow(let reason), .failed(let reason): reason
        }
    }

    /// The same for a report.
    package var outcome: Measurement.Outcome {
        switch self {
        case .unavailable(let reason), .tooSlow(let reason): .skipped(reason)
        case .failed(let reason): .failed(reason)
        }
    }
}
