internal import NetTypes
internal import ServiceModel

/// A Service with its values read and checked.
struct ServiceView {
    struct Port {
        let name: ServicePortName
        let number: UInt16
        let nodePort: UInt16?
    }

    let service: Service
    private(set) var ports: [Port] = []
    private(set) var clusterIPs: [IPFamily: IPAddress] = [:]
    private(set) var externalIPs: [IPAddress] = []
    private(set) var loadBalancerIPs: [IPAddress] = []
    private(set) var affinity = SessionAffinity.none
    /// As the Service's annotation says; `nil` where it does not, or not what it may.
    private(set) var forwarding: Forwarding?
    private(set) var healthCheckPort: UInt16?
    private(set) var notes: [ResolutionNote] = []
    private(set) var log: ProblemLog
    private var sourceRanges: [IPFamily: [CIDR]] = [:]

    init(_ service: Service) {
        self.service = service
        log = ProblemLog(.service, service.name)
        readPorts()
        readClusterIPs()
        externalIPs = service.externalIPs.enumerated().compactMap { log.address($1, "spec.externalIPs[\($0)]") }
        readIngress()
        readSourceRanges()
        readAffinity()
        readForwarding()
        if service.type == .loadBalancer, externalLocal, service.healthCheckNodePort != 0 {
            healthCheckPort = log.port(service.healthCheckNodePort, "spec.healthCheckNodePort")
        }
    }

    var internalLocal: Bool { service.internalTrafficPolicy == .local }

    /// The external policy counts only for types that have external traffic (`ExternalPolicyLocal` in
    /// `pkg/api/v1/service/util.go`).
    var externalLocal: Bool {
        let isExternal =
            service.type == .nodePort || service.type == .loadBalancer
            || (service.type == .clusterIP && !service.externalIPs.isEmpty)
        return isExternal && service.externalTrafficPolicy == .local
    }

    /// Who may use the load balancer addresses of a family; `nil` is everybody.
    func allowedSources(_ family: IPFamily, _ context: NodeContext) -> [CIDR]? {
        guard let ranges = sourceRanges[family], !ranges.contains(where: { $0.length == 0 }) else { return nil }
        let nodeIsAllowed = context.nodeAddresses.contains { node in ranges.contains { $0.contains(node) } }
        guard nodeIsAllowed else { return ranges }
        // A node that has the load balancer's address on one of its devices talks to it with that very source.
        let own = loadBalancerIPs.filter { $0.family == family }.compactMap { CIDR($0, length: family.bitWidth) }
        return Set(ranges + own).sorted()
    }

    private struct Listener: Hashable {
        let port: UInt16
        let transport: TransportProtocol
    }

    private mutating func readPorts() {
        var names: Set<ServicePortName> = []
        var numbers: Set<Listener> = []
        var nodePorts: Set<Listener> = []
        guard log.isLabel(service.name.namespace, "metadata.namespace"), log.isLabel(service.name.name, "metadata.name")
        else { return }
        for (index, port) in service.ports.enumerated() {
            let path = "spec.ports[\(index)]"
            guard log.isLabel(port.name, "\(path).name"),
                let transport = log.transport(port.protocolName, "\(path).protocol"),
                let number = log.port(port.port, "\(path).port")
            else { continue }
            let name = ServicePortName(service: service.name, port: port.name, transport: transport)
            guard names.insert(name).inserted else {
                log.report("\(path).name", "\"\(port.name)\" names another \(transport) port of the Service too")
                continue
            }
            guard numbers.insert(Listener(port: number, transport: transport)).inserted else {
                log.report("\(path).port", "\(number)/\(transport) is another port of the Service too")
                continue
            }
            var nodePort = port.nodePort == 0 ? nil : log.port(port.nodePort, "\(path).nodePort")
            if let claimed = nodePort, !nodePorts.insert(Listener(port: claimed, transport: transport)).inserted {
                log.report("\(path).nodePort", "\(claimed)/\(transport) is the nodePort of another port too")
                nodePort = nil
            }
            if transport == .sctp {
                notes.append(.notBalanced(name))
            } else {
                ports.append(Port(name: name, number: number, nodePort: nodePort))
            }
        }
    }

    /// `GetClusterIPByFamily`: `ipFamilies` says which entry of `clusterIPs` counts; without it, `clusterIP` does.
    private mutating func readClusterIPs() {
        if service.ipFamilies.isEmpty {
            guard let address = log.address(service.clusterIP, "spec.clusterIP") else { return }
            clusterIPs[address.family] = address
            return
        }
        for (index, name) in service.ipFamilies.enumerated() where index < service.clusterIPs.count {
            guard name == "IPv4" || name == "IPv6" else {
                log.report("spec.ipFamilies[\(index)]", "\"\(name)\" is not a family: must be IPv4 or IPv6")
                continue
            }
            let path = "spec.clusterIPs[\(index)]"
            guard let address = log.address(service.clusterIPs[index], path) else { continue }
            guard (address.family == .v4) == (name == "IPv4") else {
                log.report(path, "\(address) is not an \(name) address, as ipFamilies says")
                continue
            }
            if clusterIPs[address.family] == nil { clusterIPs[address.family] = address }
        }
    }

    private mutating func readIngress() {
        for (index, ingress) in service.loadBalancerIngress.enumerated() {
            guard let text = ingress.ip, !text.isEmpty,
                let address = log.address(text, "status.loadBalancer.ingress[\(index)].ip")
            else { continue }
            switch ingress.ipMode ?? "VIP" {
            case "VIP": loadBalancerIPs.append(address)
            case "Proxy": notes.append(.ingressHandledByProxy(address))
            case let other:
                log.report(
                    "status.loadBalancer.ingress[\(index)].ipMode", "\"\(other)\" is not a mode: must be VIP or Proxy")
            }
        }
    }

    /// A range that cannot be read still restricts its family: a typing error must not open the Service to everybody.
    private mutating func readSourceRanges() {
        for (index, text) in service.loadBalancerSourceRanges.enumerated() {
            let trimmed = text.trimmingBlanks
            if let range = CIDR(trimmed) {
                sourceRanges[range.family, default: []].append(range)
            } else {
                log.report("spec.loadBalancerSourceRanges[\(index)]", "\"\(text)\" is not an address prefix")
                sourceRanges[trimmed.utf8.contains(UInt8(ascii: ":")) ? .v6 : .v4, default: []] += []
            }
        }
        sourceRanges = sourceRanges.mapValues { Set($0).sorted() }
    }

    private mutating func readForwarding() {
        guard let text = service.forwarding else { return }
        forwarding = Forwarding(rawValue: text)
        guard forwarding == nil else { return }
        let allowed = Forwarding.allCases.map(\.rawValue).joined(separator: " or ")
        log.report(
            "metadata.annotations[\(Service.forwardingAnnotation)]",
            "\"\(text)\" is no way to forward: must be \(allowed); taking the agent's --forwarding")
    }

    private mutating func readAffinity() {
        guard case .clientIP(let seconds) = service.sessionAffinity else { return }
        affinity = service.sessionAffinity
        guard (1...86_400).contains(seconds) else {
            log.report(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                "\(seconds) is not a timeout: must be 1-86400; taking \(SessionAffinity.defaultTimeoutSeconds)")
            affinity = .clientIP(timeoutSeconds: SessionAffinity.defaultTimeoutSeconds)
            return
        }
    }
}

extension String {
    /// Without blanks at either end.
    fileprivate var trimmingBlanks: Substring {
        let isBlank: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\n" || $0 == "\r" }
        var rest = drop(while: isBlank)
        while let last = rest.last, isBlank(last) { rest.removeLast() }
        return rest
    }
}
