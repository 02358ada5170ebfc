/// The kinds of object a ``Catalog`` keeps.
public enum ObjectKind: String, Sendable, Hashable, CaseIterable {
    /// v1 Service.
    case service = "Service"
    /// discovery.k8s.io/v1 EndpointSlice.
    case endpointSlice = "EndpointSlice"
    /// v1 Node.
    case node = "Node"
    /// networking.k8s.io/v1 ServiceCIDR.
    case serviceCIDR = "ServiceCIDR"
}

/// An object of one of those kinds.
public enum CatalogObject: Sendable, Hashable {
    /// A Service.
    case service(Service)
    /// An EndpointSlice.
    case endpointSlice(EndpointSlice)
    /// A Node.
    case node(Node)
    /// A ServiceCIDR.
    case serviceCIDR(ServiceCIDR)

    /// Kind and name, which identify the object among all others.
    public var id: ObjectID {
        switch self {
        case .service(let service): ObjectID(kind: .service, name: service.name)
        case .endpointSlice(let slice): ObjectID(kind: .endpointSlice, name: slice.name)
        case .node(let node): ObjectID(kind: .node, name: ObjectName(namespace: "", name: node.name))
        case .serviceCIDR(let range): ObjectID(kind: .serviceCIDR, name: ObjectName(namespace: "", name: range.name))
        }
    }
}

/// Kind and name of an object.
public struct ObjectID: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The kind.
    public let kind: ObjectKind
    /// Namespace and name.
    public let name: ObjectName

    /// Puts the two together.
    public init(kind: ObjectKind, name: ObjectName) {
        self.kind = kind
        self.name = name
    }

    /// `Service default/web`.
    public var description: String { "\(kind.rawValue) \(name)" }

    /// By kind, then name.
    public static func < (a: Self, b: Self) -> Bool { (a.kind.rawValue, a.name) < (b.kind.rawValue, b.name) }
}

/// What a source of objects tells: the same for a cluster's API and a directory of manifests.
public enum CatalogEvent: Sendable, Hashable {
    /// The object is new, or is now this.
    case upsert(CatalogObject)
    /// The object is gone.
    case delete(ObjectKind, ObjectName)
    /// The source has now told everything it held when it started. Nothing is programmed before that: a partial view
    /// would refuse traffic of Services whose endpoints are merely not read yet.
    case synced
}
