internal import NetTypes

/// The table of nftables as kube-proxy 1.36 writes it (`pkg/proxy/nftables/proxier.go`), as the commands that its
/// library knftables hands to `nft -f -`.
///
/// Since 1.36 a Service without session affinity has no chains of endpoints: its own chain chooses and translates.
struct NFTablesRules {
    let cluster: PeerCluster
    private var text = ""
    private let ip: String

    init(_ cluster: PeerCluster) {
        self.cluster = cluster
        ip = cluster.family == .v4 ? "ip" : "ip6"
    }

    /// Everything.
    func full() -> String {
        var copy = self
        copy.writeTable()
        for (index, service) in cluster.services.enumerated() {
            // The kernel takes no element that leads to a chain that is not there.
            copy.emptyChains(service)
            copy.list(service, isLocal: isLocal(index))
            copy.write(service)
        }
        return copy.text
    }

    /// What is written when the endpoints of one Service have changed: the chains of that Service, and the elements that
    /// came or went.
    ///
    /// - Parameters:
    ///   - index: the Service, which has its new endpoints already.
    ///   - former: the endpoints it had.
    func change(of index: Int, formerly former: [TransportEndpoint]) -> String {
        var copy = self
        let service = cluster.services[index]
        copy.emptyChains(service)
        copy.write(service)
        if isLocal(index) {
            for endpoint in service.endpoints where !former.contains(endpoint) {
                copy.add("element", "hairpin-connections { \(hairpin(endpoint, service)) }")
            }
            for endpoint in former where !service.endpoints.contains(endpoint) {
                copy.command("delete", "element", "hairpin-connections { \(hairpin(endpoint, service)) }")
            }
        }
        return copy.text
    }

    /// Only the endpoints of what is measured are on this node.
    private func isLocal(_ index: Int) -> Bool { index >= cluster.others }

    /// The elements that lead to a Service.
    private mutating func list(_ service: PeerService, isLocal: Bool) {
        let transport = service.transportName
        add("element", "cluster-ips { \(service.clusterIP) }")
        add(
            "element",
            "service-ips { \(service.clusterIP) . \(transport) . \(service.port) : goto \(chain("service", service)) }")
        if let nodePort = service.nodePort {
            add("element", "service-nodeports { \(transport) . \(nodePort) : goto \(chain("external", service)) }")
        }
        guard isLocal else { return }
        for endpoint in service.endpoints { add("element", "hairpin-connections { \(hairpin(endpoint, service)) }") }
    }

    /// Makes the chains of a Service, or empties them.
    private mutating func emptyChains(_ service: PeerService) {
        emptyChain(chain("service", service))
        guard service.nodePort != nil else { return }
        emptyChain(chain("external", service))
        if service.keepsClientAddress { emptyChain(chain("local", service)) }
    }

    /// The rules of a Service's chains.
    private mutating func write(_ service: PeerService) {
        let serviceChain = chain("service", service)
        choose(service, serviceChain)
        guard service.nodePort != nil else { return }
        let external = chain("external", service)
        guard service.keepsClientAddress else {
            rule(external, Self.masquerade)
            rule(external, "goto \(serviceChain)")
            return
        }
        let local = chain("local", service)
        choose(service, local)
        if let range = cluster.podRange {
            rule(external, "\(ip) saddr \(range) goto \(serviceChain) comment \"short-circuit pod traffic\"")
        }
        rule(external, "fib saddr type local \(Self.masquerade) comment \"masquerade local traffic\"")
        rule(external, "fib saddr type local goto \(serviceChain) comment \"short-circuit local traffic\"")
        rule(external, "goto \(local)")
    }

    private mutating func choose(_ service: PeerService, _ chain: String) {
        let transport = "meta l4proto \(service.transportName)"
        if service.endpoints.count == 1 {
            rule(chain, "\(transport) dnat to \(service.endpoints[0].hostAndPort)")
            return
        }
        let map = service.endpoints.enumerated().map { "\($0) : \($1.address) . \($1.port)" }.joined(separator: " , ")
        rule(
            chain,
            """
            \(transport) dnat \(ip) addr . port to numgen random mod \(service.endpoints.count) map { \(map) }
            """)
    }

    /// `setupNFTables`.
    private mutating func writeTable() {
        let address = cluster.family == .v4 ? "ipv4_addr" : "ipv6_addr"
        text += "add table \(ip) kube-proxy { comment \"rules for kube-proxy\" ; }\n"
        for (name, type, priority) in Self.baseChains {
            let hook = name.split(separator: "-")[1]
            add("chain", "\(name) { type \(type) hook \(hook) priority \(priority) ; }")
            command("flush", "chain", name)
        }
        for name in Self.chains { emptyChain(name) }
        for (from, rule) in Self.jumps { self.rule(from, rule) }
        add("set", "cluster-ips { type \(address) ; comment \"Active ClusterIPs\" ; }")
        add("set", "nodeport-ips { type \(address) ; comment \"IPs that accept NodePort traffic\" ; }")
        add(
            "set",
            """
            hairpin-connections { type \(address) . \(address) . inet_proto . inet_service ; \
            comment "service hairpin connections" ; }
            """)
        for (name, comment) in Self.mapsByAddress {
            add(
                "map",
                "\(name) { type \(address) . inet_proto . inet_service : verdict ; comment \"\(comment)\" ; }")
        }
        for (name, comment) in Self.mapsByPort {
            add("map", "\(name) { type inet_proto . inet_service : verdict ; comment \"\(comment)\" ; }")
        }
        for node in cluster.nodeAddresses { add("element", "nodeport-ips { \(node) }") }
        let destination = "\(ip) daddr . meta l4proto . th dport vmap"
        let nodePort = "\(ip) daddr @nodeport-ips meta l4proto . th dport vmap"
        rule("reject-chain", "reject")
        rule("service-endpoints-check", "\(destination) @no-endpoint-services")
        rule("nodeport-endpoints-check", "\(nodePort) @no-endpoint-nodeports")
        rule("firewall-check", "\(destination) @firewall-ips")
        rule(
            "cluster-ips-check",
            "\(ip) daddr @cluster-ips reject comment \"Reject traffic to invalid ports of ClusterIPs\"")
        rule(
            "cluster-ips-check",
            "\(ip) daddr { \(cluster.clusterIPRange) } drop comment \"Drop traffic to unallocated ClusterIPs\"")
        if let range = cluster.podRange {
            rule(
                "services",
                """
                \(ip) daddr @cluster-ips \(ip) saddr != \(range) \(Self.masquerade) \
                comment "masquerade clusterIP traffic from outside cluster"
                """)
        }
        rule("services", "\(destination) @service-ips")
        rule("services", "\(nodePort) @service-nodeports")
        let mark = RuleText.masqueradeMark
        rule("masquerading", "mark and \(mark) != 0 mark set mark xor \(mark) masquerade fully-random")
        rule(
            "masquerading",
            """
            ct status dnat \(ip) saddr . \(ip) daddr . meta l4proto . th dport @hairpin-connections \
            masquerade fully-random
            """)
    }

    private static let masquerade = "mark set mark or \(RuleText.masqueradeMark)"
    /// Name, type and priority; the second word of the name is the hook.
    private static let baseChains = [
        ("filter-prerouting-pre-dnat", "filter", -110), ("filter-output-pre-dnat", "filter", -110),
        ("filter-input", "filter", 0), ("filter-forward", "filter", 0), ("filter-output", "filter", 0),
        ("nat-prerouting", "nat", -100), ("nat-output", "nat", -100), ("nat-postrouting", "nat", 100),
    ]
    private static let chains = [
        "cluster-ips-check", "firewall-check", "masquerading", "nodeport-endpoints-check", "reject-chain",
        "service-endpoints-check", "services",
    ]
    private static let jumps = [
        ("filter-input", "ct state new jump nodeport-endpoints-check"),
        ("filter-input", "ct state new jump service-endpoints-check"),
        ("filter-forward", "ct state new jump service-endpoints-check"),
        ("filter-forward", "ct state new jump cluster-ips-check"),
        ("filter-output", "ct state new jump service-endpoints-check"),
        ("filter-output", "ct state new jump cluster-ips-check"),
        ("filter-prerouting-pre-dnat", "ct state new jump firewall-check"),
        ("filter-output-pre-dnat", "ct state new jump firewall-check"),
        ("nat-output", "jump services"), ("nat-prerouting", "jump services"),
        ("nat-postrouting", "jump masquerading"),
    ]
    private static let mapsByAddress = [
        ("firewall-ips", "destinations that are subject to LoadBalancerSourceRanges"),
        ("no-endpoint-services", "vmap to drop or reject packets to services with no endpoints"),
        ("service-ips", "ClusterIP, ExternalIP and LoadBalancer IP traffic"),
    ]
    private static let mapsByPort = [
        ("no-endpoint-nodeports", "vmap to drop or reject packets to service nodeports with no endpoints"),
        ("service-nodeports", "NodePort traffic"),
    ]

    private func chain(_ kind: String, _ service: PeerService) -> String {
        let name = "\(service.name)/\(service.transportName)/\(service.portName)"
        return "\(kind)-\(RuleText.digest(name, letters: 8))-\(name)"
    }

    private func hairpin(_ endpoint: TransportEndpoint, _ service: PeerService) -> String {
        "\(endpoint.address) . \(endpoint.address) . \(service.transportName) . \(endpoint.port)"
    }

    private mutating func command(_ verb: String, _ kind: String, _ object: String) {
        text += "\(verb) \(kind) \(ip) kube-proxy \(object)\n"
    }

    private mutating func add(_ kind: String, _ object: String) { command("add", kind, object) }

    private mutating func emptyChain(_ name: String) {
        add("chain", name)
        command("flush", "chain", name)
    }

    private mutating func rule(_ chain: String, _ rule: String) { add("rule", "\(chain) \(rule)") }
}
