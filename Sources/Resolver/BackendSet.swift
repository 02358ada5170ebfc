public import NetTypes

/// One backend of a set.
public struct BackendSpec: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Where it is reached.
    public let endpoint: TransportEndpoint
    /// Its share of new connections relative to the others of its set; at least 1.
    public let weight: UInt32
    /// Whether it runs on this node.
    public let isLocal: Bool

    /// A backend; weight 1 unless said otherwise.
    public init(endpoint: TransportEndpoint, weight: UInt32 = 1, isLocal: Bool) {
        self.endpoint = endpoint
        self.weight = weight
        self.isLocal = isLocal
    }

    /// The endpoint, with `(local)` where it is.
    public var description: String { isLocal ? "\(endpoint) (local)" : "\(endpoint)" }

    /// By endpoint, then the rest.
    public static func < (a: Self, b: Self) -> Bool {
        if a.endpoint != b.endpoint { return a.endpoint < b.endpoint }
        return (a.weight, a.isLocal ? 1 : 0) < (b.weight, b.isLocal ? 1 : 0)
    }
}

/// The backends new connections are spread over: sorted, each endpoint once. Two frontends with equal sets can share
/// one table. An empty set refuses.
public struct BackendSet: Sendable, Hashable {
    /// The members, in order.
    public let members: [BackendSpec]
    /// Of the members, taken once: a set is looked up several times wherever it goes, and never changes.
    private let digest: Int

    /// A set of these members, in any order; of several with the same endpoint the least one stays.
    public init(_ members: some Sequence<BackendSpec>) {
        var unique: [BackendSpec] = []
        for member in members.sorted() where unique.last?.endpoint != member.endpoint { unique.append(member) }
        self.members = unique
        var hasher = Hasher()
        for member in unique { hasher.combine(member) }
        digest = hasher.finalize()
    }

    /// Nobody.
    public static let empty = BackendSet([])

    /// Whether it has no members.
    public var isEmpty: Bool { members.isEmpty }

    /// Whether both have the same members.
    public static func == (a: Self, b: Self) -> Bool { a.digest == b.digest && a.members == b.members }

    /// By all members.
    public func hash(into hasher: inout Hasher) { hasher.combine(digest) }
}
