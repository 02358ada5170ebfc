import Foundation
import NIOHTTP1

/// A request, read.
struct Request {
    /// Who asks.
    enum Identity {
        case user(String)
        case anonymous
        /// With credentials that nobody has.
        case unknown
    }

    let exchange: Exchange
    let identity: Identity
    let received: ReceivedRequest
    /// The form of the answer; `nil` if none that is accepted can be served.
    let form: WireForm?
    /// The object's name, where it is about one.
    let name: String

    var query: [String: String] { received.query }

    init(_ exchange: Exchange, user identity: Identity) {
        self.exchange = exchange
        self.identity = identity
        let parts = exchange.head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = String(parts[0])
        var query: [String: String] = [:]
        for pair in (parts.count > 1 ? parts[1] : "").split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            query[Self.decoded(sides[0])] = sides.count > 1 ? Self.decoded(sides[1]) : ""
        }
        var headers: [String: String] = [:]
        for (name, value) in exchange.head.headers { headers[name.lowercased()] = value }
        let method = exchange.head.method.rawValue
        let (resource, verb, name) = Self.route(method, path, query)
        self.name = name
        form = Self.form(of: headers["accept"] ?? "*/*")
        var user: String?
        if case .user(let name) = identity { user = name }
        received = ReceivedRequest(
            resource: resource, verb: verb, method: method, path: path, query: query, headers: headers,
            body: exchange.requestBody, user: user, isHTTP2: exchange.isHTTP2)
    }

    private static func decoded(_ text: Substring) -> String {
        text.replacingOccurrences(of: "+", with: " ").removingPercentEncoding ?? String(text)
    }

    private static func route(
        _ method: String, _ path: String, _ query: [String: String]
    ) -> (Resource?, RequestPattern.Verb?, String) {
        if method == "GET" {
            for resource in Resource.allCases {
                if path == resource.path {
                    guard ["true", "1"].contains(query["watch"] ?? "") else { return (resource, .list, "") }
                    return (resource, query["sendInitialEvents"] == "true" ? .watchList : .watch, "")
                }
                if path.hasPrefix(resource.path + "/") {
                    return (resource, .get, String(path.dropFirst(resource.path.count + 1)))
                }
            }
        }
        let segments = path.split(separator: "/")
        let isEvents = path.hasPrefix("/apis/events.k8s.io/v1/namespaces/") || path.hasPrefix("/api/v1/namespaces/")
        if isEvents, method == "POST", segments.last == "events" { return (nil, .create, "") }
        if isEvents, method == "PATCH", segments.dropLast().last == "events" { return (nil, .patch, "") }
        return (nil, nil, "")
    }

    private static func form(of accept: String) -> WireForm? {
        for part in accept.split(separator: ",") {
            let type = part.split(separator: ";")[0].filter { $0 != " " }
            switch type {
            case "application/vnd.kubernetes.protobuf": return .protobuf
            case "application/json", "*/*", "application/*": return .json
            default: continue
            }
        }
        return nil
    }

    var acceptsGzip: Bool {
        (received.headers["accept-encoding"] ?? "").split(separator: ",").contains { $0.contains("gzip") }
    }

    /// For the fault that gives the answer another one.
    private(set) var contentType: String?

    func replaceContentType(in fields: inout [(String, String)]) {
        guard let contentType else { return }
        fields = fields.map { $0.0 == "content-type" ? ($0.0, contentType) : $0 }
    }

    func with(contentType: String) -> Request {
        var copy = self
        copy.contentType = contentType
        return copy
    }

    func selector(of resource: Resource) throws(Status.Failure) -> Selector {
        do {
            return try Selector(
                labels: query["labelSelector"] ?? "", fields: query["fieldSelector"] ?? "", of: resource)
        } catch {
            throw Status.Failure(Status(code: 400, reason: "BadRequest", message: error.description))
        }
    }

    /// The version asked for; 0 for none.
    func version() throws(Status.Failure) -> UInt64 {
        let text = query["resourceVersion"] ?? ""
        guard let version = text.isEmpty ? 0 : UInt64(text) else {
            throw Status.Failure(
                Status(
                    code: 400, reason: "BadRequest", message: "invalid resource version \"\(text)\": not a number"))
        }
        return version
    }

    /// The rules of apimachinery's `ValidateListOptions` for watches.
    func checkWatch(supportsWatchLists: Bool) throws(Status.Failure) {
        let match = query["resourceVersionMatch"] ?? ""
        guard query["sendInitialEvents"] != nil else {
            guard match.isEmpty else {
                throw .invalid(
                    "resourceVersionMatch",
                    "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
            }
            return
        }
        guard supportsWatchLists else {
            throw .invalid(
                "sendInitialEvents",
                "Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
        }
        guard match == "NotOlderThan" else {
            throw .invalid(
                "resourceVersionMatch",
                "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            )
        }
    }

    func forbidden(user: String) -> Status {
        let resource = received.resource?.rawValue ?? "events"
        let verb = received.verb.map { $0 == .watchList ? "watch" : "\($0)" } ?? "get"
        let group = received.resource?.group ?? "events.k8s.io"
        return Status(
            code: 403, reason: "Forbidden",
            message: "\(resource) is forbidden: User \"\(user)\" cannot \(verb) resource \"\(resource)\" in API group "
                + "\"\(group)\" at the cluster scope",
            details: .compact(["group": group.isEmpty ? nil : .string(group), "kind": .string(resource)]))
    }
}

extension Status {
    /// A status thrown.
    struct Failure: Error {
        let status: Status

        init(_ status: Status) { self.status = status }

        static func invalid(_ field: String, _ message: String) -> Failure {
            Failure(
                Status(
                    code: 422, reason: "Invalid",
                    message: "ListOptions.meta.k8s.io \"\" is invalid: \(field): \(message)",
                    details: [
                        "group": "meta.k8s.io", "kind": "ListOptions",
                        "causes": [
                            [
                                "reason": "FieldValueForbidden", "message": .string(message), "field": .string(field),
                            ]
                        ],
                    ]))
        }
    }

    /// A list of a version that is not there yet.
    static func tooLarge(_ version: UInt64, current: UInt64) -> Status {
        Status(
            code: 504, reason: "Timeout",
            message: "Timeout: Too large resource version: \(version), current: \(current)",
            details: [
                "causes": [["reason": "ResourceVersionTooLarge", "message": "Too large resource version"]],
                "retryAfterSeconds": 1,
            ])
    }
}

/// Where a list in parts goes on.
struct ContinueToken {
    let version: UInt64
    let after: String

    init(version: UInt64, after: String) {
        self.version = version
        self.after = after
    }

    init?(_ text: String) {
        guard let data = Data(base64Encoded: text) else { return nil }
        let parts = String(decoding: data, as: UTF8.self).split(separator: " ", maxSplits: 1)
        guard parts.count == 2, let version = UInt64(parts[0]) else { return nil }
        self.init(version: version, after: String(parts[1]))
    }

    var text: String { Data("\(version) \(after)".utf8).base64EncodedString() }
}

/// gzip without compression (RFC 1952, RFC 1951, 3.2.4): what has to be undone is the wrapping.
enum Gzip {
    static func wrap(_ bytes: [UInt8]) -> [UInt8] {
        var output: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF]
        var rest = bytes[...]
        repeat {
            let block = rest.prefix(0xFFFF)
            rest = rest.dropFirst(block.count)
            let length = UInt16(block.count)
            output.append(rest.isEmpty ? 1 : 0)
            for value in [length, ~length] { output += [UInt8(truncatingIfNeeded: value), UInt8(value >> 8)] }
            output += block
        } while !rest.isEmpty
        for value in [checksum(bytes), UInt32(truncatingIfNeeded: bytes.count)] {
            output += [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: value >> $0) }
        }
        return output
    }

    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xEDB8_8320 ^ (value >> 1) : value >> 1 }
    }

    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~0) { sum, byte in table[Int((sum ^ UInt32(byte)) & 0xFF)] ^ (sum >> 8) }
    }
}
