import APIStandIn
import Foundation
import ServiceModel
import Testing

/// The stand-in with the objects of a real API server says what that said, byte for byte.
@Suite(.timeLimit(.minutes(3))) struct RecordingTests {
    static let labels = "labelSelector=%21service.kubernetes.io%2F"
    static let services = "/api/v1/services?\(labels)service-proxy-name&fieldSelector=spec.clusterIP%21%3DNone"
    static let slices = "/apis/discovery.k8s.io/v1/endpointslices?\(labels)headless"
    static let watchList =
        "&watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"

    struct Case: Sendable, CustomTestStringConvertible {
        let resource: Resource
        let path: String
        let form: String
        var testDescription: String { "\(resource) \(form)" }

        var accept: String { form == "pb" ? "application/vnd.kubernetes.protobuf" : "application/json" }
    }

    static let lists = ["json", "pb"].flatMap {
        [
            Case(resource: .services, path: services, form: $0),
            Case(resource: .endpointSlices, path: slices, form: $0),
        ]
    }

    @Test(arguments: lists, APIStandIn.HTTPVersion.allCases)
    func aListIsTheRecordedOne(_ list: Case, _ version: APIStandIn.HTTPVersion) async throws {
        let name = list.resource.rawValue
        let server = try APIStandIn(
            objects: Recording.objects(list.resource, "\(name).list.json"), resourceVersion: 271)
        let answer = try await Client.with(server, version) { try await $0.get(list.path, accept: list.accept) }
        #expect(answer.status == 200)
        #expect(answer.isHTTP2 == (version == .http2))
        #expect(answer.headers["content-type"] == list.accept)
        #expect(answer.body == (try Recording.bytes("\(name).list.\(list.form)")))
    }

    @Test(arguments: [
        (Resource.nodes, "/api/v1/nodes?fieldSelector=metadata.name%3Dnode-a", "node.list.json"),
        (Resource.serviceCIDRs, "/apis/networking.k8s.io/v1/servicecidrs", "servicecidrs.list.json"),
    ]) func theRarerListsAreTheRecordedOnes(_ resource: Resource, _ path: String, _ file: String) async throws {
        let server = try APIStandIn(objects: Recording.objects(resource, file), resourceVersion: 271)
        try server.put(.node(Node(name: "another")))
        let answer = try await Client.with(server) { try await $0.get(path) }
        let recorded = try Recording.json(file)
        #expect(try JSON(parsing: answer.body)["items"] == recorded["items"])
    }

    @Test(arguments: lists) func aWatchIsTheRecordedOne(_ watch: Case) async throws {
        let name = watch.resource.rawValue
        let events = try Recording.events("\(name).watchlist.jsonl")
        let recorded = try Recording.bytes("\(name).watchlist.\(watch.form == "pb" ? "pb" : "jsonl")")
        let initial = events.prefix { $0.type == "ADDED" }.map {
            StoredObject(watch.resource, Self.stripped($0.object))
        }
        let server = try APIStandIn(objects: initial, resourceVersion: 271)
        let received = try await Client.with(server) { client in
            try await client.read(watch.path + Self.watchList, accept: watch.accept, bytes: recorded.count) {
                for event in events.dropFirst(initial.count + 1) { try Self.replay(event, watch.resource, server) }
            }
        }
        #expect(received == recorded)
    }

    /// Makes happen what a recorded event tells of.
    private static func replay(
        _ event: (type: String, object: JSON), _ resource: Resource, _ server: APIStandIn
    ) throws {
        let version = event.object[path: "metadata", "resourceVersion"]?.text.flatMap { UInt64($0) }
        var object = StoredObject(resource, stripped(event.object))
        switch event.type {
        case "BOOKMARK": try server.sendBookmarks(version: version)
        case "DELETED" where object.name.name == "dns":
            object.json["metadata"]?["labels"] = ["service.kubernetes.io/service-proxy-name": "other"]
            try server.put(object, version: version)
        case "DELETED":
            let kind = resource == .services ? ObjectKind.service : .endpointSlice
            // It is as it was last, which the recording of the deletion shows.
            #expect(try server.objects(resource).contains { $0.name == object.name })
            try server.delete(ObjectID(kind: kind, name: object.name), version: version)
        default: try server.put(object, version: version)
        }
    }

    private static func stripped(_ object: JSON) -> JSON {
        var object = object
        object["kind"] = nil
        object["apiVersion"] = nil
        return object
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let file: String
        let path: String
        var token: String?
        var version: UInt64 = 303
        var testDescription: String { file }
    }

    static let refusals = [
        Refusal(file: "list-anonymous.http", path: "/api/v1/services"),
        Refusal(file: "list-bad-token.http", path: "/api/v1/services", token: "wrong"),
        Refusal(file: "list-forbidden.http", path: "/api/v1/services", token: "no-role"),
        Refusal(
            file: "list-future-resourceversion.http",
            path: "/api/v1/services?resourceVersionMatch=NotOlderThan&resourceVersion=99999999", token: "token-1"),
        Refusal(
            file: "watch-expired.http", path: "/api/v1/services?watch=true&resourceVersion=1", token: "token-1",
            version: 317),
    ]

    @Test(arguments: refusals, APIStandIn.HTTPVersion.allCases)
    func aRefusalIsTheRecordedOne(_ refusal: Refusal, _ version: APIStandIn.HTTPVersion) async throws {
        var settings = APIStandIn.Settings()
        let user = "system:serviceaccount:kube-system:svc-proxy"
        settings.tokens["no-role"] = user
        settings.usersWithoutRole = [user]
        let server = try APIStandIn(settings, resourceVersion: refusal.version)
        let answer = try await Client.with(server, version) { try await $0.get(refusal.path, token: refusal.token) }
        let recorded = try Recording.answer(refusal.file)
        #expect(answer.status == recorded.status)
        #expect(try JSON(parsing: answer.body) == JSON(parsing: recorded.body))
        var names = Set(answer.headers.keys)
        // Of a body of which the length is not known; NIO's client makes it up for HTTP/2.
        names.remove("transfer-encoding")
        #expect(names == Set(recorded.headers.keys))
        for name in ["content-type", "cache-control", "retry-after"] {
            #expect(answer.headers[name] == recorded.headers[name])
        }
    }
}
