import APIStandIn
import Foundation
import ServiceModel
import Testing

/// What the recordings do not show.
@Suite(.timeLimit(.minutes(3))) struct BehaviourTests {
    static let services = "/api/v1/services"

    static func service(_ name: String, clusterIP: String = "203.0.113.10", proxyName: String? = nil) -> CatalogObject {
        .service(
            Service(
                name: ObjectName(namespace: "default", name: name), proxyName: proxyName, clusterIP: clusterIP,
                clusterIPs: [clusterIP], ports: [ServicePort(name: "http", port: 80)]))
    }

    /// The names in a list, or of the events of a watch with their types.
    static func names(_ body: [UInt8]) throws -> [String] {
        try JSON(parsing: body)["items"]?.elements.compactMap { $0[path: "metadata", "name"]?.text } ?? []
    }

    static func events(_ body: [UInt8]) throws -> [String] {
        try body.split(separator: 0x0A).map { line in
            let event = try JSON(parsing: line)
            let name = event[path: "object", "metadata", "name"]?.text ?? ""
            return "\(event["type"]?.text ?? "") \(name)".trimmingCharacters(in: .whitespaces)
        }
    }

    @Test func selectorsSelect() async throws {
        let server = try APIStandIn(objects: [
            StoredObject(Self.service("web")), StoredObject(Self.service("headless", clusterIP: "None")),
            StoredObject(Self.service("foreign", proxyName: "other")),
        ])
        let label = "service.kubernetes.io%2Fservice-proxy-name"
        let cases = [
            ("", ["foreign", "headless", "web"]), ("?labelSelector=%21\(label)", ["headless", "web"]),
            ("?labelSelector=\(label)%3Dother", ["foreign"]), ("?labelSelector=\(label)", ["foreign"]),
            ("?labelSelector=\(label)%21%3Dother", ["headless", "web"]),
            ("?fieldSelector=spec.clusterIP%21%3DNone", ["foreign", "web"]),
            ("?fieldSelector=metadata.name%3Dweb", ["web"]),
            ("?labelSelector=%21\(label)&fieldSelector=spec.clusterIP%21%3DNone", ["web"]),
        ]
        try await Client.with(server) { client async throws in
            for (query, expected) in cases {
                #expect(try Self.names(await client.get(Self.services + query).body) == expected, "\(query)")
            }
            #expect(try await client.get(Self.services + "?fieldSelector=spec.colour%3Dred").status == 400)
        }
    }

    @Test func aListInPartsIsOfOneVersion() async throws {
        let server = try APIStandIn(objects: (1...5).map { StoredObject(Self.service("s\($0)")) })
        try await Client.with(server) { client async throws in
            let first = try await client.get(Self.services + "?limit=2")
            #expect(try Self.names(first.body) == ["s1", "s2"])
            let metadata = try #require(try JSON(parsing: first.body)["metadata"])
            #expect(metadata["remainingItemCount"] == 3)
            let token = try #require(metadata["continue"]?.text)
            try server.put(Self.service("s9"))
            try server.delete(Self.service("s4").id)
            let path = Self.services + "?limit=9&continue=\(token.replacingOccurrences(of: "=", with: "%3D"))"
            let second = try await client.get(path)
            #expect(try Self.names(second.body) == ["s3", "s4", "s5"])
            #expect(try JSON(parsing: second.body)[path: "metadata", "resourceVersion"] == metadata["resourceVersion"])
            try server.forgetHistory()
            #expect(try await client.get(path).status == 410)
        }
    }

    @Test func aWatchTellsOfWhatHappenedSinceItsVersion() async throws {
        let server = try APIStandIn(objects: [StoredObject(Self.service("old"))])
        let version = try server.resourceVersion
        try server.put(Self.service("new"))
        try server.put(Self.service("old", proxyName: "other"))
        try server.put(Self.service("new", clusterIP: "203.0.113.20"))
        try server.delete(Self.service("new").id)
        let query = "?watch=true&timeoutSeconds=1&resourceVersion="
        try await Client.with(server) { client async throws in
            let all = try await client.get(Self.services + query + "\(version)")
            #expect(try Self.events(all.body) == ["ADDED new", "MODIFIED old", "MODIFIED new", "DELETED new"])
            let selected = try await client.get(
                Self.services + query + "\(version)&labelSelector=%21service.kubernetes.io%2Fservice-proxy-name")
            #expect(try Self.events(selected.body) == ["ADDED new", "DELETED old", "MODIFIED new", "DELETED new"])
            let recent = try await client.get(Self.services + query + "\(version + 3)")
            #expect(try Self.events(recent.body) == ["DELETED new"])
            #expect(try await client.get(Self.services + query + "99999").body == [], "the future is silent")
        }
    }

    @Test func aStreamedListFromTheFutureEndsWhenTheFutureIsThere() async throws {
        let server = try APIStandIn(objects: [StoredObject(Self.service("web"))])
        let path = Self.services + RecordingTests.watchList.replacing("&watch", with: "?watch") + "&resourceVersion=150"
        try await Client.with(server) { client async throws in
            let early = try await client.get(path + "&timeoutSeconds=1")
            #expect(try Self.events(early.body) == ["ADDED web"])
            let late = try await client.get(path + "&timeoutSeconds=2", token: "token-1")
            #expect(try Self.events(late.body) == ["ADDED web"])
            try server.sendBookmarks(version: 150)
            let now = try await client.get(path + "&timeoutSeconds=1")
            #expect(try Self.events(now.body) == ["ADDED web", "BOOKMARK"])
        }
    }

    @Test func anOldServerRefusesStreamedLists() async throws {
        var settings = APIStandIn.Settings()
        settings.supportsWatchLists = false
        let server = try APIStandIn(settings)
        try await Client.with(server) { client async throws in
            let answer = try await client.get(Self.services + "?" + RecordingTests.watchList.dropFirst())
            #expect(answer.status == 422)
            #expect(try JSON(parsing: answer.body)["reason"] == "Invalid")
        }
    }

    @Test func bigListsAreCompressedForThoseWhoCan() async throws {
        let server = try APIStandIn(objects: (0..<400).map { StoredObject(Self.service("s\($0)")) })
        try await Client.with(server) { client async throws in
            let plain = try await client.get(Self.services)
            let packed = try await client.get(Self.services, gzip: true)
            #expect(plain.headers["content-encoding"] == nil)
            #expect(packed.headers["content-encoding"] == "gzip")
            let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).gz")
            defer { try? FileManager.default.removeItem(at: file) }
            try Data(packed.body).write(to: file)
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = ["gzip", "-dc", file.path]
            let output = Pipe()
            process.standardOutput = output
            try process.run()
            let unpacked = Array(output.fileHandleForReading.readDataToEndOfFile())
            process.waitUntilExit()
            #expect(process.terminationStatus == 0)
            #expect(unpacked == plain.body)
        }
    }

    @Test func clientsAreKnownByTokenOrCertificate() async throws {
        let server = try APIStandIn()
        for pair in [server.certificates.ecClient, server.certificates.rsaClient] {
            for version in APIStandIn.HTTPVersion.allCases {
                let answer = try await Client.with(server, version, certificate: pair) {
                    try await $0.get(Self.services, token: nil)
                }
                #expect(answer.status == 200)
            }
        }
        #expect(try server.requests.map(\.user) == ["ec-client", "ec-client", "rsa-client", "rsa-client"])
        try server.setTokens(["token-2": "system:kube-proxy"])
        try await Client.with(server) { client async throws in
            #expect(try await client.get(Self.services, token: "token-1").status == 401)
            #expect(try await client.get(Self.services, token: "token-2").status == 200)
        }
    }

    @Test func eventsAreTaken() async throws {
        let server = try APIStandIn()
        let status = try await Client.with(server) {
            try await $0.post("/apis/events.k8s.io/v1/namespaces/default/events", "{\"reason\": \"Starting\"}")
        }
        #expect(status == 201)
        #expect(try server.events.map { $0["reason"] } == ["Starting"])
    }

    @Test(arguments: APIStandIn.HTTPVersion.allCases)
    func theServerComesBackAtTheSameAddress(_ version: APIStandIn.HTTPVersion) async throws {
        let server = try APIStandIn(objects: [StoredObject(Self.service("web"))])
        try await Client.with(server, version) { client async throws in
            #expect(try await client.get(Self.services).status == 200)
            try server.stop()
            await #expect(throws: (any Error).self) { try await client.get(Self.services) }
            try server.restart(objects: [StoredObject(Self.service("other"))], resourceVersion: 7)
            let answer = try await client.getAfterFailure(Self.services)
            #expect(try Self.names(answer.body) == ["other"])
            #expect(try JSON(parsing: answer.body)[path: "metadata", "resourceVersion"] == "7")
        }
    }

    static let brokenAnswers: [Fault] = [
        .reset(after: nil), .reset(after: 40), .cut(after: 40), .garbage(after: 40), .contentType("text/html"),
        .endlessHeaders, .gone, .status(429, reason: "TooManyRequests", retryAfter: 3),
        .answer(200, contentType: "text/html", body: "<html>log in</html>"),
    ]

    /// Each fault is seen by the client it is for, and by the next one no more.
    @Test(arguments: brokenAnswers, APIStandIn.HTTPVersion.allCases)
    func aFaultIsSeenOnce(_ fault: Fault, _ version: APIStandIn.HTTPVersion) async throws {
        let server = try APIStandIn(objects: [StoredObject(Self.service("web"))])
        try await Client.with(server, version) { client async throws in
            let good = try await client.get(Self.services)
            try server.inject(fault, into: RequestPattern(.services, .list))
            let bad = await Result { try await client.get(Self.services) }
            switch (fault, bad) {
            case (.reset, .failure), (.endlessHeaders, .failure): break
            case (.cut, .success(let answer)): #expect(answer.body == Array(good.body.prefix(40)))
            case (.garbage, .success(let answer)): #expect(answer.body.count > good.body.count)
            case (.contentType, .success(let answer)):
                #expect(answer.headers["content-type"] == "text/html")
                #expect(answer.body == good.body)
            case (.gone, .success(let answer)): #expect(answer.status == 410)
            case (.status, .success(let answer)):
                #expect(answer.status == 429)
                #expect(answer.headers["retry-after"] == "3")
            case (.answer, .success(let answer)): #expect(answer.body == Array("<html>log in</html>".utf8))
            default: Issue.record("\(fault): \(bad)")
            }
            #expect(try server.pendingFaults == 0)
            #expect(try await client.getAfterFailure(Self.services).body == good.body)
        }
    }
}

extension Result where Failure == any Error {
    fileprivate init(_ body: () async throws -> Success) async {
        do {
            self = .success(try await body())
        } catch {
            self = .failure(error)
        }
    }
}
