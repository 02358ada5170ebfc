import NetTypes
import PacketKit
import ReferenceModel
import Resolver
import ServiceModel

/// Services for scripted lives, each with one port of both transports, served by one endpoint here or elsewhere.
struct ScriptedService {
    let number: Int
    let family: IPFamily
    /// The endpoint is a pod of this node.
    let isNear: Bool
    var externalTrafficPolicy = TrafficPolicy.cluster

    static let transports = [TransportProtocol.tcp, .udp]

    var backend: IPAddress { TestNode.pod(family, isNear ? 0 : 3, 1) }

    /// What clients address, by kind.
    func frontend(_ kind: FrontendKind, _ transport: TransportProtocol) -> TransportEndpoint {
        switch kind {
        case .clusterIP: TransportEndpoint(ClusterGenerator.clusterIP(number, family), 80, transport)
        case .nodePort: TransportEndpoint(TestNode.link(family, 0, 1), UInt16(30_000 + number), transport)
        case .loadBalancer: TransportEndpoint(ClusterGenerator.loadBalancerIP(number, family), 80, transport)
        case .externalIP: TransportEndpoint(ClusterGenerator.externalIP(number, family), 80, transport)
        }
    }

    private var name: ObjectName { ObjectName(namespace: "test", name: "s\(number)") }

    var service: Service {
        Service(
            name: name, type: .loadBalancer, clusterIP: "\(ClusterGenerator.clusterIP(number, family))",
            clusterIPs: ["\(ClusterGenerator.clusterIP(number, family))"],
            ipFamilies: [family == .v4 ? "IPv4" : "IPv6"],
            externalIPs: ["\(ClusterGenerator.externalIP(number, family))"],
            ports: Self.transports.map {
                ServicePort(
                    name: "\($0)".lowercased(), protocolName: "\($0)", port: 80, nodePort: 30_000 + number)
            },
            externalTrafficPolicy: externalTrafficPolicy,
            loadBalancerIngress: [LoadBalancerIngress(ip: "\(ClusterGenerator.loadBalancerIP(number, family))")])
    }

    var slice: EndpointSlice {
        EndpointSlice(
            name: ObjectName(namespace: "test", name: "s\(number)-0"), serviceName: name.name,
            addressType: family == .v4 ? "IPv4" : "IPv6",
            endpoints: [
                Endpoint(
                    addresses: ["\(backend)"],
                    conditions: EndpointConditions(ready: true, serving: true, terminating: false),
                    nodeName: isNear ? ClusterGenerator.nodeName : "elsewhere")
            ],
            ports: Self.transports.map {
                EndpointPort(name: "\($0)".lowercased(), protocolName: "\($0)", port: 8080)
            })
    }

    static func resolved(_ services: [ScriptedService], _ mode: MasqueradeMode) -> DesiredState {
        let cluster = ClusterGenerator(masquerade: mode)
        let resolver = Resolver(options: cluster.options)
        return resolver.merge(
            services.map { resolver.resolve($0.service, slices: [$0.slice], context: cluster.context) })
    }
}
