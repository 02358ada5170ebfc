internal import NetTypes

/// Virtual servers as kube-proxy makes them in IPVS mode (`pkg/proxy/ipvs/proxier.go`), as commands for
/// `ipvsadm --restore`: round robin, translated addresses, connection tracking.
struct IPVSRules {
    let cluster: PeerCluster

    init(_ cluster: PeerCluster) {
        self.cluster = cluster
    }

    /// Settings of the namespace (`NewProxier` there).
    static let settings = [
        ("ipv4/vs/conntrack", "1"), ("ipv4/vs/expire_nodest_conn", "1"), ("ipv4/vs/expire_quiescent_template", "1"),
    ]

    /// The addresses that the node must have for packets to them to get to IPVS.
    var addresses: [IPAddress] { cluster.services.map(\.clusterIP) }

    /// Everything.
    func full() -> String { cluster.services.map(write).joined() }

    /// What is changed when the endpoints of one Service have changed.
    func change(of index: Int, formerly former: [TransportEndpoint]) -> String {
        let service = cluster.services[index]
        var text = ""
        for server in servers(service) {
            for endpoint in service.endpoints where !former.contains(endpoint) { text += add(endpoint, server) }
            for endpoint in former where !service.endpoints.contains(endpoint) {
                text += "-d \(server) -r \(endpoint.hostAndPort)\n"
            }
        }
        return text
    }

    /// Rules that masquerade what kube-proxy has masqueraded, by a mark and without sets of addresses: what comes to a
    /// NodePort, and what comes to a ClusterIP from elsewhere than Pods. For `iptables-restore --noflush`.
    func masquerading() -> String {
        let mark = RuleText.masqueradeMark
        var rules = ""
        for service in cluster.services.suffix(cluster.services.count - cluster.others) {
            let transport = "-p \(service.transportName) -m \(service.transportName)"
            if let nodePort = service.nodePort, !service.keepsClientAddress {
                rules += """
                    -A KUBE-SERVICES \(transport) --dport \(nodePort) -m addrtype --dst-type LOCAL -j KUBE-MARK-MASQ\n
                    """
            }
            if let range = cluster.podRange {
                rules += """
                    -A KUBE-SERVICES ! -s \(range) -d \(service.clusterIP) \(transport) --dport \(service.port) \
                    -j KUBE-MARK-MASQ\n
                    """
            }
        }
        return """
            *nat
            :KUBE-SERVICES - [0:0]
            :KUBE-MARK-MASQ - [0:0]
            :KUBE-POSTROUTING - [0:0]
            -A PREROUTING -j KUBE-SERVICES
            -A OUTPUT -j KUBE-SERVICES
            -A POSTROUTING -j KUBE-POSTROUTING
            -A KUBE-MARK-MASQ -j MARK --or-mark \(mark)
            -A KUBE-POSTROUTING -m mark ! --mark \(mark)/\(mark) -j RETURN
            -A KUBE-POSTROUTING -j MARK --xor-mark \(mark)
            -A KUBE-POSTROUTING -j MASQUERADE --random-fully
            \(rules)COMMIT

            """
    }

    private func write(_ service: PeerService) -> String {
        servers(service).map { server in
            "-A \(server) -s rr\n" + service.endpoints.map { add($0, server) }.joined()
        }.joined()
    }

    /// The ClusterIP, and each address of the node with the NodePort.
    private func servers(_ service: PeerService) -> [String] {
        let flag = service.transport == .udp ? "-u" : "-t"
        let nodePorts = service.nodePort.map { port in cluster.nodeAddresses.map { $0.withPort(port) } } ?? []
        return ([service.clusterIP.withPort(service.port)] + nodePorts).map { "\(flag) \($0)" }
    }

    private func add(_ endpoint: TransportEndpoint, _ server: String) -> String {
        "-a \(server) -r \(endpoint.hostAndPort) -m -w 1\n"
    }
}
