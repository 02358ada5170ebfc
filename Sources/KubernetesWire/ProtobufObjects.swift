internal import ServiceModel

// The field numbers are those of generated.proto in k8s.io/api (core/v1, discovery/v1, networking/v1) and of
// k8s.io/apimachinery (meta/v1, runtime). They are part of the served API version and never change their meaning.

extension ProtobufReader {
    /// Reads an object of the kind. `metadata` is filled as far as reading comes, so that an error can name the object.
    mutating func object(
        _ kind: ObjectKind, _ table: inout StringTable, _ metadata: inout ObjectMetadata
    ) throws(Fault) -> CatalogObject {
        let start = offset
        var service = ServiceFields()
        var slice = EndpointSlice(name: service.service.name, serviceName: nil, addressType: "")
        var node = Node(name: "")
        var range = ServiceCIDR(name: "", cidrs: [])
        if kind == .endpointSlice { slice.endpoints.reserveCapacity(try count(ofField: 2)) }
        while try next() {
            switch (kind, field) {
            case (_, 1):
                var inner = try message()
                try inner.metadata(&metadata, &table)
            case (.service, 2):
                var inner = try message()
                try inner.serviceSpec(&service)
            case (.service, 3):
                var inner = try message()
                try inner.serviceStatus(&service.service)
            case (.endpointSlice, 2):
                var inner = try message()
                slice.endpoints.append(try inner.endpoint(&table))
            case (.endpointSlice, 3):
                var inner = try message()
                slice.ports.append(try inner.endpointPort(&table))
            case (.endpointSlice, 4): slice.addressType = try string()
            case (.node, 2):
                var inner = try message()
                try inner.nodeSpec(&node)
            case (.node, 3):
                var inner = try message()
                try inner.nodeStatus(&node)
            case (.serviceCIDR, 2):
                var inner = try message()
                while try inner.next() {
                    if inner.field == 1 { range.cidrs.append(try inner.string()) }
                }
            default: continue
            }
        }
        guard let name = metadata.objectName(kind) else { throw .malformed("metadata.name is missing", at: start) }
        switch kind {
        case .service: return .service(service.finish(name, metadata))
        case .endpointSlice:
            slice.ports = slice.ports.fitted()
            return .endpointSlice(slice.finished(name, metadata))
        case .node: return .node(node.finished(metadata))
        case .serviceCIDR:
            range.name = metadata.name
            return .serviceCIDR(range)
        }
    }

    /// Reads an ObjectMeta.
    mutating func metadata(_ metadata: inout ObjectMetadata, _ table: inout StringTable) throws(Fault) {
        while try next() {
            switch field {
            case 1: metadata.name = try string()
            case 3: metadata.namespace = try string(&table)
            case 5: metadata.uid = try string()
            case 6: metadata.resourceVersion = try string()
            case 8: metadata.creationTimestamp = try time()
            case 9: metadata.isBeingDeleted = try time() != nil
            case 11:
                var entry = try message()
                if let (label, value) = try entry.mapEntry(ObjectMetadata.Label.find, &table) {
                    metadata.set(label, value)
                }
            case 12:
                var entry = try message()
                if let (annotation, value) = try entry.mapEntry(ObjectMetadata.Annotation.find, &table) {
                    metadata.set(annotation, value)
                }
            default: continue
            }
        }
    }

    /// A meta/v1 Time in seconds since 1970. The zero time of Go is an empty message, and no time.
    private func time() throws(Fault) -> Int64? {
        var inner = try message()
        var seconds: Int64?
        while try inner.next() {
            if inner.field == 1 { seconds = try inner.integer64() }
        }
        return seconds
    }

    /// The value of an entry `{1: key, 2: value}` of a map, if the key is one that is looked for.
    private mutating func mapEntry<Key>(
        _ find: (RawSpan) -> Key?, _ table: inout StringTable
    ) throws(Fault) -> (Key, String)? {
        var key: Key?
        var value = ""
        while try next() {
            switch field {
            case 1:
                key = try lookUp(find)
                // The key is written first; the values of others need not be decoded.
                if key == nil { return nil }
            case 2: value = try string(&table)
            default: continue
            }
        }
        return key.map { ($0, value) }
    }

    // MARK: Service

    private mutating func serviceSpec(_ fields: inout ServiceFields) throws(Fault) {
        while try next() {
            switch field {
            case 1:
                var inner = try message()
                fields.service.ports.append(try inner.servicePort())
            case 3: fields.service.clusterIP = try string()
            case 4: fields.service.type = ServiceType(rawValue: try string())
            case 5: fields.service.externalIPs.append(try string())
            case 7: fields.affinity = try string()
            case 9: fields.service.loadBalancerSourceRanges.append(try string())
            case 11: fields.service.externalTrafficPolicy = TrafficPolicy(wire: try string())
            case 12: fields.service.healthCheckNodePort = try integer()
            case 14:
                var configuration = try message()
                while try configuration.next() {
                    guard configuration.field == 1 else { continue }
                    var client = try configuration.message()
                    while try client.next() {
                        if client.field == 1 { fields.affinityTimeoutSeconds = try client.integer() }
                    }
                }
            case 18: fields.service.clusterIPs.append(try string())
            case 19: fields.service.ipFamilies.append(try string())
            case 22: fields.service.internalTrafficPolicy = TrafficPolicy(wire: try string())
            default: continue
            }
        }
        fields.service.ports = fields.service.ports.fitted()
    }

    private mutating func servicePort() throws(Fault) -> ServicePort {
        var port = ServicePort(port: 0)
        while try next() {
            switch field {
            case 1: port.name = try string()
            case 2: port.protocolName = try string()
            case 3: port.port = try integer()
            case 5: port.nodePort = try integer()
            default: continue
            }
        }
        if port.protocolName.isEmpty { port.protocolName = "TCP" }
        return port
    }

    private mutating func serviceStatus(_ service: inout Service) throws(Fault) {
        while try next() {
            guard field == 1 else { continue }
            var balancer = try message()
            while try balancer.next() {
                guard balancer.field == 1 else { continue }
                var ingress = try balancer.message()
                var (ip, ipMode, hostname) = ("", "", "")
                while try ingress.next() {
                    switch ingress.field {
                    case 1: ip = try ingress.string()
                    case 2: hostname = try ingress.string()
                    case 3: ipMode = try ingress.string()
                    default: continue
                    }
                }
                service.loadBalancerIngress.append(LoadBalancerIngress(wireIP: ip, ipMode: ipMode, hostname: hostname))
            }
        }
    }

    // MARK: EndpointSlice

    private mutating func endpoint(_ table: inout StringTable) throws(Fault) -> Endpoint {
        var endpoint = Endpoint(addresses: [])
        while try next() {
            switch field {
            case 1: endpoint.append(address: try string())
            case 2:
                var conditions = try message()
                while try conditions.next() {
                    switch conditions.field {
                    case 1: endpoint.conditions.ready = try conditions.boolean()
                    case 2: endpoint.conditions.serving = try conditions.boolean()
                    case 3: endpoint.conditions.terminating = try conditions.boolean()
                    default: continue
                    }
                }
            case 6: endpoint.nodeName = try string(&table)
            case 7: endpoint.zone = try string(&table)
            case 8:
                var hints = try message()
                while try hints.next() {
                    switch hints.field {
                    case 1: endpoint.forZones.append(try hints.nameOfHint(&table))
                    case 2: endpoint.forNodes.append(try hints.nameOfHint(&table))
                    default: continue
                    }
                }
                endpoint.forZones = table.list(endpoint.forZones)
                endpoint.forNodes = table.list(endpoint.forNodes)
            default: continue
            }
        }
        return endpoint
    }

    private func nameOfHint(_ table: inout StringTable) throws(Fault) -> String {
        var name = ""
        var hint = try message()
        while try hint.next() {
            if hint.field == 1 { name = try hint.string(&table) }
        }
        return name
    }

    private mutating func endpointPort(_ table: inout StringTable) throws(Fault) -> EndpointPort {
        var port = EndpointPort(port: nil)
        while try next() {
            switch field {
            case 1: port.name = try string(&table)
            case 2: port.protocolName = try string()
            case 3: port.port = try integer()
            default: continue
            }
        }
        return port
    }

    // MARK: Node

    private mutating func nodeSpec(_ node: inout Node) throws(Fault) {
        var onlyCIDR = ""
        while try next() {
            switch field {
            case 1: onlyCIDR = try string()
            case 5:
                var taint = try message()
                while try taint.next() {
                    if taint.field == 1 { node.taints.append(try taint.string()) }
                }
            case 7: node.podCIDRs.append(try string())
            default: continue
            }
        }
        if node.podCIDRs.isEmpty, !onlyCIDR.isEmpty { node.podCIDRs = [onlyCIDR] }
    }

    private mutating func nodeStatus(_ node: inout Node) throws(Fault) {
        while try next() {
            guard field == 5 else { continue }
            var inner = try message()
            var (type, address) = ("", "")
            while try inner.next() {
                switch inner.field {
                case 1: type = try inner.string()
                case 2: address = try inner.string()
                default: continue
                }
            }
            node.append(address, ofType: type)
        }
    }

    // MARK: Status, lists, envelopes

    /// Reads a Status.
    mutating func status() throws(Fault) -> APIStatus {
        var status = APIStatus(code: 0)
        while try next() {
            switch field {
            case 3: status.message = try string()
            case 4: status.reason = try string()
            case 5:
                var details = try message()
                while try details.next() {
                    switch details.field {
                    case 4:
                        var cause = try details.message()
                        while try cause.next() {
                            if cause.field == 1 { status.causes.append(try cause.string()) }
                        }
                    case 5: status.setRetryAfter(try details.integer())
                    default: continue
                    }
                }
            case 6: status.code = try integer()
            default: continue
            }
        }
        return status
    }

    /// Reads a ListMeta.
    mutating func listMetadata(_ list: inout ListMetadata) throws(Fault) {
        while try next() {
            switch field {
            case 2: list.resourceVersion = ResourceVersion(try string())
            case 3: list.continueToken = try string()
            default: continue
            }
        }
    }

    /// Reads a TypeMeta for its kind.
    mutating func kindOfType() throws(Fault) -> String {
        var kind = ""
        while try next() {
            if field == 2 { kind = try string() }
        }
        return kind
    }
}

/// The envelope of everything the API server writes as protobuf: four bytes, then a runtime.Unknown.
struct Envelope {
    static let magic: StaticString = "k8s\0"

    /// The kind of what is inside.
    let kind: String
    /// Where it is.
    let content: Range<Int>

    init(_ bytes: RawSpan, _ range: Range<Int>) throws(Fault) {
        guard range.count >= 4, bytes.extracting(range.lowerBound..<range.lowerBound + 4).equals(Self.magic) else {
            throw .malformed("not the envelope of Kubernetes' protobuf", at: range.lowerBound)
        }
        var reader = ProtobufReader(bytes, range.lowerBound + 4..<range.upperBound)
        var kind = ""
        var content = range.upperBound..<range.upperBound
        while try reader.next() {
            switch reader.field {
            case 1:
                var type = try reader.message()
                kind = try type.kindOfType()
            case 2: content = try reader.range()
            default: continue
            }
        }
        self.kind = kind
        self.content = content
    }
}
