internal import NetTypes
public import ServiceModel

/// Kubernetes Service semantics: which frontends there are, and which backends each has on this node.
///
/// Pure: equal objects give equal answers, in whatever order they came. The rules are those of kube-proxy in nftables
/// mode (Kubernetes 1.36).
public struct Resolver: Sendable {
    /// Choices that are not in the objects.
    public struct Options: Sendable, Hashable {
        /// When sources are rewritten.
        public var masquerade: MasqueradeMode
        /// How outside traffic reaches remote backends, where a Service's annotation does not say.
        public var forwarding: Forwarding
        /// Serve NodePorts on 127.0.0.1 and ::1 too, for the node's own sockets.
        public var servesLocalhostNodePorts: Bool
        /// Serve only Services whose label `service.kubernetes.io/service-proxy-name` has this value; `nil` serves
        /// those without the label, as kube-proxy does.
        public var serviceProxyName: String?
        /// Serve `spec.externalIPs` (feature gate `AllowServiceExternalIPs` of kube-proxy).
        public var servesExternalIPs: Bool

        /// The choices.
        public init(
            masquerade: MasqueradeMode = .minimal, forwarding: Forwarding = .snat,
            servesLocalhostNodePorts: Bool = false, serviceProxyName: String? = nil, servesExternalIPs: Bool = true
        ) {
            self.masquerade = masquerade
            self.forwarding = forwarding
            self.servesExternalIPs = servesExternalIPs
            self.servesLocalhostNodePorts = servesLocalhostNodePorts
            self.serviceProxyName = serviceProxyName
        }
    }

    /// The choices it works by.
    public let options: Options

    /// A resolver.
    public init(options: Options = Options()) { self.options = options }

    /// Resolves one Service from its slices (those of other Services are passed over), without regard to others.
    public func resolve(_ service: Service, slices: [EndpointSlice], context: NodeContext) -> ResolvedService {
        var result = ResolvedService(name: service.name, creationTimestamp: service.creationTimestamp)
        if let reason = skipReason(service) {
            result.notes = [.skipped(reason)]
            return result
        }
        let view = ServiceView(service)
        let table = EndpointTable(service: service.name, slices: slices, nodeName: context.nodeName)
        result.notes = view.notes
        if view.clusterIPs.isEmpty { result.notes.append(.skipped(.noClusterIP)) }
        result.problems = view.log.problems + table.problems + unsupported(view)
        var frontends = FrontendCollector()
        var localReady: [IPFamily: Int] = [:]
        for (family, clusterIP) in view.clusterIPs.sorted(by: { $0.key < $1.key }) {
            let addresses = FamilyAddresses(view, family, clusterIP, context, options)
            var localReadyAddresses: Set<IPAddress> = []
            for port in view.ports {
                let candidates = table.candidates(family, port.name)
                var serving = result.serving[port.name] ?? []
                serving.reserveCapacity(serving.count + candidates.count)
                for candidate in candidates where candidate.isReady || candidate.isServing {
                    serving.insert(candidate.endpoint)
                }
                if !serving.isEmpty { result.serving[port.name] = serving }
                for candidate in candidates where candidate.isReady && candidate.isLocal {
                    localReadyAddresses.insert(candidate.endpoint.address)
                }
                let answers = PortAnswers(view, port, addresses, candidates, context)
                result.notes += answers.notes
                addFrontends(of: port, view, addresses, answers, to: &frontends)
            }
            localReady[family] = localReadyAddresses.count
        }
        result.frontends = frontends.sorted
        result.conflicts = frontends.conflicts.sorted()
        result.problems = Array(Set(result.problems)).sorted()
        result.healthCheck = view.healthCheckPort.map { HealthCheck(port: $0, localEndpoints: localReady) }
        return result
    }

    /// What the Service asks for and this datapath does not do, so that nobody has to find out from traffic.
    private func unsupported(_ view: ServiceView) -> [ObjectProblem] {
        let object = view.log.object
        var problems: [ObjectProblem] = []
        for case .notBalanced(let port) in view.notes {
            problems.append(
                ObjectProblem(
                    object: object, path: "spec.ports", message: "\(port): \(port.transport) is not balanced"))
        }
        return problems
    }

    /// `ShouldSkipService` of kube-proxy, and the selectors of its watch.
    private func skipReason(_ service: Service) -> ResolutionNote.SkipReason? {
        if service.proxyName != options.serviceProxyName {
            return service.proxyName.map { .otherProxy($0) } ?? .notForThisProxy
        }
        if service.type == .externalName { return .externalName }
        if service.clusterIP == "None" { return .headless }
        return service.clusterIP.isEmpty ? .noClusterIP : nil
    }

    private func addFrontends(
        of port: ServiceView.Port, _ view: ServiceView, _ addresses: FamilyAddresses, _ answers: PortAnswers,
        to collector: inout FrontendCollector
    ) {
        func add(_ kind: FrontendKind, _ address: IPAddress, _ number: UInt16) {
            let isClusterIP = kind == .clusterIP
            let external = isClusterIP ? answers.clusterIP : answers.external
            collector.add(
                Frontend(
                    key: TransportEndpoint(address, number, port.name.transport), kind: kind, servicePort: port.name,
                    external: address.isLoopback || address.isUnspecified ? .refused(.loopback) : external,
                    internal: isClusterIP ? answers.clusterIP : answers.shortCircuit,
                    allowedSources: kind == .loadBalancer ? addresses.allowedSources : nil, affinity: view.affinity,
                    masquerade: Masquerade(options.masquerade, kind, externalLocal: view.externalLocal),
                    forwarding: kind.canReturnDirectly ? view.forwarding ?? options.forwarding : .snat))
        }
        add(.clusterIP, addresses.clusterIP, port.number)
        for address in addresses.loadBalancerIPs { add(.loadBalancer, address, port.number) }
        for address in addresses.externalIPs { add(.externalIP, address, port.number) }
        guard let nodePort = port.nodePort else { return }
        for address in addresses.nodePortAddresses { add(.nodePort, address, nodePort) }
    }
}
