import Glibc
import NIOCore
import NetTypes
import ServiceModel
import Synchronization
import Testing

@testable import Observability

/// What a server has reported.
final class Reports<Report: Sendable>: Sendable {
    private let all = Mutex<[Report]>([])

    func add(_ report: Report) { all.withLock { $0.append(report) } }

    var list: [Report] { all.withLock { $0 } }
}

extension Reports<BindReport> {
    /// The port it listens on, once it does.
    func port() async throws -> UInt16 {
        var port: UInt16?
        let found = await eventually {
            if case .listening(let address) = list.last { port = address.port }
            return port != nil
        }
        return try #require(found ? port : nil)
    }
}

let loopback = ListenAddress(address: IPAddress(v4: 0x7F00_0001), port: 0)

/// Runs a server while `body` asks it.
func serving(
    _ server: (ServerThread, @escaping @Sendable (BindReport) -> Void) -> HTTPServer,
    _ body: (UInt16) async throws -> Void
) async throws {
    let thread = ServerThread()
    let reports = Reports<BindReport>()
    let server = server(thread) { reports.add($0) }
    let running = Task { try await server.run() }
    do {
        try await body(try await reports.port())
    } catch {
        running.cancel()
        throw error
    }
    running.cancel()
    _ = await running.result
    await thread.shutdown()
}

/// An HTTP server with limits of a test's own.
func serving(
    limits: ConnectionLimits = ConnectionLimits(), _ answering: Answering, _ body: (UInt16) async throws -> Void
) async throws {
    try await serving(
        { thread, report in
            HTTPServer(
                loopback, on: thread, failsHard: false, retryInterval: .milliseconds(20), limits: limits,
                report: report, answering)
        }, body)
}

let echo = Answering.atOnce { HTTPAnswer("\($0.method) \($0.path)") }

@Suite struct HTTPServerTests {
    @Test func healthIsAnsweredAsKubeProxyAnswersIt() async throws {
        let time = FakeClocks()
        let health = HealthState(clocks: time.clocks)
        health.update(Node(name: "n"))
        health.updated([.v4])
        try await serving({ .health(loopback, on: $0, health, report: $1) }) { port in
            let body =
                #"{"lastUpdated":"2026-11-21T01:20:00Z","currentTime":"2026-11-21T01:20:00Z","nodeEligible":true,"#
                + #""healthy":true,"status":{"IPv4":{"lastUpdated":"2026-11-21T01:20:00Z","healthy":true}}}"#
            for method in ["GET", "POST", "DELETE", "OPTIONS", "PROPFIND"] {
                let answer = try await RawClient.ask(
                    port, "\(method) /healthz?verbose HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                #expect(
                    answer.head == """
                        HTTP/1.1 200 OK
                        Content-Type: application/json
                        X-Content-Type-Options: nosniff
                        Date: DATE
                        Content-Length: \(body.utf8.count)
                        """)
                #expect(answer.body == body)
            }
            #expect(try await RawClient.get(port, "/livez").status == 200)
            for path in ["/", "/healthz/", "/healthzz", "/metrics", "/livez/x", "//healthz", "*"] {
                let answer = try await RawClient.get(port, path)
                #expect(answer.status == 404, "\(path)")
                #expect(answer.body == "404 page not found\n")
                #expect(answer.header("Content-Type") == "text/plain; charset=utf-8")
            }
            time.pass(.seconds(1))
            health.queuedUpdate([.v4])
            time.pass(.seconds(60))
            let late = try await RawClient.get(port, "/livez")
            #expect(late.head.hasPrefix("HTTP/1.1 503 Service Unavailable\n"))
            #expect(
                late.body.hasPrefix(
                    #"{"lastUpdated":"2026-11-21T01:20:00Z","currentTime":"2026-11-21T01:21:01Z","healthy":false"#))
            #expect(health.answers.healthz == [200: 5] && health.answers.livez == [200: 1, 503: 1])
        }
    }

    @Test func headersComeWithoutTheBodyForHEAD() async throws {
        try await serving(echo) { port in
            let client = try RawClient(port)
            try await client.send("HEAD /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            let text = try await client.receiveAll()
            #expect(text.hasSuffix("Content-Length: 7\r\nConnection: close\r\n\r\n"))
        }
    }

    @Test func aConnectionServesManyRequestsAlsoAtOnce() async throws {
        try await serving(echo) { port in
            let client = try RawClient(port)
            for path in ["/a", "/b"] {
                try await client.send("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(try await client.receiveAnswer().body == "GET \(path)")
            }
            try await client.send(
                (0..<20).map { "GET /\($0) HTTP/1.1\r\nHost: x\r\n\($0 == 19 ? "Connection: close\r\n" : "")\r\n" }
                    .joined())
            let text = try await client.receiveAll()
            var rest = text[...]
            for index in 0..<20 {
                let found = try #require(rest.firstRange(of: "GET /\(index)"))
                rest = rest[found.upperBound...]
            }
        }
    }

    @Test func oldClientsAreTakenLeaveOf() async throws {
        try await serving(echo) { port in
            let client = try RawClient(port)
            try await client.send("GET /old HTTP/1.0\r\n\r\n")
            let text = try await client.receiveAll()
            #expect(text.hasPrefix("HTTP/1.0 200 OK\r\n") && text.hasSuffix("\r\n\r\nGET /old"))
        }
    }

    @Test(arguments: [false, true]) func aClientMayEndItsSideOnceItHasAsked(_ answersLater: Bool) async throws {
        let later = Answering.later { question in
            try? await Task.sleep(for: .milliseconds(50))
            return HTTPAnswer(question.path)
        }
        try await serving(answersLater ? later : .atOnce { HTTPAnswer($0.path) }) { port in
            let client = try RawClient(port)
            try await client.send("GET /half HTTP/1.1\r\nHost: x\r\n\r\n")
            client.finishSending()
            #expect(try await client.receiveAll().hasSuffix("\r\n\r\n/half"))
        }
    }

    @Test func aClientMayLeaveBeforeItIsAnswered() async throws {
        let (gate, open) = AsyncStream.makeStream(of: Void.self)
        let (asked, answered) = (Counter(), Counter())
        let answering = Answering.later { question in
            asked.add()
            if question.path == "/slow" {
                for await _ in gate { break }
                answered.add()
            }
            return HTTPAnswer(question.path)
        }
        try await serving(answering) { port in
            var client: RawClient? = try RawClient(port)
            try await client?.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(await eventually { asked.value == 1 })
            client = nil
            #expect(try await RawClient.get(port, "/on").body == "/on")
            open.finish()
            #expect(await eventually { answered.value == 1 })
            #expect(try await RawClient.get(port, "/on").body == "/on")
        }
    }

    @Test(arguments: [
        "\u{1}\u{2}\u{3}\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ])
    func whatIsNoRequestIsNotAnsweredWithContent(_ bytes: String) async throws {
        try await serving(limits: ConnectionLimits(request: .milliseconds(500)), echo) { port in
            let client = try RawClient(port)
            try await client.send(bytes)
            let text = try await client.receiveAll()
            #expect(text.isEmpty || text.hasPrefix("HTTP/1.1 400 Bad Request\r\n"))
            #expect(try await RawClient.get(port, "/on").body == "GET /on")
        }
    }

    @Test(arguments: [
        "GET /\(String(repeating: "a", count: 100_000)) HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nX: \(String(repeating: "a", count: 100_000))\r\n\r\n",
        "GET / HTTP/1.1\r\n\(String(repeating: "X: y\r\n", count: 1000))\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n\(String(repeating: "a", count: 200_000))",
    ])
    func whatIsTooLargeIsNotRead(_ request: String) async throws {
        try await serving(echo) { port in
            let client = try RawClient(port)
            // It may be closed before all of it has been sent.
            try? await client.send(request)
            let text = try await client.receiveAll()
            #expect(!text.hasPrefix("HTTP/1.1 200"))
            #expect(try await RawClient.get(port, "/on").body == "GET /on")
        }
    }

    @Test(arguments: [
        "", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
    ])
    func whoeverTarriesIsClosed(_ begin: String) async throws {
        var limits = ConnectionLimits()
        limits.idle = .milliseconds(100)
        limits.request = .milliseconds(100)
        try await serving(limits: limits, echo) { port in
            let client = try RawClient(port)
            try await client.send(begin)
            #expect(try await client.receiveAll() == "")
        }
    }

    /// Byte after byte does not extend the time for a request.
    @Test func tricklingDoesNotHelp() async throws {
        try await serving(limits: ConnectionLimits(request: .milliseconds(300)), echo) { port in
            let client = try RawClient(port)
            var isClosed = false
            for _ in 0..<3000 where !isClosed {
                do { try await client.send("G") } catch { isClosed = true }
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(isClosed)
        }
    }

    @Test func idleConnectionsGiveWay() async throws {
        try await serving(limits: ConnectionLimits(connections: 4), echo) { port in
            let idle = try (0..<20).map { _ in try RawClient(port) }
            #expect(try await RawClient.get(port, "/on").body == "GET /on")
            #expect(try await idle[0].receiveAll() == "")
        }
    }

    @Test func connectionsThatWaitForAnAnswerDoNotGiveWay() async throws {
        let (gate, open) = AsyncStream.makeStream(of: Void.self)
        let asked = Counter()
        let answering = Answering.later { question in
            asked.add()
            for await _ in gate { break }
            return HTTPAnswer(question.path)
        }
        try await serving(limits: ConnectionLimits(connections: 2), answering) { port in
            let clients = try (0..<2).map { _ in try RawClient(port) }
            for client in clients { try await client.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n") }
            #expect(await eventually { asked.value == 2 })
            // There is no room for a third one.
            #expect(try await RawClient(port).receiveAll() == "")
            open.finish()
            for client in clients { #expect(try await client.receiveAnswer().body == "/slow") }
        }
    }

    @Test func aPortThatIsTakenIsTriedUntilItIsFree() async throws {
        let holder = try PortHolder(port: PortHolder.freePort())
        let thread = ServerThread()
        let reports = Reports<BindReport>()
        let server = HTTPServer(
            ListenAddress(address: loopback.address, port: holder.port), on: thread, failsHard: false,
            retryInterval: .milliseconds(20), report: { reports.add($0) }, echo)
        let running = Task { try await server.run() }
        #expect(await eventually { !reports.list.isEmpty })
        // Attempts that fail for the same reason are not told of.
        try await Task.sleep(for: .milliseconds(200))
        guard case .failed(let failure) = reports.list.first else {
            Issue.record("\(reports.list)")
            return
        }
        #expect(reports.list.count == 1)
        #expect(failure.errno == EADDRINUSE)
        #expect(
            failure.description.hasPrefix("cannot listen on 127.0.0.1:\(holder.port): Address already in use"),
            "\(failure)")
        holder.release()
        #expect(try await reports.port() == holder.port)
        #expect(try await RawClient.get(holder.port, "/on").status == 200)
        running.cancel()
        _ = await running.result
        // It is closed, for the next one.
        #expect(throws: ClientError.self) { try RawClient(holder.port) }
        await thread.shutdown()
    }

    @Test func aPortThatIsTakenCanBeFatal() async throws {
        let holder = try PortHolder(port: PortHolder.freePort())
        defer { holder.release() }
        let thread = ServerThread()
        let server = HTTPServer.health(
            ListenAddress(address: loopback.address, port: holder.port), on: thread, HealthState(), failsHard: true)
        await #expect(throws: BindFailure.self) { try await server.run() }
        await thread.shutdown()
    }

    @Test func allAddressesAreThoseOfBothFamilies() async throws {
        let everywhere = ListenAddress(address: nil, port: 0)
        try await serving({ .health(everywhere, on: $0, HealthState(), report: $1) }) { port in
            for family in PortHolder.families {
                let answer = try await RawClient.get(port, "/livez", family)
                #expect(answer.status == 200, "\(family)")
            }
        }
    }

    @Test(
        arguments: [
            ("0.0.0.0:10256", nil, 10256), ("[::]:10256", nil, 10256), (":10256", nil, 10256),
            ("127.0.0.1:10249", "127.0.0.1", 10249), ("[::1]:1", "::1", 1),
            ("[2001:db8::1]:65535", "2001:db8::1", 65535),
        ] as [(String, String?, UInt16)])
    func addressesAreRead(_ text: String, _ address: String?, _ port: UInt16) throws {
        #expect(try ListenAddress(text) == ListenAddress(address: address.flatMap { IPAddress($0) }, port: port))
    }

    @Test(arguments: [
        "", "10256", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "::1:10256", "localhost:1", "[::1]",
        "127.0.0.1:+1", "[127.0.0.1:1", "1.2.3:1",
    ])
    func whatIsNoAddressIsSaid(_ text: String) {
        #expect { try ListenAddress(text) } throws: {
            "\($0)".contains("\"\(text)\"") && "\($0)".contains("expected ADDRESS:PORT")
        }
    }

    @Test(arguments: [
        ("/a?b", "/a"), ("/a#b", "/a"), ("http://h:1/a/b?c", "/a/b"), ("http://h", "/"), ("*", "*"), ("", "/"),
    ])
    func thePathIsWithoutTheRest(_ target: String, _ path: String) {
        #expect(HTTPQuestion(method: "GET", target: target).path == path)
    }
}
