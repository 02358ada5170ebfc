import NetTypes
import Resolver
import ServiceModel
import Testing

/// Which endpoints are chosen: sections 2.3 to 2.5.
@Suite struct CategorizeTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let endpoints: String
        var `internal` = TrafficPolicy.cluster
        var external = TrafficPolicy.cluster
        let clusterIP: String
        let fromOutside: String
        let shortCircuit: String
        var testDescription: String { "\(endpoints) iTP=\(`internal`) eTP=\(external)" }
    }

    static let rows = [
        Row(endpoints: "1L 2R", clusterIP: "1 2", fromOutside: "1 2", shortCircuit: "1 2"),
        Row(endpoints: "", clusterIP: "noEndpoints", fromOutside: "noEndpoints", shortCircuit: "noEndpoints"),
        Row(
            endpoints: "1Ln 2Ru 3Rd", clusterIP: "noEndpoints", fromOutside: "noEndpoints", shortCircuit: "noEndpoints"),
        Row(endpoints: "1Lt 2R 3Rn", clusterIP: "2", fromOutside: "2", shortCircuit: "2"),
        Row(endpoints: "1Lt 2Rt 3Rd 4Rn", clusterIP: "1 2", fromOutside: "1 2", shortCircuit: "1 2"),
        Row(endpoints: "1Lp 2Ru", clusterIP: "1", fromOutside: "1", shortCircuit: "1"),
        // internalTrafficPolicy binds the ClusterIP alone.
        Row(endpoints: "1L 2R", internal: .local, clusterIP: "1", fromOutside: "1 2", shortCircuit: "1 2"),
        Row(
            endpoints: "2R", internal: .local, clusterIP: "noLocalEndpointsInternal", fromOutside: "2",
            shortCircuit: "2"),
        Row(endpoints: "1Lt 2R", internal: .local, clusterIP: "1", fromOutside: "2", shortCircuit: "2"),
        Row(
            endpoints: "1Ld 2Rt", internal: .local, clusterIP: "noLocalEndpointsInternal", fromOutside: "2",
            shortCircuit: "2"),
        Row(
            endpoints: "1Ln", internal: .local, clusterIP: "noEndpoints", fromOutside: "noEndpoints",
            shortCircuit: "noEndpoints"),
        // externalTrafficPolicy binds the others alone, and only traffic from outside.
        Row(endpoints: "1L 2R", external: .local, clusterIP: "1 2", fromOutside: "1", shortCircuit: "1 2"),
        Row(
            endpoints: "2R", external: .local, clusterIP: "2", fromOutside: "noLocalEndpointsExternal",
            shortCircuit: "2"),
        Row(endpoints: "1Lt 2Lt 3R", external: .local, clusterIP: "3", fromOutside: "1 2", shortCircuit: "3"),
        Row(endpoints: "1Lt 2L 3R", external: .local, clusterIP: "2 3", fromOutside: "2", shortCircuit: "2 3"),
        Row(
            endpoints: "", external: .local, clusterIP: "noEndpoints", fromOutside: "noEndpoints",
            shortCircuit: "noEndpoints"),
        Row(
            endpoints: "1L 2R", internal: .local, external: .local, clusterIP: "1", fromOutside: "1",
            shortCircuit: "1 2"),
        Row(
            endpoints: "2Rt", internal: .local, external: .local, clusterIP: "noLocalEndpointsInternal",
            fromOutside: "noLocalEndpointsExternal", shortCircuit: "2"),
        // Topology: by level, over ready endpoints only, never for local sets.
        Row(endpoints: "1R@a 2R@b", clusterIP: "1", fromOutside: "1", shortCircuit: "1"),
        Row(endpoints: "1R@a,b 2R@b", clusterIP: "1", fromOutside: "1", shortCircuit: "1"),
        Row(endpoints: "1R@a 2R", clusterIP: "1 2", fromOutside: "1 2", shortCircuit: "1 2"),
        Row(endpoints: "1R@b 2R@c", clusterIP: "1 2", fromOutside: "1 2", shortCircuit: "1 2"),
        Row(endpoints: "1R@a 2Rn 3Rt 4R@b", clusterIP: "1", fromOutside: "1", shortCircuit: "1"),
        Row(endpoints: "1L@a#node-1 2R@a#node-2", clusterIP: "1", fromOutside: "1", shortCircuit: "1"),
        Row(endpoints: "1L@a 2R@a#node-1 3R@b", clusterIP: "1 2", fromOutside: "1 2", shortCircuit: "1 2"),
        Row(endpoints: "1R@a#node-2 2R@b#node-2", clusterIP: "1", fromOutside: "1", shortCircuit: "1"),
        Row(endpoints: "1Lt@b 2Rt@a", clusterIP: "1 2", fromOutside: "1 2", shortCircuit: "1 2"),
        Row(endpoints: "1L@b 2R@a", external: .local, clusterIP: "2", fromOutside: "1", shortCircuit: "2"),
    ]

    @Test(arguments: rows) func sets(_ row: Row) throws {
        var service = fullService()
        service.internalTrafficPolicy = row.internal
        service.externalTrafficPolicy = row.external
        let slices = [slice(row.endpoints.split(separator: " ").map(String.init))]
        let resolved = resolver.resolve(service, slices: slices, context: context)
        let clusterIP = try #require(resolved.frontend(.clusterIP))
        #expect(clusterIP.internal.short == row.clusterIP)
        #expect(clusterIP.external == clusterIP.internal)
        for kind in [FrontendKind.externalIP, .loadBalancer, .nodePort] {
            let frontend = try #require(resolved.frontend(kind))
            #expect(frontend.external.short == row.fromOutside, "\(kind)")
            #expect(frontend.internal.short == row.shortCircuit, "\(kind)")
        }
    }

    @Test(arguments: ["2R", "2Rt", "1Ln 2Rt"]) func internalLocalAloneNeedsNoClusterSet(_ endpoints: String) throws {
        var service = plainService()
        service.internalTrafficPolicy = .local
        let slices = [slice(endpoints.split(separator: " ").map(String.init))]
        let resolved = resolver.resolve(service, slices: slices, context: context)
        #expect(try #require(resolved.frontend(.clusterIP)).internal.short == "noLocalEndpointsInternal")
    }

    @Test func externalPolicyCountsOnlyWhereThereIsExternalTraffic() throws {
        var service = plainService()
        service.externalTrafficPolicy = .local
        service.loadBalancerIngress = [LoadBalancerIngress(ip: "203.0.113.3")]
        var resolved = resolver.resolve(service, slices: [slice(["1L", "2R"])], context: context)
        #expect(try #require(resolved.frontend(.loadBalancer)).external.short == "1 2")
        service.externalIPs = ["203.0.113.2"]
        resolved = resolver.resolve(service, slices: [slice(["1L", "2R"])], context: context)
        #expect(try #require(resolved.frontend(.loadBalancer)).external.short == "1")
    }

    @Test func withoutNameOrZoneNothingIsLocalOrNear() throws {
        let nobody = NodeContext(nodeName: "")
        var nameless = slice(["1R@a", "2R@b"])
        nameless.endpoints[0].nodeName = ""
        var service = fullService()
        service.externalTrafficPolicy = .local
        let resolved = resolver.resolve(service, slices: [nameless], context: nobody)
        #expect(try #require(resolved.frontend(.clusterIP)).internal.short == "1 2")
        #expect(try #require(resolved.frontend(.loadBalancer)).external.short == "noLocalEndpointsExternal")
    }

    @Test func refusalsThatTellAndThatDoNot() {
        #expect(Refusal.noEndpoints.verdict == .reject)
        for refusal in [Refusal.loopback, .noLocalEndpointsExternal, .noLocalEndpointsInternal] {
            #expect(refusal.verdict == .drop)
        }
    }

    @Test func notesSayWhy() {
        let port = ServicePortName(service: web, port: "", transport: .tcp)
        let zone = resolver.resolve(plainService(), slices: [slice(["1R@a", "2R@b"])], context: context)
        #expect(zone.notes == [.topology(port, .v4, .sameZone)])
        let dying = resolver.resolve(plainService(), slices: [slice(["1Lt", "2Rt"])], context: context)
        #expect(dying.notes == [.terminatingFallback(port, .v4, .cluster)])
    }
}
