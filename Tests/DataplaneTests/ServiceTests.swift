import Dataplane
import NeedletailABI
import NetLab
import NetTypes
import Netlink
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

    @Test(
        "A local and a remote endpoint are both reached; from outside the remote one in the node's name",
        arguments: Scene.all)
    func aLocalAndARemoteEndpoint(_ scene: Scene) throws {
        let topology = try Topology(podNames: ["pod"])
        let device = try topology.node.device("ntpod")
        let (local, remote) = (scene.backend(1), scene.backend(2))
        let (node, mac) = (scene.client(78).address, try #require(MACAddress("02:00:00:00:00:99")))
        try topology.node.addRoute(
            to: #require(CIDR(remote.address, length: scene.family.bitWidth)), device: "ntpod")
        try topology.node.namespace.withNetlink {
            try $0.addNeighbor(remote.address, at: mac, interface: device.index)
        }
        let endpoints = [
            Endpoint(addresses: [local.address.description], nodeName: "here"),
            Endpoint(addresses: [remote.address.description], nodeName: "there"),
        ]
        let nodePort = TransportEndpoint(scene.frontend(3).address, 30_080, scene.transport)
        try topology.node.namespace.run {
            try Lab.withLab { lab in
                try lab.setDevice(device.index, NT_DEVICE_EXTERNAL | NT_DEVICE_XDP, node)
                try apply(objects(scene, .cluster, endpoints), scene, to: lab)
                for (number, frontend) in [scene.frontend(1), scene.frontend(2), nodePort].enumerated() {
                    var reached: Set<TransportEndpoint> = []
                    // Each its own: two frontends' flows from one port would clash at their backend.
                    for port in (1...40).map({ UInt16(100 * number + $0) }) {
                        let request = scene.request(from: scene.client(port: port), to: frontend)
                        let backend = try lab.choice(scene.client(port: port), frontend, scene.scope)
                        reached.insert(backend)
                        guard scene.scope == .external, backend == remote else {
                            try lab.expect(
                                request, in: scene.ingress, .becomes(request.sent(to: backend)), .forwardNew)
                            continue
                        }
                        let outcome = try lab.run(request.bytes, in: scene.ingress)
                        #expect(outcome.verdict == scene.ingress.redirect)
                        #expect(outcome.counted == [scene.ingress: [.forwardNew: 1]])
                        let source = try #require(PacketDissection(outcome.output).source)
                        #expect(Lab.settings.natPorts.contains(source.port))
                        let wanted = request.readdressed(
                            from: TransportEndpoint(node, source.port, scene.transport), to: remote
                        )
                        .withIP { $0.hopLimit -= 1 }
                        .withLink { $0.destination = mac.bytes }
                        .withLink { $0.source = device.hardwareAddress?.bytes ?? [] }
                        #expect(
                            outcome.output == wanted.bytes,
                            "\(PacketDiff(expected: wanted.bytes, actual: outcome.output))")
                    }
                    #expect(reached == [local, remote], "\(frontend)")
                }
            }
        }
    }

    @Test(
        "externalTrafficPolicy: Local without a local endpoint drops from outside; without any it refuses all",
        arguments: Scene.all)
    func localPolicy(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
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
            try lab.expectRefusal(of: other, scene)
        }
    }
}
