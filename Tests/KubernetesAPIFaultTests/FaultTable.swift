import APIStandIn
import Testing

/// A fault with a name short enough for a test's title.
struct Mishap: Sendable, CustomTestStringConvertible {
    let name: String
    let fault: Fault

    init(_ name: String, _ fault: Fault) {
        self.name = name
        self.fault = fault
    }

    var testDescription: String { name }

    /// What a server or something on the way may answer instead of an answer.
    static let refusals = [
        Mishap("HTTP 410", .gone),
        Mishap("429 with Retry-After", .status(429, reason: "TooManyRequests", retryAfter: 1)),
        Mishap("429 without", .status(429, reason: "TooManyRequests")),
        Mishap("500", .status(500, reason: "InternalError")),
        Mishap("502 of a proxy", .answer(502, contentType: "text/html", body: "<html>Bad Gateway</html>")),
        Mishap("503", .status(503, reason: "ServiceUnavailable")),
        Mishap("504", .status(504, reason: "Timeout")),
        Mishap("200 of a captive portal", .answer(200, contentType: "text/html", body: "<html>Log in</html>")),
        Mishap("200 without a body", .answer(200, contentType: "application/json", body: "")),
        Mishap("200 of JSON that is no answer", .answer(200, contentType: "application/json", body: "[{}]\n")),
        Mishap("wrong content type", .contentType("text/plain")),
        Mishap("reset before the answer", .reset(after: nil)),
        Mishap("silence before the answer", .silence(after: nil)),
        Mishap("no answer", .stall(after: nil)),
        Mishap("headers without end", .endlessHeaders),
    ]

    /// What may happen to a body, of a list or a watch, right at its start or in the midst of an object.
    static let interruptions = [
        Mishap("reset at once", .reset(after: 0)),
        Mishap("reset in an object", .reset(after: 150)),
        Mishap("the end at once", .cut(after: 0)),
        Mishap("the end in an object", .cut(after: 150)),
        Mishap("silence at once", .silence(after: 0)),
        Mishap("silence in an object", .silence(after: 150)),
        Mishap("a stream that stalls in an object", .stall(after: 150)),
        Mishap("garbage", .garbage(after: 0)),
        Mishap("garbage in an object", .garbage(after: 150)),
    ]

    /// What may happen to a watch.
    static let events = [
        Mishap("in-stream 410", .expired),
        Mishap("in-stream 500", .streamError(500, reason: "InternalError")),
        Mishap("duplicate events", .duplicates),
        Mishap("reordered events", .reversal(of: 6)),
        Mishap("old events again", .replay),
        Mishap("slow trickle", .trickle(bytes: 60, milliseconds: 1)),
    ]
}
