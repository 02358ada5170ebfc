import NetTypes

/// The Service that the demo is about, as `kubectl` would show it.
enum Manifest {
    /// How an endpoint stands.
    enum State {
        case ready
        /// Its pod is being deleted: it still answers, but nobody new should come.
        case draining
    }

    static let nodeName = "demo-node"
    /// The port that all backends listen on, for TCP and UDP.
    static let targetPort: UInt16 = 8080

    /// The Service's own address: no device has it, nobody answers ARP for it.
    static func clusterIP(_ family: IPFamily) -> IPAddress {
        switch family {
        case .v4: IPAddress(v4: 0xCB00_710A)
        case .v6: IPAddress(v6: 0x2001_0db8_0113_0000 << 64 | 0x10)
        }
    }

    static func port(_ transport: TransportProtocol) -> UInt16 { transport == .tcp ? 80 : 7 }

    static func nodePort(_ transport: TransportProtocol) -> UInt16 { transport == .tcp ? 30080 : 30007 }

    static var service: String {
        """
        apiVersion: v1
        kind: Service
        metadata: {name: web, namespace: default}
        spec:
          type: NodePort
          ipFamilies: [IPv4, IPv6]
          clusterIP: \(clusterIP(.v4))
          clusterIPs: [\(clusterIP(.v4)), "\(clusterIP(.v6))"]
          ports:
          - {name: http, protocol: TCP, port: \(port(.tcp)), nodePort: \(nodePort(.tcp)), targetPort: \(targetPort)}
          - {name: echo, protocol: UDP, port: \(port(.udp)), nodePort: \(nodePort(.udp)), targetPort: \(targetPort)}

        """
    }

    static func node(_ addresses: [IPAddress]) -> String {
        """
        apiVersion: v1
        kind: Node
        metadata: {name: \(nodeName)}
        status:
          addresses:
        \(addresses.map { "  - {type: InternalIP, address: \"\($0)\"}\n" }.joined())
        """
    }

    /// One slice for each family.
    static func slices(_ endpoints: [(addresses: [IPAddress], state: State)]) -> String {
        IPFamily.allCases.map { family in
            let list = endpoints.flatMap { endpoint in
                endpoint.addresses.filter { $0.family == family }.map {
                    "- {addresses: [\"\($0)\"], nodeName: \(nodeName), conditions: \(conditions(endpoint.state))}\n"
                }
            }
            return """
                apiVersion: discovery.k8s.io/v1
                kind: EndpointSlice
                metadata: {name: web-v\(family.rawValue), namespace: default, labels: {kubernetes.io/service-name: web}}
                addressType: IPv\(family.rawValue)
                ports:
                - {name: http, protocol: TCP, port: \(targetPort)}
                - {name: echo, protocol: UDP, port: \(targetPort)}
                endpoints:
                \(list.joined())
                """
        }.joined(separator: "---\n")
    }

    private static func conditions(_ state: State) -> String {
        switch state {
        case .ready: "{ready: true}"
        case .draining: "{ready: false, serving: true, terminating: true}"
        }
    }
}
