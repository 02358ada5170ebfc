import Dataplane
import NeedletailABI
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

/// What clients are told when there is nothing to send them to, and pings.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct RefusalTests {
    private static let transports = [TransportProtocol.tcp, .udp]

    @Test(arguments: Forwarding.programs)
    func whatCannotBeServedIsRefusedOrDroppedAsTheTableSays(_ forwarding: Forwarding) throws {
        let pair = try TwoNodes.serving(forwarding) { pair in
            try [
                pair.service("empty", number: 1, on: []),
                pair.service("unready", number: 2, on: ["a", "c"], ["a": .unready, "c": .unready]),
                pair.service("serving", number: 3, on: ["a", "c"]),
                // A policy does not make a drop of a refusal: there is nothing anywhere.
                pair.service(
                    "local", number: 4, on: [],
                    extras: ["externalTrafficPolicy: Local", "internalTrafficPolicy: Local"]
                ),
            ]
        }
        for (family, transport) in IPFamily.allCases.flatMap({ family in Self.transports.map { (family, $0) } }) {
            for name in ["outside", "pod0"] {
                let client = try pair.host(name)
                func expect(
                    _ outcome: Outcome, from frontend: TransportEndpoint, _ counter: DatapathCounter, _ what: String
                ) throws {
                    let limit = Duration.seconds(outcome == .silence ? 0.25 : 3)
                    let (seen, moved) = try pair.nodes[0].moved { try client.outcome(frontend, timeout: limit) }
                    #expect(seen == outcome, "\(name) to \(frontend), \(what)")
                    #expect(moved(counter) > 0, "\(name) to \(frontend), \(what): \(counter.name)")
                }
                for number in [1, 2, 4] {
                    for kind in FrontendKind.allCases {
                        let frontend = pair.frontend(ServiceManifest("", number: number), kind, family, transport)
                        try expect(.refused, from: frontend, .dropNoEndpoints, "\(kind) of Service \(number)")
                    }
                }
                let service = ServiceManifest("", number: 3)
                let clusterIP = service.frontend(.clusterIP, family, transport)
                try expect(
                    .refused, from: TransportEndpoint(clusterIP.address, 81, transport), .dropUnknownPort,
                    "no such port")
                let unallocated = ServiceManifest("", number: 24).frontend(.clusterIP, family, transport)
                try expect(.silence, from: unallocated, .dropUnallocated, "no such ClusterIP")
                #expect(try client.outcome(clusterIP).isAnswer, "\(name) to \(clusterIP)")
            }
        }
        for family in IPFamily.allCases { try addressesWithEndpointsAnswerPings(pair, family) }
    }

    /// Who asks for a ClusterIP or a load balancer's address by ping is answered while it has endpoints.
    private func addressesWithEndpointsAnswerPings(_ pair: TwoNodes, _ family: IPFamily) throws {
        try pair.apply(pair.service("serving", number: 3, on: ["c"]), pair.service("empty", number: 1, on: []))
        let service = ServiceManifest("", number: 3)
        for name in ["outside", "pod0"] {
            let client = try pair.host(name)
            for kind in [FrontendKind.clusterIP, .loadBalancer] {
                #expect(try client.ping(service.frontend(kind, family, .tcp).address), "\(name), \(kind)")
                let empty = ServiceManifest("", number: 1).frontend(kind, family, .tcp).address
                let isAnswered = (try? client.ping(empty, timeout: .milliseconds(200))) ?? false
                #expect(!isAnswered, "\(name), \(kind), without endpoints")
            }
            #expect(try client.ping(pair.network.nodeAddress(0, family)), "\(name): the node itself")
        }
        // It follows the endpoints.
        try pair.apply(pair.service("serving", number: 3, on: []), pair.service("empty", number: 1, on: ["a"]))
        let address = service.frontend(.clusterIP, family, .tcp).address
        let isAnswered = (try? pair.outside.ping(address, timeout: .milliseconds(200))) ?? false
        #expect(!isAnswered)
        #expect(try pair.outside.ping(ServiceManifest("", number: 1).frontend(.clusterIP, family, .tcp).address))
    }
}
