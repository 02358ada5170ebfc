internal import ServiceModel

extension JSONReader {
    /// Reads an object of the kind. `metadata` is filled as far as reading comes, so that an error can name the object.
    mutating func object(
        _ kind: ObjectKind, _ table: inout StringTable, _ metadata: inout ObjectMetadata
    ) throws(Fault) -> CatalogObject {
        let start = offset
        guard try enterObject() else { throw .malformed("expected an object", at: offset) }
        var service = ServiceFields()
        var slice = EndpointSlice(name: service.service.name, serviceName: nil, addressType: "")
        var node = Node(name: "")
        var range = ServiceCIDR(name: "", cidrs: [])
        while let key = try nextKey() {
            if isKey(key, "metadata") {
                try self.metadata(&metadata, &table)
            } else if isKey(key, "kind") {
                let place = offset
                if let name = try string() { try expect(name, toBe: kind.rawValue, at: place) }
            } else {
                switch kind {
                case .service where isKey(key, "spec"): try serviceSpec(&service)
                case .service where isKey(key, "status"): try serviceStatus(&service.service)
                case .endpointSlice where isKey(key, "endpoints"): slice.endpoints = try endpoints(&table)
                case .endpointSlice where isKey(key, "ports"): slice.ports = try endpointPorts(&table)
                case .endpointSlice where isKey(key, "addressType"): slice.addressType = try string() ?? ""
                case .node where isKey(key, "spec"): try nodeSpec(&node)
                case .node where isKey(key, "status"): try nodeStatus(&node)
                case .serviceCIDR where isKey(key, "spec"): try serviceCIDRSpec(&range)
                default: try skip()
                }
            }
        }
        guard let name = metadata.objectName(kind) else { throw .malformed("metadata.name is missing", at: start) }
        switch kind {
        case .service: return .service(service.finish(name, metadata))
        case .endpointSlice: return .endpointSlice(slice.finished(name, metadata))
        case .node: return .node(node.finished(metadata))
        case .serviceCIDR:
            range.name = metadata.name
            return .serviceCIDR(range)
        }
    }

    /// Reads `metadata` of an object.
    mutating func metadata(_ metadata: inout ObjectMetadata, _ table: inout StringTable) throws(Fault) {
        guard try enterObject() else { return }
        while let key = try nextKey() {
            if isKey(key, "name") {
                metadata.name = try string() ?? ""
            } else if isKey(key, "namespace") {
                metadata.namespace = try string(&table) ?? ""
            } else if isKey(key, "uid") {
                metadata.uid = try string() ?? ""
            } else if isKey(key, "resourceVersion") {
                metadata.resourceVersion = try string() ?? ""
            } else if isKey(key, "creationTimestamp") {
                metadata.creationTimestamp = try string().flatMap { RFC3339Time($0)?.seconds }
            } else if isKey(key, "deletionTimestamp") {
                metadata.isBeingDeleted = try string() != nil
            } else if isKey(key, "labels") {
                guard try enterObject() else { continue }
                while let key = try nextKey() {
                    if let label = lookUp(key, ObjectMetadata.Label.find) {
                        metadata.set(label, try string(&table) ?? "")
                    } else {
                        try skip()
                    }
                }
            } else if isKey(key, "annotations") {
                guard try enterObject() else { continue }
                while let key = try nextKey() {
                    if let annotation = lookUp(key, ObjectMetadata.Annotation.find) {
                        metadata.set(annotation, try string() ?? "")
                    } else {
                        try skip()
                    }
                }
            } else {
                try skip()
            }
        }
    }

    /// Reads the strings of a list.
    private mutating func strings() throws(Fault) -> [String] {
        var strings: [String] = []
        guard try enterArray() else { return strings }
        while try nextElement() {
            if let string = try string() { strings.append(string) }
        }
        return strings
    }

    // MARK: Service

    private mutating func serviceSpec(_ fields: inout ServiceFields) throws(Fault) {
        guard try enterObject() else { return }
        while let key = try nextKey() {
            if isKey(key, "type") {
                fields.service.type = ServiceType(rawValue: try string() ?? "")
            } else if isKey(key, "clusterIP") {
                fields.service.clusterIP = try string() ?? ""
            } else if isKey(key, "clusterIPs") {
                fields.service.clusterIPs = try strings()
            } else if isKey(key, "ipFamilies") {
                fields.service.ipFamilies = try strings()
            } else if isKey(key, "externalIPs") {
                fields.service.externalIPs = try strings()
            } else if isKey(key, "ports") {
                fields.service.ports = try servicePorts()
            } else if isKey(key, "externalTrafficPolicy") {
                fields.service.externalTrafficPolicy = TrafficPolicy(wire: try string() ?? "")
            } else if isKey(key, "internalTrafficPolicy") {
                fields.service.internalTrafficPolicy = TrafficPolicy(wire: try string() ?? "")
            } else if isKey(key, "sessionAffinity") {
                fields.affinity = try string() ?? ""
            } else if isKey(key, "sessionAffinityConfig") {
                fields.affinityTimeoutSeconds = try affinityTimeout()
            } else if isKey(key, "loadBalancerSourceRanges") {
                fields.service.loadBalancerSourceRanges = try strings()
            } else if isKey(key, "healthCheckNodePort") {
                fields.service.healthCheckNodePort = try integer() ?? 0
            } else {
                try skip()
            }
        }
    }

    private mutating func servicePorts() throws(Fault) -> [ServicePort] {
        var ports: [ServicePort] = []
        guard try enterArray() else { return ports }
        while try nextElement() {
            guard try enterObject() else { continue }
            var port = ServicePort(port: 0)
            while let key = try nextKey() {
                if isKey(key, "name") {
                    port.name = try string() ?? ""
                } else if isKey(key, "protocol") {
                    port.protocolName = try string() ?? "TCP"
                } else if isKey(key, "port") {
                    port.port = try integer() ?? 0
                } else if isKey(key, "nodePort") {
                    port.nodePort = try integer() ?? 0
                } else {
                    try skip()
                }
            }
            ports.append(port)
        }
        return ports.fitted()
    }

    private mutating func affinityTimeout() throws(Fault) -> Int? {
        var seconds: Int?
        guard try enterObject() else { return nil }
        while let key = try nextKey() {
            guard isKey(key, "clientIP"), try enterObject() else {
                if !isKey(key, "clientIP") { try skip() }
                continue
            }
            while let key = try nextKey() {
                if isKey(key, "timeoutSeconds") { seconds = try integer() } else { try skip() }
            }
        }
        return seconds
    }

    private mutating func serviceStatus(_ service: inout Service) throws(Fault) {
        guard try enterObject() else { return }
        while let key = try nextKey() {
            guard isKey(key, "loadBalancer") else {
                try skip()
                continue
            }
            guard try enterObject() else { continue }
            while let key = try nextKey() {
                if isKey(key, "ingress") { service.loadBalancerIngress = try ingress() } else { try skip() }
            }
        }
    }

    private mutating func ingress() throws(Fault) -> [LoadBalancerIngress] {
        var all: [LoadBalancerIngress] = []
        guard try enterArray() else { return all }
        while try nextElement() {
            guard try enterObject() else { continue }
            var (ip, ipMode, hostname) = ("", "", "")
            while let key = try nextKey() {
                if isKey(key, "ip") {
                    ip = try string() ?? ""
                } else if isKey(key, "ipMode") {
                    ipMode = try string() ?? ""
                } else if isKey(key, "hostname") {
                    hostname = try string() ?? ""
                } else {
                    try skip()
                }
            }
            all.append(LoadBalancerIngress(wireIP: ip, ipMode: ipMode, hostname: hostname))
        }
        return all
    }

    // MARK: EndpointSlice

    private mutating func endpoints(_ table: inout StringTable) throws(Fault) -> [Endpoint] {
        var endpoints: [Endpoint] = []
        guard try enterArray() else { return endpoints }
        while try nextElement() {
            guard try enterObject() else { continue }
            var endpoint = Endpoint(addresses: [])
            while let key = try nextKey() {
                if isKey(key, "addresses") {
                    endpoint.addresses = try strings()
                } else if isKey(key, "conditions") {
                    try conditions(&endpoint.conditions)
                } else if isKey(key, "nodeName") {
                    endpoint.nodeName = try string(&table)
                } else if isKey(key, "zone") {
                    endpoint.zone = try string(&table)
                } else if isKey(key, "hints") {
                    try hints(&endpoint, &table)
                } else {
                    try skip()
                }
            }
            endpoints.append(endpoint)
        }
        return endpoints.fitted()
    }

    private mutating func conditions(_ conditions: inout EndpointConditions) throws(Fault) {
        guard try enterObject() else { return }
        while let key = try nextKey() {
            if isKey(key, "ready") {
                conditions.ready = try boolean()
            } else if isKey(key, "serving") {
                conditions.serving = try boolean()
            } else if isKey(key, "terminating") {
                conditions.terminating = try boolean()
            } else {
                try skip()
            }
        }
    }

    private mutating func hints(_ endpoint: inout Endpoint, _ table: inout StringTable) throws(Fault) {
        guard try enterObject() else { return }
        while let key = try nextKey() {
            if isKey(key, "forZones") {
                endpoint.forZones = try namesOfHints(&table)
            } else if isKey(key, "forNodes") {
                endpoint.forNodes = try namesOfHints(&table)
            } else {
                try skip()
            }
        }
    }

    private mutating func namesOfHints(_ table: inout StringTable) throws(Fault) -> [String] {
        var names: [String] = []
        guard try enterArray() else { return names }
        while try nextElement() {
            guard try enterObject() else { continue }
            var name = ""
            while let key = try nextKey() {
                if isKey(key, "name") { name = try string(&table) ?? "" } else { try skip() }
            }
            names.append(name)
        }
        return table.list(names)
    }

    private mutating func endpointPorts(_ table: inout StringTable) throws(Fault) -> [EndpointPort] {
        var ports: [EndpointPort] = []
        guard try enterArray() else { return ports }
        while try nextElement() {
            guard try enterObject() else { continue }
            var port = EndpointPort(port: nil)
            while let key = try nextKey() {
                if isKey(key, "name") {
                    port.name = try string(&table) ?? ""
                } else if isKey(key, "protocol") {
                    port.protocolName = try string() ?? "TCP"
                } else if isKey(key, "port") {
                    port.port = try integer()
                } else {
                    try skip()
                }
            }
            ports.append(port)
        }
        return ports.fitted()
    }

    // MARK: Node, ServiceCIDR

    private mutating func nodeSpec(_ node: inout Node) throws(Fault) {
        guard try enterObject() else { return }
        var onlyCIDR: String?
        while let key = try nextKey() {
            if isKey(key, "podCIDRs") {
                node.podCIDRs = try strings()
            } else if isKey(key, "podCIDR") {
                onlyCIDR = try string()
            } else if isKey(key, "taints") {
                guard try enterArray() else { continue }
                while try nextElement() {
                    guard try enterObject() else { continue }
                    while let key = try nextKey() {
                        if isKey(key, "key") { node.taints.append(try string() ?? "") } else { try skip() }
                    }
                }
            } else {
                try skip()
            }
        }
        if node.podCIDRs.isEmpty, let onlyCIDR, !onlyCIDR.isEmpty { node.podCIDRs = [onlyCIDR] }
    }

    private mutating func nodeStatus(_ node: inout Node) throws(Fault) {
        guard try enterObject() else { return }
        while let key = try nextKey() {
            guard isKey(key, "addresses") else {
                try skip()
                continue
            }
            guard try enterArray() else { continue }
            while try nextElement() {
                guard try enterObject() else { continue }
                var (type, address) = ("", "")
                while let key = try nextKey() {
                    if isKey(key, "type") {
                        type = try string() ?? ""
                    } else if isKey(key, "address") {
                        address = try string() ?? ""
                    } else {
                        try skip()
                    }
                }
                node.append(address, ofType: type)
            }
        }
    }

    private mutating func serviceCIDRSpec(_ range: inout ServiceCIDR) throws(Fault) {
        guard try enterObject() else { return }
        while let key = try nextKey() {
            if isKey(key, "cidrs") { range.cidrs = try strings() } else { try skip() }
        }
    }

    // MARK: Status

    /// Reads a Status.
    mutating func status() throws(Fault) -> APIStatus {
        guard try enterObject() else { throw .malformed("expected an object", at: offset) }
        var status = APIStatus(code: 0)
        while let key = try nextKey() {
            if isKey(key, "kind") {
                let place = offset
                try expect(try string() ?? "", toBe: APIStatus.kind, at: place)
            } else if isKey(key, "code") {
                status.code = try integer() ?? 0
            } else if isKey(key, "reason") {
                status.reason = try string() ?? ""
            } else if isKey(key, "message") {
                status.message = try string() ?? ""
            } else if isKey(key, "details") {
                try statusDetails(&status)
            } else {
                try skip()
            }
        }
        return status
    }

    private mutating func statusDetails(_ status: inout APIStatus) throws(Fault) {
        guard try enterObject() else { return }
        while let key = try nextKey() {
            if isKey(key, "retryAfterSeconds") {
                status.setRetryAfter(try integer())
            } else if isKey(key, "causes") {
                guard try enterArray() else { continue }
                while try nextElement() {
                    guard try enterObject() else { continue }
                    while let key = try nextKey() {
                        if isKey(key, "reason") { status.causes.append(try string() ?? "") } else { try skip() }
                    }
                }
            } else {
                try skip()
            }
        }
    }
}
