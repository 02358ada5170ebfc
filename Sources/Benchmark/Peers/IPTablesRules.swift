internal import NetTypes

/// Rules of iptables as kube-proxy writes them (`pkg/proxy/iptables/proxier.go`, `syncProxyRules`), for
/// `iptables-restore --noflush --counters`.
///
/// Left out: what counts packets of nfacct, which kube-proxy writes only where the kernel has it.
struct IPTablesRules {
    let cluster: PeerCluster
    /// Above a thousand endpoints kube-proxy leaves out the comments of endpoints' rules, and seldom deletes chains that
    /// are not used any more (`largeClusterEndpointsThreshold`).
    private let isLarge: Bool
    private var chains = ""
    private var rules = ""

    init(_ cluster: PeerCluster) {
        self.cluster = cluster
        isLarge = cluster.endpointCount > 1000
    }

    /// The chains, and the jumps to them, which kube-proxy makes once (`iptablesJumpChains` and
    /// `iptablesKubeletJumpChains`): in the order that results from putting each before those that are there.
    static let jumps = """
        *filter
        :KUBE-EXTERNAL-SERVICES - [0:0]
        :KUBE-FIREWALL - [0:0]
        :KUBE-FORWARD - [0:0]
        :KUBE-NODEPORTS - [0:0]
        :KUBE-PROXY-FIREWALL - [0:0]
        :KUBE-SERVICES - [0:0]
        -A INPUT -j KUBE-FIREWALL
        -A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
        -A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
        -A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
        -A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
        -A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
        -A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
        -A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
        -A OUTPUT -j KUBE-FIREWALL
        -A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
        -A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
        COMMIT
        *nat
        :KUBE-POSTROUTING - [0:0]
        :KUBE-SERVICES - [0:0]
        -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
        -A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
        -A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
        COMMIT

        """

    /// Everything.
    func full() -> String { text(changed: nil, stale: []) }

    /// What is written when the endpoints of one Service have changed: the chains that list Services as a whole, of the
    /// others only that Service's.
    ///
    /// - Parameters:
    ///   - index: the Service, which has its new endpoints already.
    ///   - former: the endpoints it had.
    func change(of index: Int, formerly former: [TransportEndpoint]) -> String {
        let service = cluster.services[index]
        let gone = isLarge ? [] : former.filter { !service.endpoints.contains($0) }
        return text(changed: index, stale: gone.map { Self.endpointChain($0, of: service) })
    }

    private func text(changed: Int?, stale: [String]) -> String {
        var copy = self
        for (index, service) in cluster.services.enumerated() {
            copy.list(service)
            if changed == nil || changed == index { copy.write(service) }
        }
        for chain in stale {
            copy.chain(chain)
            copy.rules += "-X \(chain)\n"
        }
        return copy.assembled()
    }

    /// The rules that list all Services.
    private mutating func list(_ service: PeerService) {
        let transport = service.transportName
        rules += """
            -A KUBE-SERVICES -m comment --comment "\(service.fullName) cluster IP" -m \(transport) -p \(transport) \
            -d \(service.clusterIP) --dport \(service.port) -j \(Self.chain("SVC", service))\n
            """
        guard let nodePort = service.nodePort else { return }
        rules += """
            -A KUBE-NODEPORTS -m comment --comment \(service.fullName) -m \(transport) -p \(transport) \
            --dport \(nodePort) -j \(Self.chain("EXT", service))\n
            """
    }

    /// The chains of one Service.
    private mutating func write(_ service: PeerService) {
        let transport = service.transportName
        let (serviceChain, externalChain) = (Self.chain("SVC", service), Self.chain("EXT", service))
        if let range = cluster.podRange {
            rules += """
                -A \(serviceChain) -m comment --comment "\(service.fullName) cluster IP" -m \(transport) \
                -p \(transport) -d \(service.clusterIP) --dport \(service.port) ! -s \(range) -j KUBE-MARK-MASQ\n
                """
        }
        if service.nodePort != nil {
            chain(externalChain)
            writeExternal(service, externalChain, serviceChain)
        }
        writeChoice(service, serviceChain)
        if service.nodePort != nil, service.keepsClientAddress { writeChoice(service, Self.chain("SVL", service)) }
        for endpoint in service.endpoints {
            let name = Self.endpointChain(endpoint, of: service)
            chain(name)
            let comment = comment(service.fullName)
            rules += """
                -A \(name)\(comment) -s \(endpoint.address) -j KUBE-MARK-MASQ
                -A \(name)\(comment) -m \(transport) -p \(transport) -j DNAT --to-destination \(endpoint.hostAndPort)\n
                """
        }
    }

    private mutating func writeExternal(_ service: PeerService, _ external: String, _ cluster: String) {
        guard service.keepsClientAddress else {
            rules += """
                -A \(external) -m comment --comment "masquerade traffic for \(service.fullName) external destinations" \
                -j KUBE-MARK-MASQ
                -A \(external) -j \(cluster)\n
                """
            return
        }
        if let range = self.cluster.podRange {
            rules += """
                -A \(external) -m comment --comment "pod traffic for \(service.fullName) external destinations" \
                -s \(range) -j \(cluster)\n
                """
        }
        rules += """
            -A \(external) -m comment --comment "masquerade LOCAL traffic for \(service.fullName) external destinations" \
            -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
            -A \(external) -m comment --comment "route LOCAL traffic for \(service.fullName) external destinations" \
            -m addrtype --src-type LOCAL -j \(cluster)
            -A \(external) -j \(Self.chain("SVL", service))\n
            """
    }

    /// One of the endpoints, each as likely as the others.
    private mutating func writeChoice(_ service: PeerService, _ name: String) {
        chain(name)
        for (number, endpoint) in service.endpoints.enumerated() {
            let left = service.endpoints.count - number
            let chance = left > 1 ? " -m statistic --mode random --probability \(Self.probability(left))" : ""
            rules += """
                -A \(name)\(comment("\"\(service.fullName) -> \(endpoint.hostAndPort)\""))\(chance) \
                -j \(Self.endpointChain(endpoint, of: service))\n
                """
        }
    }

    /// All of both tables. The rule of NodePorts is the last of its chain.
    private func assembled() -> String {
        let (mark, isV4) = (RuleText.masqueradeMark, cluster.family == .v4)
        let firewall = """
            -A KUBE-FIREWALL -m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8 \
            -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n
            """
        return """
            *filter
            :KUBE-SERVICES - [0:0]
            :KUBE-EXTERNAL-SERVICES - [0:0]
            :KUBE-FORWARD - [0:0]
            :KUBE-NODEPORTS - [0:0]
            :KUBE-PROXY-FIREWALL - [0:0]
            \(isV4 ? ":KUBE-FIREWALL - [0:0]\n" + firewall : "")\
            -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
            -A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark \(mark)/\(mark) -j ACCEPT
            -A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack \
            --ctstate RELATED,ESTABLISHED -j ACCEPT
            COMMIT
            *nat
            :KUBE-SERVICES - [0:0]
            :KUBE-NODEPORTS - [0:0]
            :KUBE-POSTROUTING - [0:0]
            :KUBE-MARK-MASQ - [0:0]
            \(chains)\
            -A KUBE-POSTROUTING -m mark ! --mark \(mark)/\(mark) -j RETURN
            -A KUBE-POSTROUTING -j MARK --xor-mark \(mark)
            -A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
            -A KUBE-MARK-MASQ -j MARK --or-mark \(mark)
            \(rules)\
            -A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this \
            chain" -m addrtype --dst-type LOCAL\(isV4 ? "" : " ! -d ::1/128") -j KUBE-NODEPORTS
            COMMIT

            """
    }

    private mutating func chain(_ name: String) { chains += ":\(name) - [0:0]\n" }

    /// `appendServiceCommentLocked`.
    private func comment(_ text: String) -> String { isLarge ? "" : " -m comment --comment \(text)" }

    private static func chain(_ kind: String, _ service: PeerService) -> String {
        "KUBE-\(kind)-\(RuleText.digest(service.fullName + service.transportName, letters: 16))"
    }

    private static func endpointChain(_ endpoint: TransportEndpoint, of service: PeerService) -> String {
        let name = service.fullName + service.transportName + endpoint.hostAndPort
        return "KUBE-SEP-\(RuleText.digest(name, letters: 16))"
    }

    /// One of so many, with ten places (`computeProbability`).
    static func probability(_ count: Int) -> String {
        let digits = "\((10_000_000_000 + count / 2) / count)"
        return "0." + String(repeating: "0", count: max(0, 10 - digits.count)) + digits
    }
}
