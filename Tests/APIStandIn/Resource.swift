public import ServiceModel

/// A collection that the stand-in serves.
public enum Resource: String, Sendable, Hashable, CaseIterable {
    /// v1 Services.
    case services
    /// discovery.k8s.io/v1 EndpointSlices.
    case endpointSlices = "endpointslices"
    /// v1 Nodes.
    case nodes
    /// networking.k8s.io/v1 ServiceCIDRs.
    case serviceCIDRs = "servicecidrs"

    /// The collection that objects of a kind are in.
    public init(_ kind: ObjectKind) {
        switch kind {
        case .service: self = .services
        case .endpointSlice: self = .endpointSlices
        case .node: self = .nodes
        case .serviceCIDR: self = .serviceCIDRs
        }
    }

    /// `Service`.
    var kind: String {
        switch self {
        case .services: "Service"
        case .endpointSlices: "EndpointSlice"
        case .nodes: "Node"
        case .serviceCIDRs: "ServiceCIDR"
        }
    }

    /// The API group; empty for the core.
    var group: String {
        switch self {
        case .services, .nodes: ""
        case .endpointSlices: "discovery.k8s.io"
        case .serviceCIDRs: "networking.k8s.io"
        }
    }

    var apiVersion: String { group.isEmpty ? "v1" : "\(group)/v1" }

    /// Where the collection is found: `/api/v1/services`.
    var path: String { "\(group.isEmpty ? "/api" : "/apis/\(group)")/v1/\(rawValue)" }

    var schema: MessageSchema {
        switch self {
        case .services: .service
        case .endpointSlices: .endpointSlice
        case .nodes: .node
        case .serviceCIDRs: .serviceCIDR
        }
    }

    /// What an object without content has beside its metadata, as bookmarks show it.
    var emptyContent: [JSON.Member] {
        switch self {
        case .services: [JSON.Member("spec", [:]), JSON.Member("status", ["loadBalancer": [:]])]
        case .endpointSlices:
            [JSON.Member("addressType", ""), JSON.Member("endpoints", .null), JSON.Member("ports", .null)]
        case .nodes: [JSON.Member("spec", [:]), JSON.Member("status", StoredObject.emptyNodeStatus)]
        case .serviceCIDRs: [JSON.Member("spec", [:]), JSON.Member("status", [:])]
        }
    }

    /// A bookmark's object.
    func bookmark(resourceVersion: UInt64, endsInitialEvents: Bool) -> JSON {
        var metadata: JSON = ["resourceVersion": .string(String(resourceVersion))]
        if endsInitialEvents { metadata["annotations"] = ["k8s.io/initial-events-end": "true"] }
        return .object([JSON.Member("metadata", metadata)] + emptyContent)
    }
}

/// How objects are written.
enum WireForm: Sendable, Hashable {
    case json
    case protobuf

    /// A whole body: one object, list or status.
    func body(apiVersion: String, kind: String, _ schema: MessageSchema, _ value: JSON) -> [UInt8] {
        switch self {
        case .json: Self.typed(apiVersion: apiVersion, kind: kind, value).bytes + [0x0A]
        case .protobuf: object(apiVersion: apiVersion, kind: kind, schema, value)
        }
    }

    /// A list.
    func list(of resource: Resource, metadata: JSON, items: [JSON]) -> [UInt8] {
        let kind = "\(resource.kind)List"
        let value: JSON = ["metadata": metadata, "items": .array(items)]
        guard self == .protobuf else {
            return body(apiVersion: resource.apiVersion, kind: kind, .list, value)
        }
        var content = ProtobufWriter()
        content.field(1, ProtobufWriter.message(.listMeta, metadata))
        for item in items { content.field(2, ProtobufWriter.message(resource.schema, item)) }
        return ProtobufWriter.enveloped(apiVersion: resource.apiVersion, kind: kind, content.bytes)
    }

    /// An event of a watch.
    func frame(_ type: String, apiVersion: String, kind: String, _ schema: MessageSchema, _ value: JSON) -> [UInt8] {
        switch self {
        case .json:
            let object = Self.typed(apiVersion: apiVersion, kind: kind, value)
            return (["type": .string(type), "object": object] as JSON).bytes + [0x0A]
        case .protobuf:
            return ProtobufWriter.frame(type: type, object(apiVersion: apiVersion, kind: kind, schema, value))
        }
    }

    private func object(apiVersion: String, kind: String, _ schema: MessageSchema, _ value: JSON) -> [UInt8] {
        ProtobufWriter.enveloped(apiVersion: apiVersion, kind: kind, ProtobufWriter.message(schema, value))
    }

    private static func typed(apiVersion: String, kind: String, _ value: JSON) -> JSON {
        .object([JSON.Member("kind", .string(kind)), JSON.Member("apiVersion", .string(apiVersion))] + value.members)
    }
}
