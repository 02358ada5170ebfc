import Manifests
import ServiceModel

let serviceYAML = """
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      uid: 0b5f
      creationTimestamp: 2026-01-31T12:00:00Z
      labels:
        service.kubernetes.io/service-proxy-name:
      annotations: {needletail.io/forwarding: dsr}
    spec:
      type: LoadBalancer
      clusterIPs: [203.0.113.1, "2001:db8::1"]
      externalIPs:
      - 203.0.113.2
      ports:
      - {name: http, port: 80, targetPort: http, nodePort: 30080}
      - name: dns
        protocol: UDP
        port: 53
      externalTrafficPolicy: Local
      internalTrafficPolicy: Local
      sessionAffinity: ClientIP
      sessionAffinityConfig:
        clientIP:
          timeoutSeconds: 600
      loadBalancerSourceRanges: [" 198.18.0.0/15 "]
      healthCheckNodePort: 32000
    status:
      loadBalancer:
        ingress:
        - ip: 203.0.113.3
          ipMode: VIP
        - hostname: lb.example.com

    """

let sliceYAML = """
    apiVersion: discovery.k8s.io/v1
    kind: EndpointSlice
    metadata:
      name: web-1
      namespace: shop
      labels:
        kubernetes.io/service-name: web
    addressType: IPv4
    endpoints:
    - addresses: [198.18.0.1]
      conditions: {ready: true, serving: true, terminating: false}
      nodeName: node-1
      zone: a
      hints:
        forZones: [{name: a}]
        forNodes: [{name: node-1}]
    - addresses: [198.18.0.2, 198.18.0.3]
    ports:
    - port: 8080
    - name: dns
      protocol: UDP
      port: 53

    """

let nodeYAML = """
    apiVersion: v1
    kind: Node
    metadata:
      name: node-1
      labels: {topology.kubernetes.io/zone: a}
    spec:
      podCIDRs: [198.18.1.0/24]
      taints:
      - {key: node.kubernetes.io/unschedulable, effect: NoSchedule}
      - {key: ToBeDeletedByClusterAutoscaler, value: "1769860800", effect: NoSchedule}
    status:
      addresses:
      - {type: Hostname, address: node-1}
      - {type: InternalIP, address: 192.0.2.10}
      - {type: ExternalIP, address: 203.0.113.10}

    """

let serviceCIDRYAML = """
    apiVersion: networking.k8s.io/v1
    kind: ServiceCIDR
    metadata:
      name: kubernetes
    spec:
      cidrs: [203.0.113.0/24, "2001:db8::/112"]

    """

let sampleServiceCIDR = ServiceCIDR(name: "kubernetes", cidrs: ["203.0.113.0/24", "2001:db8::/112"])

let sampleService = Service(
    name: ObjectName(namespace: "default", name: "web"), uid: "0b5f", creationTimestamp: 1_769_860_800, proxyName: "",
    type: .loadBalancer, clusterIP: "203.0.113.1", clusterIPs: ["203.0.113.1", "2001:db8::1"],
    ipFamilies: ["IPv4", "IPv6"], externalIPs: ["203.0.113.2"],
    ports: [
        ServicePort(name: "http", port: 80, nodePort: 30080), ServicePort(name: "dns", protocolName: "UDP", port: 53),
    ], externalTrafficPolicy: .local, internalTrafficPolicy: .local, sessionAffinity: .clientIP(timeoutSeconds: 600),
    loadBalancerIngress: [
        LoadBalancerIngress(ip: "203.0.113.3", ipMode: "VIP"), LoadBalancerIngress(hostname: "lb.example.com"),
    ], loadBalancerSourceRanges: ["198.18.0.0/15"], healthCheckNodePort: 32000,
    forwarding: "dsr")

let sampleSlice = EndpointSlice(
    name: ObjectName(namespace: "shop", name: "web-1"), serviceName: "web", addressType: "IPv4",
    endpoints: [
        Endpoint(
            addresses: ["198.18.0.1"],
            conditions: EndpointConditions(ready: true, serving: true, terminating: false), nodeName: "node-1",
            zone: "a", forZones: ["a"], forNodes: ["node-1"]),
        Endpoint(addresses: ["198.18.0.2", "198.18.0.3"]),
    ], ports: [EndpointPort(port: 8080), EndpointPort(name: "dns", protocolName: "UDP", port: 53)])

let sampleNode = Node(
    name: "node-1", internalIPs: ["192.0.2.10"], externalIPs: ["203.0.113.10"], zone: "a", podCIDRs: ["198.18.1.0/24"],
    taints: ["node.kubernetes.io/unschedulable", "ToBeDeletedByClusterAutoscaler"])

func parse(_ text: String) throws(ManifestProblem) -> ParsedManifest {
    try ManifestParser().parse(Array(text.utf8), file: "test.yaml")
}

func objects(_ text: String) throws -> [CatalogObject] { try parse(text).items.map(\.object) }

/// What is wrong with a text; `nil` if nothing is.
func problem(_ text: String) -> ManifestProblem? {
    do throws(ManifestProblem) {
        _ = try parse(text)
        return nil
    } catch {
        return error
    }
}

/// A Service with one port, named `name`.
func smallService(_ name: String, port: String = "80") -> String {
    """
    apiVersion: v1
    kind: Service
    metadata:
      name: \(name)
    spec:
      clusterIP: 203.0.113.1
      ports:
      - port: \(port)

    """
}
