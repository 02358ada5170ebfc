import NetTypes
import Resolver
import ServiceModel
import TestSupport

/// Services and endpoints that come, change and go, as a cluster has them.
struct ClusterGenerator {
    struct Port: Hashable {
        var name: String
        var transport: TransportProtocol
        var port: Int
        var nodePort: Int
        var targetPort: Int
    }

    struct Pod: Hashable {
        var group: Int
        var number: Int
        var isReady = true
        var isServing = true
        var isTerminating = false
    }

    struct Workload {
        var number: Int
        var families: [IPFamily]
        var ports: [Port]
        var hasLoadBalancer: Bool
        var hasExternalIP: Bool
        var externalLocal: Bool
        var internalLocal: Bool
        var affinity: Int?
        var ranges: [String]
        var isDSR: Bool
        var pods: [Pod]
    }

    static let nodeName = "node"
    /// On the node's own network: group 6.
    static let hostNetwork = 6
    private(set) var workloads: [Int: Workload] = [:]
    let options: Resolver.Options

    init(masquerade: MasqueradeMode) { options = Resolver.Options(masquerade: masquerade) }

    var context: NodeContext {
        NodeContext(
            nodeName: Self.nodeName, zone: "a",
            nodePortAddresses: IPFamily.allCases.map { TestNode.link($0, 0, 1) },
            nodeAddresses: IPFamily.allCases.map { TestNode.link($0, 0, 1) })
    }

    // MARK: Addresses

    static func clusterIP(_ number: Int, _ family: IPFamily) -> IPAddress {
        family == .v4
            ? IPAddress(v4: 0xC613_0000 + UInt32(number + 1))
            : IPAddress(v6: 0x2001_0DB8_000F_0000 << 64 | UInt128(number + 1))
    }

    static func loadBalancerIP(_ number: Int, _ family: IPFamily) -> IPAddress {
        family == .v4
            ? IPAddress(v4: 0xC613_6400 + UInt32(number + 1))
            : IPAddress(v6: 0x2001_0DB8_000E_0000 << 64 | UInt128(number + 1))
    }

    static func externalIP(_ number: Int, _ family: IPFamily) -> IPAddress {
        family == .v4
            ? IPAddress(v4: 0xC613_6500 + UInt32(number + 1))
            : IPAddress(v6: 0x2001_0DB8_000D_0000 << 64 | UInt128(number + 1))
    }

    static func address(_ pod: Pod, _ family: IPFamily) -> IPAddress {
        pod.group == hostNetwork ? TestNode.link(family, 0, 1) : TestNode.pod(family, pod.group, pod.number)
    }

    // MARK: Changes

    mutating func mutate(_ random: inout SeededGenerator) {
        let number = random.below(8)
        guard var workload = workloads[number] else {
            workloads[number] = create(number, &random)
            return
        }
        switch random.below(12) {
        case 0 where workloads.count > 4: workloads[number] = nil
        case 0, 1: workloads[number] = create(number, &random)
        case 2: workload.externalLocal.toggle()
        case 3: workload.internalLocal.toggle()
        case 4: workload.affinity = workload.affinity == nil ? 60 : nil
        case 5: workload.ranges = Self.ranges(&random)
        case 6: workload.pods = []
        case 7, 8: workload.pods.append(Self.pod(&random))
        case 9 where !workload.pods.isEmpty: workload.pods.remove(at: random.below(workload.pods.count))
        default:
            guard !workload.pods.isEmpty else { break }
            let index = random.below(workload.pods.count)
            switch random.below(4) {
            case 0: workload.pods[index].isReady.toggle()
            case 1: workload.pods[index].isServing.toggle()
            default:
                workload.pods[index].isTerminating.toggle()
                workload.pods[index].isReady = !workload.pods[index].isTerminating
            }
        }
        if workloads[number] != nil, workloads[number]?.ports == workload.ports { workloads[number] = workload }
    }

    private static func pod(_ random: inout SeededGenerator) -> Pod {
        let group = [0, 0, 0, 1, 1, 2, 3, 4, 5, hostNetwork][random.below(10)]
        return Pod(group: group, number: random.below(3))
    }

    private static func ranges(_ random: inout SeededGenerator) -> [String] {
        [[], [], ["203.0.113.0/26", "2001:db8:c::/64"], ["203.0.113.64/26", "198.18.0.10/32", "2001:db8:c:1::/64"]][
            random.below(4)]
    }

    private func create(_ number: Int, _ random: inout SeededGenerator) -> Workload {
        let transports: [TransportProtocol] = [[.tcp], [.udp], [.tcp, .udp]][random.below(3)]
        let hasNodePort = random.below(2) == 0
        return Workload(
            number: number, families: [[.v4], [.v6], [.v4, .v6], [.v6, .v4]][random.below(4)],
            ports: transports.map {
                Port(
                    name: $0 == .tcp ? "t" : "u", transport: $0, port: 80,
                    nodePort: hasNodePort ? 30_000 + number : 0, targetPort: random.below(3) == 0 ? 80 : 8080)
            },
            hasLoadBalancer: random.below(2) == 0, hasExternalIP: random.below(4) == 0,
            externalLocal: random.below(3) == 0, internalLocal: random.below(4) == 0,
            affinity: random.below(3) == 0 ? 60 : nil, ranges: Self.ranges(&random), isDSR: random.below(4) == 0,
            pods: (0..<random.below(6)).map { _ in Self.pod(&random) })
    }

    // MARK: Objects

    func resolved() -> DesiredState {
        let resolver = Resolver(options: options)
        return resolver.merge(
            workloads.values.sorted { $0.number < $1.number }.map {
                resolver.resolve($0.service, slices: $0.slices, context: context)
            })
    }
}

extension ClusterGenerator.Workload {
    private var name: ObjectName { ObjectName(namespace: "test", name: "s\(number)") }

    var service: Service {
        Service(
            name: name, type: hasLoadBalancer ? .loadBalancer : ports[0].nodePort != 0 ? .nodePort : .clusterIP,
            clusterIP: ClusterGenerator.clusterIP(number, families[0]).description,
            clusterIPs: families.map { ClusterGenerator.clusterIP(number, $0).description },
            ipFamilies: families.map { $0 == .v4 ? "IPv4" : "IPv6" },
            externalIPs: hasExternalIP
                ? families.map { ClusterGenerator.externalIP(number, $0).description } : [],
            ports: ports.map {
                ServicePort(
                    name: $0.name, protocolName: $0.transport.description, port: $0.port, nodePort: $0.nodePort)
            },
            externalTrafficPolicy: externalLocal ? .local : .cluster,
            internalTrafficPolicy: internalLocal ? .local : .cluster,
            sessionAffinity: affinity.map { .clientIP(timeoutSeconds: $0) } ?? .none,
            loadBalancerIngress: hasLoadBalancer
                ? families.map { LoadBalancerIngress(ip: ClusterGenerator.loadBalancerIP(number, $0).description) }
                : [],
            loadBalancerSourceRanges: ranges, forwarding: isDSR ? "dsr" : nil)
    }

    var slices: [EndpointSlice] {
        families.map { family in
            EndpointSlice(
                name: ObjectName(namespace: "test", name: "s\(number)-\(family.rawValue)"), serviceName: name.name,
                addressType: family == .v4 ? "IPv4" : "IPv6",
                endpoints: pods.map { pod in
                    // A pod here that the cluster does not say is here: its route tells.
                    let isKnown = pod.group == 0 && pod.number != 2 || pod.group == ClusterGenerator.hostNetwork
                    return Endpoint(
                        addresses: [ClusterGenerator.address(pod, family).description],
                        conditions: EndpointConditions(
                            ready: pod.isReady, serving: pod.isServing, terminating: pod.isTerminating),
                        nodeName: isKnown ? ClusterGenerator.nodeName : "elsewhere")
                },
                ports: ports.map {
                    EndpointPort(name: $0.name, protocolName: $0.transport.description, port: $0.targetPort)
                })
        }
    }
}
