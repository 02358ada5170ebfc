import Dataplane
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

/// Pods behind external devices: those of another node that address a NodePort of this one.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct LocalDetectionTests {
    private static let local = ["externalTrafficPolicy: Local"]

    private func prefixes(_ pair: TwoNodes, _ pod: String) throws -> String {
        try IPFamily.allCases.map { family in
            let address = try pair.host(pod).address(family)
            return "\(address)/\(family.bitWidth)"
        }.joined(separator: ",")
    }

    /// With external traffic policy Local and no endpoint on the node, only pods are served: `externalTrafficPolicy` does
    /// not bind them (service semantics 2.5).
    private func expect(
        _ pair: TwoNodes, _ pod: String, isServed: Bool, _ sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let service = ServiceManifest("", number: 1)
        for (family, transport) in IPFamily.allCases.flatMap({ family in
            [TransportProtocol.tcp, .udp].map { (family, $0) }
        }) {
            let frontend = pair.frontend(service, .nodePort, family, transport)
            let host = try pair.host(pod)
            if isServed {
                // By way of this node: its answers would not come back by here otherwise.
                let expected = Outcome.answered(by: "c", seeing: pair.masquerade(0, family))
                #expect(try host.outcome(frontend) == expected, "\(pod) to \(frontend)", sourceLocation: sourceLocation)
            } else {
                #expect(
                    try host.hearsNothing(from: frontend), "\(pod) to \(frontend)", sourceLocation: sourceLocation)
            }
        }
    }

    @Test(arguments: [Forwarding.transmit, .tc]) func podsOfTheClusterCIDRAreServed(_ forwarding: Forwarding) throws {
        let pair = try TwoNodes()
        let text = try prefixes(pair, "pod1")
        try pair.manifests.put(pair.service("far", number: 1, on: ["c"], extras: Self.local))
        try pair.start(forwarding.flags.merging(["--cluster-cidr": text, "--detect-local-mode": "ClusterCIDR"]) { $1 })
        try expect(pair, "pod1", isServed: true)
        try expect(pair, "d", isServed: false)
        let clusterIP = pair.frontend(ServiceManifest("", number: 1), .nodePort, .v4, .tcp)
        #expect(try pair.outside.hearsNothing(from: clusterIP))
    }

    @Test func thePodCIDRsOfTheNodeAreFollowed() throws {
        let pair = try TwoNodes.serving(["--detect-local-mode": "NodeCIDR"]) { pair in
            try [pair.service("far", number: 1, on: ["c"], extras: Self.local)]
        }
        func podCIDRs(_ pod: String?) throws {
            let list = try pod.map { try prefixes(pair, $0) } ?? ""
            let quoted = list.split(separator: ",").map { "\"\($0)\"" }.joined(separator: ", ")
            try pair.manifests.put(
                "node.yaml",
                """
                apiVersion: v1
                kind: Node
                metadata: {name: node0}
                spec: {podCIDRs: [\(quoted)]}

                """)
            try pair.settle()
            let wanted = Set(list.split(separator: ",").map(String.init))
            try eventually("the programs know the pods' prefixes") {
                try Set(pair.nodes[0].maps().nodeState().podPrefixes.values.map(\.description)) == wanted
            }
        }
        // Until the Node object has some, nobody behind an external device is a pod.
        try expect(pair, "pod1", isServed: false)
        try podCIDRs("pod1")
        try expect(pair, "pod1", isServed: true)
        try podCIDRs("d")
        try expect(pair, "pod1", isServed: false)
        try expect(pair, "d", isServed: true)
        try podCIDRs(nil)
        try expect(pair, "d", isServed: false)
    }
}
