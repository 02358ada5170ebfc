public import ServiceModel

/// What a manifest holds.
public struct ParsedManifest: Sendable, Hashable {
    /// An object and where it begins.
    public struct Item: Sendable, Hashable {
        /// The object.
        public let object: CatalogObject
        /// The line, from 1.
        public let line: Int?
    }

    /// The objects, in order.
    public internal(set) var items: [Item] = []
    /// Objects of kinds that are not for a service proxy, and were passed over.
    public internal(set) var notes: [ManifestProblem] = []
}

/// Reads Services, EndpointSlices, Nodes and ServiceCIDRs from YAML or JSON, one or more documents, single or in lists.
///
/// Values the manifest leaves out are what the API server would have defaulted them to; values it would not take are
/// errors. Fields that have no meaning for a proxy are not looked at.
public struct ManifestParser: Sendable {
    /// The largest manifest that is read, in bytes.
    public static let maximumSize = 32 << 20

    /// A parser.
    public init() {}

    /// Reads a manifest. Throws at the first thing that is wrong, naming `file`, line, column and field; never crashes,
    /// whatever the bytes.
    public func parse(_ bytes: [UInt8], file: String) throws(ManifestProblem) -> ParsedManifest {
        guard bytes.count <= Self.maximumSize else {
            throw ManifestProblem(file: file, message: "\(bytes.count) bytes: at most \(Self.maximumSize) are read")
        }
        var result = ParsedManifest()
        for document in try Documents.read(bytes, file: file) where !document.isNull {
            try read(document, into: &result)
        }
        return result
    }

    private func read(_ document: Cursor, into result: inout ParsedManifest) throws(ManifestProblem) {
        let type = try TypeMeta(document)
        let implied: TypeMeta?
        switch (type.apiVersion, type.kind) {
        case ("v1", "List"): implied = nil
        case ("v1", "ServiceList"): implied = .service
        case ("v1", "NodeList"): implied = .node
        case ("discovery.k8s.io/v1", "EndpointSliceList"): implied = .endpointSlice
        case ("networking.k8s.io/v1", "ServiceCIDRList"): implied = .serviceCIDR
        default:
            try readObject(document, type, into: &result)
            return
        }
        for item in try document.elements("items") {
            try readObject(item, TypeMeta(item, implied: implied), into: &result)
        }
    }

    private func readObject(
        _ object: Cursor, _ type: TypeMeta, into result: inout ParsedManifest
    ) throws(ManifestProblem) {
        let read: CatalogObject
        switch type {
        case .service: read = .service(try Service(object))
        case .endpointSlice: read = .endpointSlice(try EndpointSlice(object))
        case .node: read = .node(try Node(object))
        case .serviceCIDR: read = .serviceCIDR(try ServiceCIDR(object))
        default:
            result.notes.append(object.problem("\(type.apiVersion) \(type.kind) is not for a service proxy: ignored"))
            return
        }
        result.items.append(ParsedManifest.Item(object: read, line: object.line))
    }
}

/// `apiVersion` and `kind`.
struct TypeMeta: Equatable {
    let apiVersion: String
    let kind: String

    static let service = TypeMeta("v1", "Service")
    static let node = TypeMeta("v1", "Node")
    static let endpointSlice = TypeMeta("discovery.k8s.io/v1", "EndpointSlice")
    static let serviceCIDR = TypeMeta("networking.k8s.io/v1", "ServiceCIDR")

    private init(_ apiVersion: String, _ kind: String) {
        self.apiVersion = apiVersion
        self.kind = kind
    }

    /// Items of a typed list may leave out what the list implies, as those the API server lists do.
    init(_ cursor: Cursor, implied: TypeMeta? = nil) throws(ManifestProblem) {
        apiVersion = try Self.text(cursor, "apiVersion", implied?.apiVersion)
        kind = try Self.text(cursor, "kind", implied?.kind)
    }

    private static func text(_ cursor: Cursor, _ key: String, _ implied: String?) throws(ManifestProblem) -> String {
        if let text = try cursor.field(key)?.string() { return text }
        guard let implied else { return try cursor.required(key).string() }
        return implied
    }
}
