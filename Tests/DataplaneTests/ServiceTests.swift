import Dataplane
import NeedletailABI
import NetTypes
import PacketKit
import Resolver
import ServiceModel
import TestSupport
import Testing

/// From a Service and its EndpointSlices to packets.
@Suite(.needsRoot) struct ServiceTests {
    /// A Service of this scene's family with its frontend 1 as ClusterIP, 2 as load balancer, 3 as node address.
    private func objects(_ scene: Scene, _ policy: TrafficPolicy, _ endpoints: [Endpoint]) -> [CatalogEvent] {
        let name = ObjectName(namespace: "default", name: "web")
        let address = { (number: Int) in scene.frontend(number).address.description }
        let service = Service(
            name: name, type: .loadBalancer, clusterIP: address(1), clusterIPs: [address(1)],
            ipFamilies: ["IP\(scene.family)"],
            ports: [ServicePort(protocolName: scene.transport.description, port: 80, nodePort: 30_080)],
            externalTrafficPolicy: policy, loadBalancerIngress: [LoadBalancerIngress(ip: address(2))])
        let slice = EndpointSlice(
            name: ObjectName(namespace: "default", name: "web-1"), serviceName: "web",
            addressType: "IP\(scene.family)", endpoints: endpoints,
            ports: [EndpointPort(protocolName: scene.transport.description, port: 8080)])
        return [.upsert(.service(service)), .upsert(.endpointSlice(slice)), .synced]
    }

    private func apply(_ events: [CatalogEvent], _ scene: Scene, to lab: Lab) throws {
        var catalog = Catalog()
        _ = catalog.apply(events)
        let context = NodeContext(nodeName: "here", nodePortAddresses: [scene.frontend(3).address])
        let desired = Resolver().resolve(catalog, context: context)
        try #require(desired.problems == [])
        try lab.serve(Array(desired.frontends.values), alsoServing: desired.backends)
    }

    @Test(arguments: Scene.all)
    func aServiceWithALocalAndARemoteEndpoint(_ scene: Scene) throws {
        try Lab.withLab { lab in
            let endpoints = [
                Endpoint(addresses: [scene.backend(1).address.description], nodeName: "here"),
                Endpoint(addresses: [scene.backend(2).address.description], nodeName: "there"),
            ]
            try apply(objects(scene, .cluster, endpoints), scene, to: lab)
            let nodePort = TransportEndpoint(scene.frontend(3).address, 30_080, scene.transport)
            for frontend in [scene.frontend(1), scene.frontend(2), nodePort] {
                var reached: Set<TransportEndpoint> = []
                for port in UInt16(1)...40 {
                    let request = scene.request(from: scene.client(port: port), to: frontend)
                    let outcome = try lab.run(request.bytes, in: scene.ingress)
                    // From outside a remote backend needs a way there, and this node has none.
                    let isCut = scene.scope == .external && outcome.verdict == scene.ingress.drop
                    let backend = try #require(PacketDissection(outcome.output).destination)
                    reached.insert(isCut ? scene.backend(2) : backend)
                    #expect(outcome.verdict == scene.ingress.pass || isCut)
                }
                #expect(reached == [scene.backend(1), scene.backend(2)], "\(frontend)")
            }
        }
    }

    @Test(
        "externalTrafficPolicy: Local without a local endpoint drops from outside; without any it refuses all",
        arguments: Scene.all)
    func localPolicy(_ scene: Scene) throws {
        try Lab.withLab { lab in
            let remote = Endpoint(addresses: [scene.backend(2).address.description], nodeName: "there")
            try apply(objects(scene, .local, [remote]), scene, to: lab)
            let request = scene.request(to: scene.frontend(2))
            if scene.scope == .external {
                try lab.expect(request, in: scene.ingress, .dropped, .dropNoLocalEndpoints)
            } else {
                try lab.expect(request, in: scene.ingress, .becomes(request.sent(to: scene.backend(2))), .forwardNew)
            }
            try apply(objects(scene, .local, []), scene, to: lab)
            let other = scene.request(from: scene.client(2), to: scene.frontend(2))
            try lab.beAbleToAnswer()
            try lab.expect(
                other, in: scene.ingress, .answered(scene.refusal(of: other)), .dropNoEndpoints,
                scene.refusalCounter)
        }
    }
}
