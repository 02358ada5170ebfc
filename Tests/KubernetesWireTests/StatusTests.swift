import KubernetesWire
import ServiceModel
import Testing

@Suite("Failures the API server tells of")
struct StatusTests {
    @Test(
        "A recorded answer that refuses a list",
        arguments: [
            ("list-anonymous.http", 403, "Forbidden", [], nil), ("list-bad-token.http", 401, "Unauthorized", [], nil),
            ("list-forbidden.http", 403, "Forbidden", [], nil),
            ("list-future-resourceversion.http", 504, "Timeout", ["ResourceVersionTooLarge"], 1),
        ] as [(String, Int, String, [String], Int?)])
    func recorded(_ file: String, _ code: Int, _ reason: String, _ causes: [String], _ retry: Int?) throws {
        let body = try Fixture.body(file)
        let status = try #require(Fixture.status(body))
        #expect(status.code == code && status.reason == reason && status.causes == causes)
        #expect(status.retryAfterSeconds == retry && !status.message.isEmpty)
    }

    @Test("A watch from a version that is gone fails within the stream")
    func expired() throws {
        let body = try Fixture.body("watch-expired.http")
        let events = try Fixture.events(body, .service, .json)
        #expect(
            events == [
                .failure(
                    APIStatus(code: 410, reason: "Expired", message: "too old resource version: 1 (317)"))
            ])
    }

    @Test("A Status means the same in protobuf")
    func protobuf() throws {
        let content = Protobuf.message([
            (1, .message([(1, .text("")), (2, .text(""))])), (2, .text("Failure")), (3, .text("slow down")),
            (4, .text("TooManyRequests")),
            (5, .message([(1, .text("x")), (4, .message([(1, .text("A")), (2, .text("B"))])), (5, .number(3))])),
            (6, .number(429)),
        ])
        let body = SampleGenerator.envelope("Status", content)
        let expected = APIStatus(
            code: 429, reason: "TooManyRequests", message: "slow down", causes: ["A"], retryAfterSeconds: 3)
        #expect(Fixture.status(body) == expected)
        let events = try Fixture.events(SampleGenerator.frame("ERROR", body), .node, .protobuf)
        #expect(events == [.failure(expected)])
    }

    @Test(
        "A body that is no Status gives none",
        arguments: [
            "", "404 page not found\n", "{}", "[]", "{\"kind\":\"Pod\"}", "{\"code\":404}", "{\"kind\":\"Status\"",
            "<html>", "k8s␀", "k8s␀ab",
        ])
    func none(_ body: String) {
        let bytes = Array(body.replacing("␀", with: "\0").utf8)
        #expect(Fixture.status(bytes) == nil)
    }

    @Test("A bookmark tells whether it ends the initial events", arguments: WireFormat.allCases)
    func bookmarks(_ format: WireFormat) throws {
        func bookmark(_ annotations: [(String, String)]) -> [UInt8] {
            let metadata = Protobuf.message(
                [(6, .text("12"))] + Protobuf.map(annotations).map { (12, $0) })
            guard format == .json else {
                return SampleGenerator.frame(
                    "BOOKMARK", SampleGenerator.envelope("Service", .message([(1, metadata), (2, .message([]))])))
            }
            let pairs = annotations.map { "\"\($0)\":\"\($1)\"" }.joined(separator: ",")
            return Array(
                "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Service\",\"metadata\":{\"resourceVersion\":\"12\",\"annotations\":{\(pairs)}}}}\n"
                    .utf8)
        }
        let bytes = bookmark([("k8s.io/initial-events-end", "true")]) + bookmark([("other", "true")])
        let events = try Fixture.events(bytes, .service, format)
        #expect(
            events == [
                .bookmark(ResourceVersion("12"), endsInitialEvents: true),
                .bookmark(ResourceVersion("12"), endsInitialEvents: false),
            ])
    }
}
