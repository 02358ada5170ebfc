import Dataplane
import Foundation
import NeedletailABI
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

/// Traffic policies, topology, source ranges and affinity, between two nodes.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct PolicyTests {
    private static let transports = [TransportProtocol.tcp, .udp]
    private static let external = [FrontendKind.nodePort, .loadBalancer, .externalIP]

    /// The servers that answer a host, whoever they see.
    private func servers(
        _ host: NetLab.Host, _ frontend: TransportEndpoint, expecting expected: Set<String>
    ) throws -> Set<String> {
        var seen: Set<String> = []
        for count in 0..<300 {
            switch try host.outcome(frontend, timeout: expected.isEmpty ? .milliseconds(250) : .seconds(3)) {
            case .answered(let server, _): seen.insert(server)
            case .refused: seen.insert("refused")
            case .silence where expected.isEmpty: return seen
            case .silence: seen.insert("silence")
            }
            if count >= 8 * expected.count, seen.isSuperset(of: expected) { break }
        }
        return seen
    }

    @Test(arguments: Forwarding.programs) func policies(_ forwarding: Forwarding) throws {
        let (local, inside) = (["externalTrafficPolicy: Local"], ["internalTrafficPolicy: Local"])
        let pair = try TwoNodes.serving(forwarding, clients: (0..<8).map { "outside\($0)" }) { pair in
            try [
                pair.service("far", number: 1, on: ["c"], extras: local),
                pair.service("both", number: 2, on: ["a", "c"], extras: local),
                pair.service("leaving", number: 3, on: ["a", "c"], ["a": .draining], extras: local),
                pair.service("inside-far", number: 4, on: ["c"], extras: inside),
                pair.service("inside-both", number: 5, on: ["a", "c"], extras: inside),
                pair.service("affine", number: 6, on: ["a", "b", "c", "d"], extras: ["sessionAffinity: ClientIP"]),
            ]
        }
        try externalTrafficPolicyLocal(pair)
        try pair.network.serve(from: 0)
        try internalTrafficPolicyLocal(pair)
        try affinityHoldsAClientToItsBackend(pair)
    }

    /// External traffic policy Local: outside clients get this node's endpoints or nothing, and are seen; pods get all.
    private func externalTrafficPolicyLocal(_ pair: TwoNodes) throws {
        // By Service and node, for outside clients; by Service, for pods.
        let rows: [(number: Int, outside: [Set<String>], pods: Set<String>)] = [
            (1, [[], ["c"]], ["c"]),
            (2, [["a"], ["c"]], ["a", "c"]),
            // A node whose only endpoint is terminating has it serve on; elsewhere ready ones come first.
            (3, [["a"], ["c"]], ["c"]),
        ]
        for node in 0..<2 {
            try pair.network.serve(from: node)
            for (number, outside, pods) in rows {
                let service = ServiceManifest("", number: number)
                for family in IPFamily.allCases {
                    for (kind, transport) in Self.external.flatMap({ kind in Self.transports.map { (kind, $0) } }) {
                        let frontend = pair.frontend(service, kind, family, transport, node: node)
                        let (seen, moved) = try pair.nodes[node].moved {
                            try servers(pair.outside, frontend, expecting: outside[node])
                        }
                        #expect(seen == outside[node], "outside to \(frontend) of Service \(number) on node \(node)")
                        #expect((moved(.dropNoLocalEndpoints) > 0) == outside[node].isEmpty)
                        let pod = try pair.host("pod\(node)")
                        #expect(try servers(pod, frontend, expecting: pods) == pods, "\(pod.name) to \(frontend)")
                    }
                    for transport in Self.transports {
                        let clusterIP = pair.frontend(service, .clusterIP, family, transport)
                        let pod = try pair.host("pod\(node)")
                        #expect(try servers(pod, clusterIP, expecting: pods) == pods, "\(pod.name) to \(clusterIP)")
                    }
                }
            }
        }
    }

    /// Internal traffic policy Local: ClusterIPs are served by the node's own endpoints or not at all; nothing else changes.
    private func internalTrafficPolicyLocal(_ pair: TwoNodes) throws {
        let inside: [Int: [Set<String>]] = [4: [[], ["c"]], 5: [["a"], ["c"]]]
        let all: [Int: Set<String>] = [4: ["c"], 5: ["a", "c"]]
        for (number, expected) in inside {
            let service = ServiceManifest("", number: number)
            for (family, transport) in IPFamily.allCases.flatMap({ family in Self.transports.map { (family, $0) } }) {
                for node in 0..<2 {
                    let pod = try pair.host("pod\(node)")
                    let clusterIP = pair.frontend(service, .clusterIP, family, transport)
                    let (seen, moved) = try pair.nodes[node].moved {
                        try servers(pod, clusterIP, expecting: expected[node])
                    }
                    #expect(seen == expected[node], "\(pod.name) to \(clusterIP)")
                    #expect((moved(.dropNoLocalEndpoints) > 0) == expected[node].isEmpty)
                    let nodePort = pair.frontend(service, .nodePort, family, transport, node: node)
                    for client in [pod, pair.outside] {
                        let wanted = try #require(all[number])
                        #expect(
                            try servers(client, nodePort, expecting: wanted) == wanted, "\(client.name) to \(nodePort)")
                    }
                }
            }
        }
    }

    /// Endpoints are chosen by the zone of the node, and anew when its label changes.
    @Test func zonesAreFollowedAsTheNodesLabelChanges() throws {
        let pair = try TwoNodes()
        func label(_ zone: String?) throws {
            try pair.manifests.put(
                "nodes.yaml",
                """
                apiVersion: v1
                kind: Node
                metadata: {name: node0, labels: {\(zone.map { "topology.kubernetes.io/zone: \($0)" } ?? "")}}

                """)
            try pair.settle()
        }
        var service = try pair.service(on: ["a", "c", "d"])
        for (i, zones) in [["east"], ["west"], ["west", "north"]].enumerated() { service.endpoints[i].zones = zones }
        try pair.manifests.put(service)
        try pair.start()
        let rows: [(zone: String?, servers: Set<String>)] = [
            (nil, ["a", "c", "d"]), ("east", ["a"]), ("west", ["c", "d"]), ("north", ["d"]),
            // A zone that no endpoint is for: all are used.
            ("south", ["a", "c", "d"]),
        ]
        func expect(_ what: String, _ expected: Set<String>) throws {
            for family in IPFamily.allCases {
                for (client, kind) in [("pod0", FrontendKind.clusterIP), ("outside", .nodePort)] {
                    let frontend = pair.frontend(service, kind, family, .tcp)
                    let seen = try servers(pair.host(client), frontend, expecting: expected)
                    #expect(seen == expected, "\(what), \(client) to \(frontend)")
                }
            }
        }
        for row in rows {
            try label(row.zone)
            try expect("zone \(row.zone ?? "none")", row.servers)
        }
        // One endpoint for which no zone is said, and none counts.
        try label("east")
        try expect("zone east again", ["a"])
        service.endpoints[1].zones = []
        try pair.apply(service)
        try expect("zone east, without hints for one endpoint", ["a", "c", "d"])
        // The other node has no Node object, so it knows no zone.
        let elsewhere = pair.frontend(service, .clusterIP, .v4, .tcp)
        #expect(try servers(pair.host("pod1"), elsewhere, expecting: ["a", "c", "d"]) == ["a", "c", "d"])
    }

    /// Source ranges guard load balancer addresses, from everybody, and nothing else.
    @Test(arguments: Forwarding.programs) func sourceRanges(_ forwarding: Forwarding) throws {
        let pair = try TwoNodes.serving(forwarding, clients: ["outside", "stranger"]) { pair in
            let (own, own6) = (try pair.outside.address(.v4), try pair.outside.address(.v6))
            let ranges = ["loadBalancerSourceRanges: [\"\(own)/31\", \" \(own6)/127 \"]"]
            return try [
                pair.service("guarded", number: 1, on: ["a", "c"], extras: ranges),
                pair.service("empty", number: 2, on: [], extras: ranges),
                pair.service("only6", number: 3, on: ["a"], extras: ["loadBalancerSourceRanges: [\"\(own6)/128\"]"]),
                pair.service(
                    "open", number: 4, on: ["a"], extras: ["loadBalancerSourceRanges: [\"0.0.0.0/0\", \"::/0\"]"]),
            ]
        }
        let (guarded, empty) = (ServiceManifest("", number: 1), ServiceManifest("", number: 2))
        for (family, transport) in IPFamily.allCases.flatMap({ family in Self.transports.map { (family, $0) } }) {
            let balancer = pair.frontend(guarded, .loadBalancer, family, transport)
            #expect(try servers(pair.outside, balancer, expecting: ["a", "c"]) == ["a", "c"])
            for name in ["stranger", "pod0"] {
                let client = try pair.host(name)
                let (isSilent, moved) = try pair.nodes[0].moved { try client.hearsNothing(from: balancer) }
                #expect(isSilent, "\(name) to \(balancer)")
                #expect(moved(.dropSourceRange) > 0)
                for kind in [FrontendKind.nodePort, .externalIP, .clusterIP] {
                    let other = pair.frontend(guarded, kind, family, transport)
                    #expect(
                        try servers(client, other, expecting: ["a", "c"]) == ["a", "c"], "\(name) to \(kind) \(other)")
                }
                // Without endpoints, those in the range are told so and the others nothing.
                let nobody = pair.frontend(empty, .loadBalancer, family, transport)
                #expect(try client.hearsNothing(from: nobody), "\(name) to \(nobody)")
                let half = pair.frontend(ServiceManifest("", number: 3), .loadBalancer, family, transport)
                #expect(
                    try servers(client, half, expecting: family == .v4 ? ["a"] : []) == (family == .v4 ? ["a"] : []),
                    "\(name) to \(half), which has ranges of IPv6 only")
                let open = pair.frontend(ServiceManifest("", number: 4), .loadBalancer, family, transport)
                #expect(try servers(client, open, expecting: ["a"]) == ["a"])
            }
            let nobody = pair.frontend(empty, .loadBalancer, family, transport)
            try eventually("a refusal") { try pair.outside.outcome(nobody, timeout: .seconds(1)) == .refused }
        }
        // Ranges change while it runs.
        let stranger = try pair.host("stranger")
        for isIn in [true, false] {
            let addresses = [pair.outside] + (isIn ? [stranger] : [])
            let texts = addresses.flatMap(\.addresses).map { "\"\($0)/\($0.family.bitWidth)\"" }
            try pair.apply(
                pair.service(
                    "guarded", number: 1, on: ["a", "c"],
                    extras: ["loadBalancerSourceRanges: [\(texts.joined(separator: ", "))]"]))
            for family in IPFamily.allCases {
                let balancer = pair.frontend(guarded, .loadBalancer, family, .tcp)
                let expected: Set<String> = isIn ? ["a", "c"] : []
                #expect(try servers(stranger, balancer, expecting: expected) == expected)
                #expect(try servers(pair.outside, balancer, expecting: ["a", "c"]) == ["a", "c"])
            }
        }
    }

    /// All frontends of a service port share a client's affinity; each client, family and port has its own.
    private func affinityHoldsAClientToItsBackend(_ pair: TwoNodes) throws {
        let service = ServiceManifest("", number: 6)
        for (family, transport) in IPFamily.allCases.flatMap({ family in Self.transports.map { (family, $0) } }) {
            var used: Set<String> = []
            for client in pair.network.clients + [try pair.host("pod0")] {
                var own: Set<String> = []
                for kind in FrontendKind.allCases {
                    let frontend = pair.frontend(service, kind, family, transport)
                    for _ in 0..<5 {
                        guard case .answered(let server, _) = try client.outcome(frontend) else {
                            Issue.record("\(client.name) to \(frontend) is not answered")
                            continue
                        }
                        own.insert(server)
                    }
                }
                #expect(own.count == 1, "\(client.name), \(family), \(transport): \(own)")
                used.formUnion(own)
            }
            #expect(used.count > 1, "all clients are with \(used)")
        }
    }

    @Test func affinityEndsWithItsBackendOrAfterItsTime() throws {
        func affinity(_ seconds: Int) -> [String] {
            ["sessionAffinity: ClientIP", "sessionAffinityConfig: {clientIP: {timeoutSeconds: \(seconds)}}"]
        }
        let pair = try TwoNodes.serving { [try $0.service(on: ["a", "b", "c", "d"], extras: affinity(10_800))] }
        let frontend = pair.frontend(ServiceManifest("", number: 1), .loadBalancer, .v4, .tcp)
        func one() throws -> String {
            guard case .answered(let server, _) = try pair.outside.outcome(frontend) else {
                throw Unexpected(description: "no answer from \(frontend)")
            }
            return server
        }
        let first = try one()
        // Terminating while others are ready: no longer in the set.
        let states: [String: EndpointState] = [first: .draining]
        try pair.apply(pair.service(on: ["a", "b", "c", "d"], states, extras: affinity(10_800)))
        let second = try one()
        #expect(second != first)
        try pair.apply(pair.service(on: ["a", "b", "c", "d"], extras: affinity(10_800)))
        for _ in 0..<20 { #expect(try one() == second, "it stays though the first is back") }

        // Each new connection begins the time anew.
        try pair.apply(pair.service(on: ["a", "b", "c", "d"], extras: affinity(2)))
        var last = ContinuousClock.now
        var current = try one()
        for _ in 0..<14 {
            pause(.milliseconds(250))
            let now = try one()
            // A machine that had no time for this says nothing.
            if .now - last < .milliseconds(1800) { #expect(now == current) }
            (last, current) = (.now, now)
        }
        try eventually("another backend after the time", within: .seconds(40)) {
            pause(.milliseconds(2300))
            return try one() != current
        }
    }
}
