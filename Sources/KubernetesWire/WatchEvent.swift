public import ServiceModel

/// An object as the API server sent it, with the part of its metadata that list and watch are steered by.
public struct ReceivedObject: Sendable, Hashable {
    /// The object.
    public var object: CatalogObject
    /// `metadata.resourceVersion`: which state of the object this is. Compare by ``ResourceVersion``.
    public var resourceVersion: ResourceVersion

    /// Puts the two together.
    public init(object: CatalogObject, resourceVersion: ResourceVersion) {
        self.object = object
        self.resourceVersion = resourceVersion
    }
}

/// A `resourceVersion`. Opaque to clients but for its order, which is that of the numbers (KEP-5504; since 1.35 the API
/// documents what client-go always relied on).
public struct ResourceVersion: Sendable, Hashable, CustomStringConvertible {
    /// The server's text; empty asks for the most recent state.
    public var text: String

    /// Any text.
    public init(_ text: String) { self.text = text }

    /// The text.
    public var description: String { text }

    /// Whether this state is older than `other`; `nil` where one of them is no number, and nothing can be said.
    public func isOlder(than other: ResourceVersion) -> Bool? {
        guard let a = UInt64(text), let b = UInt64(other.text) else { return nil }
        return a < b
    }
}

/// The body of a list.
public struct ReceivedList: Sendable, Hashable {
    /// The state of the collection, to watch from.
    public var resourceVersion: ResourceVersion
    /// `metadata.continue`, when there is more; empty otherwise.
    public var continueToken: String
    /// The objects.
    public var items: [ReceivedObject]

    /// Puts them together.
    public init(resourceVersion: ResourceVersion, continueToken: String = "", items: [ReceivedObject]) {
        self.resourceVersion = resourceVersion
        self.continueToken = continueToken
        self.items = items
    }
}

/// One event of a watch.
public enum WatchEvent: Sendable, Hashable {
    /// `ADDED` or `MODIFIED`.
    case upsert(ReceivedObject)
    /// `DELETED`. The object is as it was last; its resource version is that of the deletion.
    case delete(ReceivedObject)
    /// `BOOKMARK`: everything up to this version has been sent. `endsInitialEvents` is the annotation
    /// `k8s.io/initial-events-end`, after which a streamed list is complete (KEP-3157).
    case bookmark(ResourceVersion, endsInitialEvents: Bool)
    /// `ERROR`: the watch is over.
    case failure(APIStatus)
}

/// A `Status`, which the API server answers with where something failed.
public struct APIStatus: Sendable, Hashable, Error, CustomStringConvertible {
    /// The HTTP status code.
    public var code: Int
    /// `reason`, such as `Expired`, `Forbidden`, `Timeout`; empty if it gave none.
    public var reason: String
    /// `message`, for people.
    public var message: String
    /// `details.causes[].reason`, such as `ResourceVersionTooLarge`.
    public var causes: [String]
    /// `details.retryAfterSeconds`, if it asks for that.
    public var retryAfterSeconds: Int?

    /// Puts them together.
    public init(
        code: Int, reason: String = "", message: String = "", causes: [String] = [], retryAfterSeconds: Int? = nil
    ) {
        self.code = code
        self.reason = reason
        self.message = message
        self.causes = causes
        self.retryAfterSeconds = retryAfterSeconds
    }

    /// `403 Forbidden: services is forbidden …`.
    public var description: String {
        "\(code)\(reason.isEmpty ? "" : " \(reason)")\(message.isEmpty ? "" : ": \(message)")"
    }
}
