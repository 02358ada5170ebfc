internal import NetTypes
internal import ServiceModel

/// An endpoint at one port, merged over the slices.
struct Candidate {
    let endpoint: TransportEndpoint
    let isLocal: Bool
    let isReady: Bool
    let isServing: Bool
    let isTerminating: Bool
    let forNodes: [String]
    let forZones: [String]

    init(_ source: Endpoint, _ endpoint: TransportEndpoint, _ nodeName: String) {
        self.endpoint = endpoint
        isLocal = !nodeName.isEmpty && source.nodeName == nodeName
        isReady = source.conditions.isReady
        isServing = source.conditions.isServing
        isTerminating = source.conditions.isTerminating
        forNodes = source.forNodes
        forZones = source.forZones
    }

    /// May serve when nothing is ready (KEP-1669).
    var isServingTerminating: Bool { isServing && isTerminating }

    /// Which of two entries for the same address and port counts. A pod that runs wins over a terminating one whose
    /// address it has taken over (kubernetes issue 135266). kube-proxy leaves the rest to map order; here it depends
    /// on nothing but the entries.
    func precedes(_ other: Candidate) -> Bool {
        let flags = [isTerminating, !isReady, !isServing, !isLocal]
        let otherFlags = [other.isTerminating, !other.isReady, !other.isServing, !other.isLocal]
        for (mine, theirs) in zip(flags, otherFlags) where mine != theirs { return theirs }
        if forNodes != other.forNodes { return forNodes.lexicographicallyPrecedes(other.forNodes) }
        return forZones.lexicographicallyPrecedes(other.forZones)
    }
}

/// The endpoints of one Service by family and port name, merged over all its slices.
struct EndpointTable {
    private struct Key: Hashable {
        let family: IPFamily
        let port: String
        let transport: TransportProtocol
    }

    private var entries: [Key: [Candidate]] = [:]
    private(set) var problems: [ObjectProblem] = []

    init(service: ObjectName, slices: [EndpointSlice], nodeName: String) {
        for slice in slices where slice.service == service && !slice.isHeadless { add(slice, nodeName) }
    }

    /// The endpoints of a port, in order, each once.
    func candidates(_ family: IPFamily, _ port: ServicePortName) -> [Candidate] {
        let found = entries[Key(family: family, port: port.port, transport: port.transport)] ?? []
        var unique: [Candidate] = []
        unique.reserveCapacity(found.count)
        for candidate in found.sorted(by: { $0.endpoint < $1.endpoint }) {
            if unique.last?.endpoint != candidate.endpoint {
                unique.append(candidate)
            } else if candidate.precedes(unique[unique.count - 1]) {
                unique[unique.count - 1] = candidate
            }
        }
        return unique
    }

    private mutating func add(_ slice: EndpointSlice, _ nodeName: String) {
        var log = ProblemLog(.endpointSlice, slice.name)
        defer { problems += log.problems }
        let family: IPFamily
        switch slice.addressType {
        case "IPv4": family = .v4
        case "IPv6": family = .v6
        case "FQDN": return
        default:
            log.report("addressType", "\"\(slice.addressType)\" is not a type: must be IPv4, IPv6 or FQDN")
            return
        }
        let ports = Self.ports(of: slice, &log)
        let endpoints = slice.endpoints.enumerated().compactMap { index, endpoint in
            Self.address(of: endpoint, "endpoints[\(index)].addresses", family, &log).map { ($0, endpoint) }
        }
        for (name, number, transport) in ports {
            entries[Key(family: family, port: name, transport: transport), default: []] += endpoints.lazy.map {
                Candidate($1, TransportEndpoint($0, number, transport), nodeName)
            }
        }
    }

    /// Ports without a name or a number are not for proxies.
    private static func ports(
        of slice: EndpointSlice, _ log: inout ProblemLog
    ) -> [(name: String, number: UInt16, transport: TransportProtocol)] {
        var result: [(name: String, number: UInt16, transport: TransportProtocol)] = []
        for (index, port) in slice.ports.enumerated() {
            guard let name = port.name, let number = port.port, number != 0,
                let transport = log.transport(port.protocolName, "ports[\(index)].protocol"),
                let valid = log.port(number, "ports[\(index)].port")
            else { continue }
            result.append((name, valid, transport))
        }
        return result
    }

    /// Only the first address counts (KEP-752: the others are for the same endpoint).
    private static func address(
        of endpoint: Endpoint, _ path: @autoclosure () -> String, _ family: IPFamily, _ log: inout ProblemLog
    ) -> IPAddress? {
        guard let text = endpoint.address else {
            log.report(path(), "empty: must have an address")
            return nil
        }
        guard let address = log.address(text, "\(path())[0]", endpoint: true) else { return nil }
        guard address.family == family else {
            log.report("\(path())[0]", "\(address) is not an IPv\(family.rawValue) address, as addressType says")
            return nil
        }
        return address
    }
}
