/// What goes wrong with an answer, or with a watch that is open.
///
/// `after` is a number of bytes of the body, from the start of the answer or from when an open watch is disturbed; `nil`
/// is before the status line.
public enum Fault: Sendable, Hashable {
    /// A `Status` in place of the answer, with a `Retry-After` if that is given.
    case status(Int, reason: String, message: String = "a fault of the test", retryAfter: Int? = nil)
    /// Anything in place of the answer, as proxies and captive portals send it.
    case answer(Int, contentType: String, body: String)
    /// The right body under another `Content-Type`.
    case contentType(String)
    /// HTTP 410: what the list or watch asks for is gone.
    case gone
    /// A watch begins (or goes on) with an `ERROR` event of code 410 and ends.
    case expired
    /// A watch begins (or goes on) with an `ERROR` event and ends.
    case streamError(Int, reason: String)
    /// The connection is reset (RST).
    case reset(after: Int?)
    /// The answer ends, by the rules of HTTP.
    case cut(after: Int)
    /// The connection goes silent: nothing is read or written any more, HTTP/2 pings included.
    case silence(after: Int?)
    /// The answer goes silent; the connection is well.
    case stall(after: Int?)
    /// Bytes that nothing can make sense of are mixed in.
    case garbage(after: Int)
    /// From now on so many bytes at a time, each after so many milliseconds.
    case trickle(bytes: Int, milliseconds: Int64)
    /// Headers without end.
    case endlessHeaders
    /// Each event of the watch comes twice.
    case duplicates
    /// Events are held until there are so many, and sent in reverse order; then all is well.
    case reversal(of: Int)
    /// All changes since the store began to remember come again, those of deleted objects too.
    case replay

    /// Whether a watch that begins with it ends with it.
    var isEnd: Bool {
        switch self {
        case .expired, .streamError: true
        default: false
        }
    }

    /// Whether it is about events and not about bytes.
    var isOfEvents: Bool {
        switch self {
        case .duplicates, .reversal, .replay: true
        default: false
        }
    }
}

/// Which requests a fault is for.
public struct RequestPattern: Sendable, Hashable {
    /// What is asked.
    public enum Verb: Sendable, Hashable, CaseIterable {
        /// One object.
        case get
        /// A list.
        case list
        /// A watch from a version.
        case watch
        /// A watch that begins with all objects (`sendInitialEvents`).
        case watchList
        /// A new object: an Event.
        case create
        /// A change of an object: an Event.
        case patch
    }

    /// The collection; `nil` is any.
    public var resource: Resource?
    /// What is asked; empty is anything.
    public var verbs: Set<Verb>

    /// Requests for a collection, or for all.
    public init(_ resource: Resource? = nil, _ verbs: Verb...) {
        self.resource = resource
        self.verbs = Set(verbs)
    }

    func matches(_ resource: Resource?, _ verb: Verb) -> Bool {
        (self.resource == nil || self.resource == resource) && (verbs.isEmpty || verbs.contains(verb))
    }
}

/// A request as the stand-in has read it.
public struct ReceivedRequest: Sendable {
    /// The collection, if it is about one.
    public let resource: Resource?
    /// What is asked; `nil` where the stand-in has no such thing.
    public let verb: RequestPattern.Verb?
    /// `GET`.
    public let method: String
    /// The path without the query.
    public let path: String
    /// The query's parameters.
    public let query: [String: String]
    /// The header fields, names in lower case.
    public let headers: [String: String]
    /// The body, empty for most.
    public let body: [UInt8]
    /// Who asks; `nil` is nobody that is known.
    public let user: String?
    /// Whether it came by HTTP/2.
    public let isHTTP2: Bool
    /// What was answered: the status code, 0 for none.
    public var status: UInt = 0
}
