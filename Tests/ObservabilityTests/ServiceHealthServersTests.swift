import Glibc
import NetTypes
import ServiceModel
import Synchronization
import Testing

@testable import Observability

@Suite struct ServiceHealthServersTests {
    private func running(
        isHealthy: @escaping @Sendable () -> Bool = { true }, _ reports: Reports<ServiceHealthReport> = Reports(),
        _ body: (ServiceHealthServers) async throws -> Void
    ) async throws {
        let thread = ServerThread()
        let servers = ServiceHealthServers(
            on: thread, retryInterval: .milliseconds(20), isProxyHealthy: isHealthy, report: { reports.add($0) })
        do {
            try await body(servers)
        } catch {
            await thread.shutdown()
            throw error
        }
        await thread.shutdown()
    }

    private func service(_ name: String, v4: Int? = nil, v6: Int? = nil) -> ServiceHealth {
        var endpoints: [IPFamily: Int] = [:]
        endpoints[.v4] = v4
        endpoints[.v6] = v6
        return ServiceHealth(service: ObjectName(namespace: "sem", name: name), localEndpoints: endpoints)
    }

    private func isListening(_ servers: ServiceHealthServers, _ sockets: Int) async -> Bool {
        await eventually { await servers.sockets().listening == sockets }
    }

    @Test func theAnswerIsKubeProxysByteByByte() async throws {
        let port = try PortHolder.freePort()
        try await running { servers in
            servers.reconcile([port: service("lblocal", v4: 1)])
            #expect(await isListening(servers, 1))
            for request in ["GET / HTTP/1.1", "GET /healthz?x=y HTTP/1.1", "POST /a/b HTTP/1.1", "PURGE /x HTTP/1.1"] {
                let answer = try await RawClient.ask(port, "\(request)\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                #expect(
                    answer.head == """
                        HTTP/1.1 200 OK
                        Content-Type: application/json
                        X-Content-Type-Options: nosniff
                        X-Load-Balancing-Endpoint-Weight: 1
                        Date: DATE
                        Content-Length: 114
                        """)
                #expect(
                    answer.body
                        == "{\n\t\"service\": {\n\t\t\"namespace\": \"sem\",\n\t\t\"name\": \"lblocal\"\n\t},\n"
                        + "\t\"localEndpoints\": 1,\n\t\"serviceProxyHealthy\": true\n}")
            }
        }
    }

    @Test func trafficIsWantedWhereThereAreEndpointsAndTheProxyIsHealthy() async throws {
        let isHealthy = Mutex(true)
        let port = try PortHolder.freePort()
        try await running(isHealthy: { isHealthy.withLock { $0 } }) { servers in
            for (endpoints, healthy, status) in [(3, true, 200), (0, true, 503), (2, false, 503), (0, false, 503)] {
                isHealthy.withLock { $0 = healthy }
                servers.reconcile([port: service("s", v4: endpoints)])
                #expect(await isListening(servers, 1))
                let answer = try await RawClient.get(port, "/")
                #expect(answer.status == status)
                #expect(answer.header("X-Load-Balancing-Endpoint-Weight") == "\(endpoints)")
                #expect(
                    answer.body.contains("\t\"localEndpoints\": \(endpoints),\n\t\"serviceProxyHealthy\": \(healthy)\n")
                )
            }
        }
    }

    @Test func eachFamilyHasItsOwnCount() async throws {
        let (both, only6) = (try PortHolder.freePort(), try PortHolder.freePort())
        try await running { servers in
            servers.reconcile([both: service("both", v4: 2, v6: 0), only6: service("six", v6: 5)])
            #expect(await isListening(servers, 3))
            let answers = [
                try await RawClient.get(both, "/", .v4), try await RawClient.get(both, "/", .v6),
                try await RawClient.get(only6, "/", .v6),
            ]
            #expect(answers.map(\.status) == [200, 503, 200])
            #expect(answers.map { $0.header("X-Load-Balancing-Endpoint-Weight") } == ["2", "0", "5"])
            #expect(throws: ClientError.self) { try RawClient(only6, .v4) }
        }
    }

    @Test func itListensWhereItIsTold() async throws {
        let port = try PortHolder.freePort()
        try await running { servers in
            let wanted = [port: service("s", v4: 1, v6: 1)]
            servers.reconcile(wanted, on: .only([IPAddress(v4: 0x7F00_0002), IPAddress(v6: 1)]))
            #expect(await isListening(servers, 2))
            #expect(throws: ClientError.self) { try RawClient(port, .v4) }
            let answer6 = try await RawClient.get(port, "/", .v6)
            #expect(answer6.status == 200)
            servers.reconcile(wanted, on: .only([IPAddress(v4: 0x7F00_0001)]))
            #expect(await isListening(servers, 1))
            let answer4 = try await RawClient.get(port, "/", .v4)
            #expect(answer4.status == 200)
        }
    }

    @Test func whatIsNotAffectedStaysOpen() async throws {
        let (stays, goes) = (try PortHolder.freePort(), try PortHolder.freePort())
        try await running { servers in
            servers.reconcile([stays: service("stays", v4: 1), goes: service("goes", v4: 1)])
            #expect(await isListening(servers, 2))
            let (client, other) = (try RawClient(stays), try RawClient(goes))
            for client in [client, other] {
                try await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(try await client.receiveAnswer().status == 200)
            }
            servers.reconcile([stays: service("stays", v4: 7)])
            #expect(await isListening(servers, 1))
            // The connection is still there, and knows the new count; the other one's is closed.
            try await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try await client.receiveAnswer().header("X-Load-Balancing-Endpoint-Weight") == "7")
            #expect(try await other.receiveAll() == "")
            #expect(throws: ClientError.self) { try RawClient(goes) }
            servers.close()
            #expect(await isListening(servers, 0))
            #expect(throws: ClientError.self) { try RawClient(stays) }
        }
    }

    @Test func aPortThatIsTakenIsToldOfOnceAndTriedUntilItIsFree() async throws {
        let holder = try PortHolder(port: PortHolder.freePort())
        let reports = Reports<ServiceHealthReport>()
        try await running(reports) { servers in
            for _ in 0..<3 {
                servers.reconcile([holder.port: service("s", v4: 1)])
                #expect(await eventually { await servers.sockets().failed == 1 })
            }
            try await Task.sleep(for: .milliseconds(200))
            #expect(reports.list.count == 1)
            let report = try #require(reports.list.first)
            #expect(report.service == ObjectName(namespace: "sem", name: "s"))
            #expect(report.address == ListenAddress(address: IPAddress(v4: 0), port: holder.port))
            #expect(report.failure?.errno == EADDRINUSE)
            // Another Service that wants the port must be told as well.
            servers.reconcile([holder.port: service("t", v4: 1)])
            #expect(await eventually { reports.list.count == 2 })
            #expect(reports.list.last?.service.name == "t")
            holder.release()
            #expect(await isListening(servers, 1))
            #expect(try await RawClient.get(holder.port, "/").status == 200)
            #expect(reports.list.count == 3)
            #expect(reports.list.last?.failure == nil && reports.list.last?.service.name == "t")
        }
    }

    /// More sockets than the usual limit of descriptors, on one thread.
    @Test func thousandsOfPortsAreNothingSpecial() async throws {
        try await running { servers in
            // Fewer where the machine's hard limit is low.
            let ports = Int(min(700, ((ProcessFigures.read().maxDescriptors ?? 0) - 300) / 2))
            var wanted: [UInt16: ServiceHealth] = [:]
            while wanted.count < ports { wanted[try PortHolder.freePort()] = service("s", v4: 1, v6: 2) }
            servers.reconcile(wanted)
            #expect(await isListening(servers, 2 * wanted.count))
            let port = try #require(wanted.keys.randomElement())
            #expect(try await RawClient.get(port, "/").status == 200)
            servers.close()
            #expect(await isListening(servers, 0))
        }
    }

    /// Whatever is asked for in which order, in the end there is what was asked for last.
    @Test func theLastWordCounts() async throws {
        let ports = try (0..<40).map { _ in try PortHolder.freePort() }
        try await running { servers in
            for round in 0..<50 {
                let wanted = ports.enumerated().filter { ($0.offset + round) % 3 == 0 }.map(\.element)
                servers.reconcile(Dictionary(wanted.map { ($0, service("s\($0)", v4: round)) }) { $1 })
            }
            let last = Dictionary(ports.prefix(10).map { ($0, service("s\($0)", v4: 1)) }) { $1 }
            servers.reconcile(last)
            #expect(await isListening(servers, last.count))
            for port in last.keys {
                let answer = try await RawClient.get(port, "/")
                #expect(answer.body.contains("\"s\(port)\""))
            }
            #expect(await servers.sockets().failed == 0)
        }
    }
}
