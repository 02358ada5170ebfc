/// A request, as far as these servers care.
public struct HTTPQuestion: Sendable, Hashable {
    /// The method, such as `GET`.
    public let method: String
    /// The path without the query.
    public let path: String

    init(method: String, target: String) {
        self.method = method
        // Clients may send the absolute form too (RFC 9112 section 3.2.2).
        var rest = Substring(target)
        if !rest.hasPrefix("/"), let scheme = rest.firstRange(of: "://") {
            rest = rest[scheme.upperBound...].drop { $0 != "/" && $0 != "?" }
        }
        let path = rest.prefix { $0 != "?" && $0 != "#" }
        self.path = path.isEmpty ? "/" : String(path)
    }
}

/// An answer. Date and length are added when it is sent.
public struct HTTPAnswer: Sendable, Hashable {
    /// The status code.
    public var status: Int
    /// Headers in their order.
    public var headers: [Header]
    /// The body.
    public var body: String

    /// A header.
    public struct Header: Sendable, Hashable {
        /// Its name, as it is sent.
        public var name: String
        /// Its value.
        public var value: String

        /// Puts the two together.
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// An answer whose body is of the type it claims to be.
    public init(status: Int = 200, contentType: String = "text/plain; charset=utf-8", _ body: String) {
        self.status = status
        headers = [Header("Content-Type", contentType), Header("X-Content-Type-Options", "nosniff")]
        self.body = body
    }

    /// There is nothing there; as Go's `http.NotFound` says it.
    public static let notFound = HTTPAnswer(status: 404, "404 page not found\n")
}
