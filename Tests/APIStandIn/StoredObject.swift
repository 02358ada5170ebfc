public import ServiceModel

/// An object as the API server would keep it: its JSON without `kind` and `apiVersion`.
public struct StoredObject: Sendable, Hashable {
    /// The collection it is in.
    public let resource: Resource
    /// Namespace and name.
    public let name: ObjectName
    /// Its content.
    public var json: JSON
    /// What a client has to take it for, if the object was made from that.
    public private(set) var value: CatalogObject?

    /// Any object of these kinds, such as one of a recorded list.
    public init(_ resource: Resource, _ json: JSON) {
        self.resource = resource
        self.name = ObjectName(
            namespace: json[path: "metadata", "namespace"]?.text ?? "",
            name: json[path: "metadata", "name"]?.text ?? "")
        self.json = json
    }

    /// The object that a client which understands everything takes to be `object`, with what a real server and its
    /// controllers add to that: a UID and a time of creation among it, which ``value`` has too.
    public init(_ object: CatalogObject) {
        var object = object
        switch object {
        case .service(var service):
            service.uid = service.uid ?? Self.uid(of: service.name, "Service")
            service.creationTimestamp = service.creationTimestamp ?? Self.created
            object = .service(service)
            self.init(.services, Self.json(service))
        case .endpointSlice(let slice): self.init(.endpointSlices, Self.json(slice))
        case .node(let node): self.init(.nodes, Self.json(node))
        case .serviceCIDR(let range): self.init(.serviceCIDRs, Self.json(range))
        }
        value = object
    }

    /// The label's value.
    func label(_ name: String) -> String? { json[path: "metadata", "labels", name]?.text }

    /// The field by its path, as field selectors name it.
    func field(_ path: String) -> String {
        path.split(separator: ".").reduce(json as JSON?) { value, name in value?[String(name)] }?.text ?? ""
    }

    func withResourceVersion(_ version: UInt64) -> StoredObject {
        var copy = self
        copy.json["metadata"]?["resourceVersion"] = .string(String(version))
        return copy
    }
}

// MARK: From values

extension StoredObject {
    /// 2026-01-01, in seconds since 1970.
    private static let created: Int64 = 1_767_225_600

    private static func metadata(
        _ name: ObjectName, uid: String? = nil, created: Int64 = created, labels: [String: String] = [:],
        annotations: [String: String] = [:], owner: String? = nil, deleted: Bool = false, manager: String
    ) -> JSON {
        let labels = labels.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .string($0.value)) }
        let annotations = annotations.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .string($0.value)) }
        let entry: JSON = [
            "manager": .string(manager), "operation": "Update", "apiVersion": "v1", "time": .string(rfc3339(created)),
            "fieldsType": "FieldsV1",
            "fieldsV1": ["f:metadata": ["f:labels": [".": [:], "f:tier": [:]]], "f:spec": ["f:ports": [:]]],
        ]
        return .compact([
            "name": .string(name.name),
            "namespace": name.namespace.isEmpty ? nil : .string(name.namespace),
            "uid": .string(uid ?? Self.uid(of: name, manager)),
            "resourceVersion": "0",
            "creationTimestamp": .string(rfc3339(created)),
            "deletionTimestamp": deleted ? "2026-01-02T00:00:00Z" : nil,
            "labels": labels.isEmpty ? nil : .object(labels),
            "annotations": annotations.isEmpty ? nil : .object(annotations),
            "ownerReferences": owner.map {
                [["apiVersion": "v1", "kind": "Service", "name": .string($0), "uid": "0", "controller": true]]
            },
            "managedFields": [entry],
        ])
    }

    /// The same for the same name, in the form of a UUID.
    static func uid(of name: ObjectName, _ salt: String) -> String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in "\(salt) \(name)".utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let digits = String(hash, radix: 16)
        let padded = String(repeating: "0", count: 16 - digits.count) + digits
        return "\(padded.prefix(8))-\(padded.dropFirst(8).prefix(4))-4\(padded.suffix(3))-8000-000000000000"
    }

    private static func json(_ service: ServiceModel.Service) -> JSON {
        var labels: [String: String] = [:]
        if let proxyName = service.proxyName { labels["service.kubernetes.io/service-proxy-name"] = proxyName }
        var annotations: [String: String] = [:]
        if let forwarding = service.forwarding { annotations[ServiceModel.Service.forwardingAnnotation] = forwarding }
        let isExternal = service.type == .nodePort || service.type == .loadBalancer
        let isLocal = service.externalTrafficPolicy == .local
        var spec = JSON.compact([
            "ports": service.ports.isEmpty ? nil : .array(service.ports.map(Self.json)),
            "selector": ["app": .string(service.name.name)],
            "clusterIP": service.clusterIP.isEmpty ? nil : .string(service.clusterIP),
            "clusterIPs": .strings(service.clusterIPs),
            "type": .string(service.type.rawValue),
            "externalIPs": .strings(service.externalIPs),
        ])
        switch service.sessionAffinity {
        case .none: spec["sessionAffinity"] = "None"
        case .clientIP(let seconds):
            spec["sessionAffinity"] = "ClientIP"
            spec["sessionAffinityConfig"] = ["clientIP": ["timeoutSeconds": .int(Int64(seconds))]]
        }
        spec["loadBalancerSourceRanges"] = .strings(service.loadBalancerSourceRanges)
        if isExternal || isLocal { spec["externalTrafficPolicy"] = .string(service.externalTrafficPolicy.rawValue) }
        if service.healthCheckNodePort != 0 { spec["healthCheckNodePort"] = .int(Int64(service.healthCheckNodePort)) }
        spec["ipFamilies"] = .strings(service.ipFamilies)
        spec["internalTrafficPolicy"] = .string(service.internalTrafficPolicy.rawValue)
        let ingress = service.loadBalancerIngress.map { ingress in
            JSON.compact([
                "ip": ingress.ip.map { .string($0) }, "hostname": ingress.hostname.map { .string($0) },
                "ipMode": ingress.ipMode.map { .string($0) },
            ])
        }
        return [
            "metadata": metadata(
                service.name, uid: service.uid, created: service.creationTimestamp ?? created,
                labels: labels, annotations: annotations, manager: "kubectl"),
            "spec": spec,
            "status": ["loadBalancer": ingress.isEmpty ? [:] : ["ingress": .array(ingress)]],
        ]
    }

    private static func json(_ port: ServicePort) -> JSON {
        .compact([
            "name": port.name.isEmpty ? nil : .string(port.name), "protocol": .string(port.protocolName),
            "port": .int(Int64(port.port)), "targetPort": "app",
            "nodePort": port.nodePort == 0 ? nil : .int(Int64(port.nodePort)),
        ])
    }

    private static func json(_ slice: EndpointSlice) -> JSON {
        var labels = ["endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"]
        if let service = slice.serviceName { labels["kubernetes.io/service-name"] = service }
        if slice.isHeadless { labels["service.kubernetes.io/headless"] = "" }
        var annotations: [String: String] = [:]
        if let time = slice.lastChangeTriggerTime {
            annotations["endpoints.kubernetes.io/last-change-trigger-time"] = rfc3339(time / 1_000_000_000)
        }
        return .compact([
            "metadata": metadata(
                slice.name, labels: labels, annotations: annotations, owner: slice.serviceName,
                manager: "kube-controller-manager"),
            "addressType": .string(slice.addressType),
            "endpoints": .array(slice.endpoints.map { json($0, in: slice.name.namespace) }),
            "ports": .array(
                slice.ports.map { port in
                    .compact([
                        "name": port.name.map { .string($0) }, "protocol": .string(port.protocolName),
                        "port": port.port.map { .int(Int64($0)) },
                    ])
                }),
        ])
    }

    private static func json(_ endpoint: Endpoint, in namespace: String) -> JSON {
        let pod = ObjectName(namespace: namespace, name: "pod-\(endpoint.addresses.first ?? "")")
        var hints: JSON = [:]
        if !endpoint.forZones.isEmpty { hints["forZones"] = .array(endpoint.forZones.map { ["name": .string($0)] }) }
        if !endpoint.forNodes.isEmpty { hints["forNodes"] = .array(endpoint.forNodes.map { ["name": .string($0)] }) }
        return .compact([
            "addresses": .array(endpoint.addresses.map { .string($0) }),
            "conditions": .compact([
                "ready": endpoint.conditions.ready.map { .bool($0) },
                "serving": endpoint.conditions.serving.map { .bool($0) },
                "terminating": endpoint.conditions.terminating.map { .bool($0) },
            ]),
            "targetRef": [
                "kind": "Pod", "namespace": .string(namespace), "name": .string(pod.name),
                "uid": .string(uid(of: pod, "pod")),
            ],
            "nodeName": endpoint.nodeName.map { .string($0) },
            "zone": endpoint.zone.map { .string($0) },
            "hints": hints.members.isEmpty ? nil : hints,
        ])
    }

    static let emptyNodeStatus: JSON = [
        "daemonEndpoints": ["kubeletEndpoint": ["Port": 0]],
        "nodeInfo": [
            "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
            "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "", "operatingSystem": "",
            "architecture": "",
        ],
    ]

    private static func json(_ node: Node) -> JSON {
        var labels = ["kubernetes.io/hostname": node.name]
        if let zone = node.zone { labels["topology.kubernetes.io/zone"] = zone }
        let addresses = node.internalIPs.map { ("InternalIP", $0) } + node.externalIPs.map { ("ExternalIP", $0) }
        let taints = node.taints.map { ["key": .string($0), "effect": "NoSchedule"] as JSON }
        var status: JSON = [:]
        if !addresses.isEmpty {
            status["addresses"] = .array(addresses.map { ["type": .string($0.0), "address": .string($0.1)] })
        }
        for member in emptyNodeStatus.members { status[member.name] = member.value }
        return [
            "metadata": metadata(
                ObjectName(namespace: "", name: node.name), labels: labels, deleted: node.isBeingDeleted,
                manager: "kubelet"),
            "spec": .compact([
                "podCIDR": node.podCIDRs.first.map { .string($0) }, "podCIDRs": .strings(node.podCIDRs),
                "taints": taints.isEmpty ? nil : .array(taints),
            ]),
            "status": status,
        ]
    }

    private static func json(_ range: ServiceCIDR) -> JSON {
        [
            "metadata": metadata(ObjectName(namespace: "", name: range.name), manager: "kube-apiserver"),
            "spec": ["cidrs": .array(range.cidrs.map { .string($0) })],
            "status": [:],
        ]
    }

    /// Seconds since 1970 as RFC 3339 in UTC, by the civil calendar from days (Howard Hinnant,
    /// "chrono-Compatible Low-Level Date Algorithms").
    private static func rfc3339(_ seconds: Int64) -> String {
        let (days, rest) = (seconds / 86_400, seconds % 86_400)
        let z = days + 719_468
        let era = z / 146_097
        let dayOfEra = z - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let m = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * m + 2) / 5 + 1
        let month = m < 10 ? m + 3 : m - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)-\(two(month))-\(two(day))T\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60))Z"
    }
}
