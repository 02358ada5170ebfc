import Dataplane
import NeedletailABI
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

/// The matrix of policy and masquerading (kube-proxy's `TestInternalExternalMasquerade`): what a backend sees, for each
/// frontend, policy, place of the client, place of the backend and setting of `--masquerade`.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct MasqueradeTests {
    enum Seen: Sendable {
        /// The client's own address.
        case client
        /// This node's address towards its pods, or towards other nodes.
        case node
        /// Nothing arrives.
        case dropped
    }

    struct Row: Sendable {
        let client: String
        let kinds: [FrontendKind]
        var isLocal = false
        /// With the backend on the node that is asked, and with it on the other.
        let near: Seen
        let far: Seen

        init(_ client: String, _ kinds: [FrontendKind], isLocal: Bool = false, near: Seen, far: Seen) {
            self.client = client
            self.kinds = kinds
            self.isLocal = isLocal
            self.near = near
            self.far = far
        }
    }

    private static let external = [FrontendKind.nodePort, .loadBalancer, .externalIP]

    /// What is the same in kube-proxy with and without `masqueradeAll`.
    private static let kubeProxy = [
        Row("outside", [.clusterIP], near: .node, far: .node),
        Row("outside", external, near: .node, far: .node),
        Row("pod0", external, near: .node, far: .node),
        Row("outside", external, isLocal: true, near: .client, far: .dropped),
        Row("pod0", external, isLocal: true, near: .client, far: .client),
    ]

    private static let modes: [String: [Row]] = [
        // Where the answer comes back this way by itself, the client is seen.
        "minimal": [
            Row("pod0", [.clusterIP] + external, near: .client, far: .client),
            Row("outside", [.clusterIP] + external, near: .client, far: .node),
            Row("outside", external, isLocal: true, near: .client, far: .dropped),
            Row("pod0", external, isLocal: true, near: .client, far: .client),
        ],
        "kube-proxy": [Row("pod0", [.clusterIP], near: .client, far: .client)] + kubeProxy,
        "all": [Row("pod0", [.clusterIP], near: .node, far: .node)] + kubeProxy,
    ]

    @Test(arguments: [
        ("minimal", Forwarding.tc), ("kube-proxy", .transmit), ("kube-proxy", .tc), ("all", .transmit),
    ])
    func backendsSeeWhomTheMatrixSays(_ mode: String, _ forwarding: Forwarding) throws {
        let local = ["externalTrafficPolicy: Local"]
        let pair = try TwoNodes.serving(forwarding, ["--masquerade": mode]) { pair in
            try [
                pair.service("near", number: 1, on: ["a"]), pair.service("far", number: 2, on: ["c"]),
                pair.service("near-local", number: 3, on: ["a"], extras: local),
                pair.service("far-local", number: 4, on: ["c"], extras: local),
                pair.service("among", number: 5, on: ["a", "c"]),
            ]
        }
        if mode != "all" { try aPodReachesItselfThroughItsService(pair) }
        for row in try #require(Self.modes[mode]) {
            for (server, seen) in [("a", row.near), ("c", row.far)] {
                let number = (server == "a" ? 1 : 2) + (row.isLocal ? 2 : 0)
                let service = ServiceManifest("", number: number)
                for family in IPFamily.allCases {
                    let node = server == "a" ? try pair.network.podGateway(0, family) : pair.masquerade(0, family)
                    for (kind, transport) in row.kinds.flatMap({ kind in [(kind, TransportProtocol.tcp), (kind, .udp)] }
                    ) {
                        let frontend = pair.frontend(service, kind, family, transport)
                        let client = try pair.host(row.client)
                        let what =
                            "\(mode): \(row.client) to \(kind) \(frontend), local \(row.isLocal), served by \(server)"
                        switch seen {
                        case .dropped: #expect(try client.hearsNothing(from: frontend), "\(what)")
                        case .client, .node:
                            let address = seen == .node ? node : try client.address(family)
                            #expect(
                                try client.outcome(frontend) == .answered(by: server, seeing: address), "\(what)")
                        }
                    }
                }
            }
        }
    }

    /// A pod that is sent to itself would answer itself directly if it saw its own address.
    private func aPodReachesItselfThroughItsService(_ pair: TwoNodes) throws {
        let pod = try pair.host("a")
        for family in IPFamily.allCases {
            let gateway = try pair.network.podGateway(0, family)
            let own = try pod.address(family)
            for transport in [TransportProtocol.tcp, .udp] {
                for kind in FrontendKind.allCases {
                    let alone = pair.frontend(ServiceManifest("", number: 1), kind, family, transport)
                    #expect(try pod.outcome(alone) == .answered(by: "a", seeing: gateway), "\(kind) \(alone)")
                }
                let among = pair.frontend(ServiceManifest("", number: 5), .clusterIP, family, transport)
                let expected: Set<Outcome> = [.answered(by: "a", seeing: gateway), .answered(by: "c", seeing: own)]
                #expect(try pod.outcomes(of: among, expecting: expected) == expected)
            }
            // Through a connection that stays, too.
            let frontend = pair.frontend(ServiceManifest("", number: 1), .clusterIP, family, .tcp)
            let connection = try TCPConnection(pod, to: frontend.address, port: frontend.port)
            let line = String(repeating: "x", count: 100_000)
            #expect(try connection.request(line).hasSuffix(line))
        }
    }
}
