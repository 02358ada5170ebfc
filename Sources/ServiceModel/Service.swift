/// What a proxy needs to know of a v1 Service.
///
/// Addresses, port numbers and protocols are kept as the object holds them: a stored object may carry legacy or invalid
/// values, and only whoever resolves it decides what they mean and reports what is wrong.
public struct Service: Sendable, Hashable {
    /// Namespace and name.
    public var name: ObjectName
    /// `metadata.uid`.
    public var uid: String?
    /// `metadata.creationTimestamp` in seconds since 1970, UTC.
    public var creationTimestamp: Int64?
    /// Value of the label `service.kubernetes.io/service-proxy-name`; an empty value counts, `nil` is no such label.
    public var proxyName: String?
    /// `spec.type`.
    public var type: ServiceType
    /// `spec.clusterIP`: an address, `None` (headless) or empty.
    public var clusterIP: String
    /// `spec.clusterIPs`, in step with ``ipFamilies``.
    public var clusterIPs: [String]
    /// `spec.ipFamilies`: `IPv4`, `IPv6`.
    public var ipFamilies: [String]
    /// `spec.externalIPs`.
    public var externalIPs: [String]
    /// `spec.ports`.
    public var ports: [ServicePort]
    /// `spec.externalTrafficPolicy`.
    public var externalTrafficPolicy: TrafficPolicy
    /// `spec.internalTrafficPolicy`.
    public var internalTrafficPolicy: TrafficPolicy
    /// `spec.sessionAffinity` with its configuration.
    public var sessionAffinity: SessionAffinity
    /// `status.loadBalancer.ingress`.
    public var loadBalancerIngress: [LoadBalancerIngress]
    /// `spec.loadBalancerSourceRanges`.
    public var loadBalancerSourceRanges: [String]
    /// `spec.healthCheckNodePort`; 0 is none.
    public var healthCheckNodePort: Int
    /// Value of the annotation ``forwardingAnnotation``; `nil` is no such annotation.
    public var forwarding: String?

    /// How outside traffic of the Service reaches remote backends: `snat` or `dsr`.
    public static let forwardingAnnotation = "needletail.io/forwarding"

    /// A Service; everything not given has the API server's default.
    public init(
        name: ObjectName, uid: String? = nil, creationTimestamp: Int64? = nil, proxyName: String? = nil,
        type: ServiceType = .clusterIP, clusterIP: String = "", clusterIPs: [String] = [], ipFamilies: [String] = [],
        externalIPs: [String] = [], ports: [ServicePort] = [], externalTrafficPolicy: TrafficPolicy = .cluster,
        internalTrafficPolicy: TrafficPolicy = .cluster, sessionAffinity: SessionAffinity = .none,
        loadBalancerIngress: [LoadBalancerIngress] = [], loadBalancerSourceRanges: [String] = [],
        healthCheckNodePort: Int = 0, forwarding: String? = nil
    ) {
        self.name = name
        self.uid = uid
        self.creationTimestamp = creationTimestamp
        self.proxyName = proxyName
        self.type = type
        self.clusterIP = clusterIP
        self.clusterIPs = clusterIPs
        self.ipFamilies = ipFamilies
        self.externalIPs = externalIPs
        self.ports = ports
        self.externalTrafficPolicy = externalTrafficPolicy
        self.internalTrafficPolicy = internalTrafficPolicy
        self.sessionAffinity = sessionAffinity
        self.loadBalancerIngress = loadBalancerIngress
        self.loadBalancerSourceRanges = loadBalancerSourceRanges
        self.healthCheckNodePort = healthCheckNodePort
        self.forwarding = forwarding
    }
}

/// `spec.type`. A struct, so that a type a later API adds is carried and not lost.
public struct ServiceType: RawRepresentable, Sendable, Hashable {
    /// The API's text.
    public let rawValue: String

    /// Any text.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// `ClusterIP`.
    public static let clusterIP = ServiceType(rawValue: "ClusterIP")
    /// `NodePort`.
    public static let nodePort = ServiceType(rawValue: "NodePort")
    /// `LoadBalancer`.
    public static let loadBalancer = ServiceType(rawValue: "LoadBalancer")
    /// `ExternalName`: never proxied.
    public static let externalName = ServiceType(rawValue: "ExternalName")
}

/// `spec.internalTrafficPolicy` or `spec.externalTrafficPolicy`.
public enum TrafficPolicy: String, Sendable, Hashable {
    /// Any endpoint of the cluster.
    case cluster = "Cluster"
    /// Only endpoints on the node.
    case local = "Local"
}

/// `spec.sessionAffinity`.
public enum SessionAffinity: Sendable, Hashable {
    /// Each connection is balanced by itself.
    case none
    /// A client address sticks to its backend until `timeoutSeconds` after its last new connection.
    case clientIP(timeoutSeconds: Int)

    /// The API's default timeout, three hours.
    public static let defaultTimeoutSeconds = 10_800
}

/// One of `spec.ports`.
public struct ServicePort: Sendable, Hashable {
    /// The name that joins it to EndpointSlice ports; may be empty.
    public var name: String
    /// `TCP`, `UDP` or `SCTP`.
    public var protocolName: String
    /// The port of every frontend but the NodePort; valid from 1 to 65535.
    public var port: Int
    /// The NodePort; 0 is none.
    public var nodePort: Int

    /// A port; TCP and without a NodePort unless said otherwise.
    public init(name: String = "", protocolName: String = "TCP", port: Int, nodePort: Int = 0) {
        self.name = name
        self.protocolName = protocolName
        self.port = port
        self.nodePort = nodePort
    }
}

/// One of `status.loadBalancer.ingress`.
public struct LoadBalancerIngress: Sendable, Hashable {
    /// The address, if the load balancer has one.
    public var ip: String?
    /// `ipMode`: `VIP` (also when `nil`) is balanced by the nodes, `Proxy` is not.
    public var ipMode: String?
    /// The host name, if the load balancer has one.
    public var hostname: String?

    /// Puts the three together.
    public init(ip: String? = nil, ipMode: String? = nil, hostname: String? = nil) {
        self.ip = ip
        self.ipMode = ipMode
        self.hostname = hostname
    }
}
