internal import NetTypes
internal import ServiceModel

/// What of an object's `metadata` anything is made of.
struct ObjectMetadata {
    /// Labels that mean something to a proxy.
    enum Label {
        case proxyName
        case serviceName
        case headless
        case zone

        static func find(_ key: RawSpan) -> Label? {
            if key.equals("kubernetes.io/service-name") { return .serviceName }
            if key.equals("service.kubernetes.io/service-proxy-name") { return .proxyName }
            if key.equals("service.kubernetes.io/headless") { return .headless }
            if key.equals("topology.kubernetes.io/zone") { return .zone }
            return nil
        }
    }

    /// Annotations that mean something to a proxy, or to a watch.
    enum Annotation {
        case forwarding
        case lastChangeTriggerTime
        case initialEventsEnd

        static func find(_ key: RawSpan) -> Annotation? {
            if key.equals("endpoints.kubernetes.io/last-change-trigger-time") { return .lastChangeTriggerTime }
            if key.equals("needletail.io/forwarding") { return .forwarding }
            if key.equals("k8s.io/initial-events-end") { return .initialEventsEnd }
            return nil
        }
    }

    var name = ""
    var namespace = ""
    var uid = ""
    var resourceVersion = ""
    var creationTimestamp: Int64?
    var isBeingDeleted = false
    var proxyName: String?
    var serviceName: String?
    var isHeadless = false
    var zone: String?
    var forwarding: String?
    var lastChangeTriggerTime: Int64?
    var endsInitialEvents = false

    mutating func set(_ label: Label, _ value: String) {
        switch label {
        case .proxyName: proxyName = value
        case .serviceName: serviceName = value
        case .headless: isHeadless = true
        case .zone: zone = value
        }
    }

    mutating func set(_ annotation: Annotation, _ value: String) {
        switch annotation {
        case .forwarding: forwarding = value
        case .lastChangeTriggerTime: lastChangeTriggerTime = RFC3339Time(value)?.nanosecondsSince1970
        case .initialEventsEnd: endsInitialEvents = value == "true"
        }
    }

    /// The object's name; `nil` while it is not known.
    func objectName(_ kind: ObjectKind) -> ObjectName? {
        guard !name.isEmpty else { return nil }
        switch kind {
        case .service, .endpointSlice:
            return ObjectName(namespace: namespace.isEmpty ? "default" : namespace, name: name)
        case .node, .serviceCIDR: return ObjectName(namespace: "", name: name)
        }
    }
}

/// A Service as its fields are read, in whatever order they come.
struct ServiceFields {
    var service = Service(name: ObjectName(namespace: "", name: ""))
    var affinity = ""
    var affinityTimeoutSeconds: Int?

    /// The Service, with what was left out as the API server defaults it (`SetDefaults_Service` in Kubernetes'
    /// `pkg/apis/core/v1/defaults.go`). Stored objects have been defaulted already, but for those of old servers.
    consuming func finish(_ name: ObjectName, _ metadata: ObjectMetadata) -> Service {
        service.name = name
        service.uid = metadata.uid.isEmpty ? nil : metadata.uid
        service.creationTimestamp = metadata.creationTimestamp
        service.proxyName = metadata.proxyName
        service.forwarding = metadata.forwarding
        if service.type.rawValue.isEmpty { service.type = .clusterIP }
        if service.clusterIPs.isEmpty, !service.clusterIP.isEmpty { service.clusterIPs = [service.clusterIP] }
        if service.clusterIP.isEmpty { service.clusterIP = service.clusterIPs.first ?? "" }
        if service.ipFamilies.isEmpty {
            service.ipFamilies = service.clusterIPs.compactMap(IPAddress.init(_:))
                .map { $0.family == .v4 ? "IPv4" : "IPv6" }
        }
        if affinity == "ClientIP" {
            service.sessionAffinity = .clientIP(
                timeoutSeconds: affinityTimeoutSeconds ?? SessionAffinity.defaultTimeoutSeconds)
        }
        return service
    }
}

extension TrafficPolicy {
    /// A policy this version does not know is the API's default: traffic flows, if not by the best way.
    init(wire text: String) { self = TrafficPolicy(rawValue: text) ?? .cluster }
}

extension LoadBalancerIngress {
    /// Empty text is none, as protobuf cannot tell the two apart.
    init(wireIP ip: String, ipMode: String, hostname: String) {
        self.init(
            ip: ip.isEmpty ? nil : ip, ipMode: ipMode.isEmpty ? nil : ipMode,
            hostname: hostname.isEmpty ? nil : hostname)
    }
}

extension ObjectKind {
    /// The kind of a list of these.
    var listName: String { "\(rawValue)List" }
}

/// The objects of a list, and the states of its events, name no kind of their own in JSON; where one is named, it must
/// be the right one.
func expect(_ kind: String, toBe expected: String, at offset: Int) throws(Fault) {
    guard kind == expected else { throw Fault(cause: .otherKind(kind), offset: offset) }
}

extension EndpointSlice {
    consuming func finished(_ name: ObjectName, _ metadata: ObjectMetadata) -> EndpointSlice {
        self.name = name
        serviceName = metadata.serviceName
        isHeadless = metadata.isHeadless
        lastChangeTriggerTime = metadata.lastChangeTriggerTime
        return self
    }
}

extension Node {
    mutating func append(_ address: String, ofType type: String) {
        switch type {
        case "InternalIP": internalIPs.append(address)
        case "ExternalIP": externalIPs.append(address)
        default: break
        }
    }

    consuming func finished(_ metadata: ObjectMetadata) -> Node {
        name = metadata.name
        zone = metadata.zone
        isBeingDeleted = metadata.isBeingDeleted
        return self
    }
}
