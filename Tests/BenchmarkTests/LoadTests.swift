import Foundation
import NetLab
import NetTypes
import TestSupport
import Testing

@testable import Benchmark

/// A client and a server with nothing but a wire between them.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(5))) struct LoadTests {
    private static let port: UInt16 = 8080

    private final class Pair {
        let client: NetLab.Host
        let backend: NetLab.Host
        let server: LoadServer
        /// The client's, towards the backend.
        let device: String

        init() throws {
            let topology = try Topology(podNames: ["backend"])
            client = topology.node
            backend = try topology.host("backend")
            server = try LoadServer(backend, port: LoadTests.port)
            device = try #require(topology.podDevices["backend"])
        }

        func load(
            _ kind: LoadKind, _ family: IPFamily, connections: Int = 16, duration: Double = 0.1, port: UInt16? = nil
        ) throws -> LoadClient {
            LoadClient(
                kind: kind, target: TransportEndpoint(try backend.address(family), port ?? LoadTests.port, .tcp),
                server: server, concurrency: connections, duration: duration)
        }
    }

    @Test(arguments: IPFamily.allCases, [1, 16, LoadClient.mostConnections])
    func everyConnectionAndRequestIsCountedOnceOnBothSides(_ family: IPFamily, _ connections: Int) throws {
        let pair = try Pair()
        var (answered, accepted) = (0, 0)
        for kind in [LoadKind.connect, .request, .connect] {
            let result = try pair.load(kind, family, connections: connections).run(from: pair.client)
            answered += result.total
            accepted += kind == .connect ? result.total : connections
            #expect(pair.server.answered == answered)
            #expect(pair.server.accepted == accepted)
            #expect(pair.server.open == 0)
            #expect(result.counted <= result.total && result.total >= connections)
            #expect(result.latencies.count == result.counted)
            #expect(result.elapsed == 100_000_000)
        }
        #expect(pair.server.streamed == 0)
    }

    @Test(arguments: IPFamily.allCases, [1, 16])
    func everyByteOfAStreamArrives(_ family: IPFamily, _ connections: Int) throws {
        let pair = try Pair()
        let result = try pair.load(.bulk, family, connections: connections).run(from: pair.client)
        #expect(result.total > 0 && pair.server.streamed == result.total)
        #expect(result.counted <= result.total)
        #expect(result.elapsed >= 100_000_000)
        #expect(pair.server.accepted == connections && pair.server.answered == 0 && pair.server.open == 0)
    }

    @Test func ratesAreOfWhatCountsInTheTimeThatCounts() {
        var result = LoadResult()
        result.total = 1000
        result.counted = 500
        result.elapsed = 250_000_000
        #expect(result.rate(.connect) == 2000 && result.rate(.request) == 2000)
        #expect(result.rate(.bulk) == 16_000)
        #expect(LoadResult().rate(.connect) == 0)
    }

    @Test(arguments: LoadKind.allCases) func aServerThatIsNotThereIsAnError(_ kind: LoadKind) throws {
        let pair = try Pair()
        let load = try pair.load(kind, .v4, port: 8081)
        let error = #expect(throws: LabError.self) { try load.run(from: pair.client) }
        #expect(error?.isRefused == true, "\(String(describing: error))")
    }

    @Test(arguments: LoadKind.allCases) func aServerThatIsKilledIsAnErrorAndNoHang(_ kind: LoadKind) throws {
        let pair = try Pair()
        let load = try pair.load(kind, .v6, duration: 60)
        let server = pair.server
        let killer = Thread {
            let deadline = ContinuousClock.now + .seconds(30)
            while server.answered == 0, server.streamed == 0, ContinuousClock.now < deadline { usleep(1000) }
            try? server.stop()
        }
        killer.start()
        #expect(throws: LabError.self) { try load.run(from: pair.client) }
    }

    @Test func silenceIsAnErrorAndNoHang() throws {
        let pair = try Pair()
        // An address that nobody has, by way of somebody who is no router.
        let nobody = IPAddress(v4: 0xC612_00FA)
        try pair.client.addRoute(
            to: #require(CIDR(nobody, length: 32)), via: pair.backend.address(.v4), device: pair.device)
        let load = LoadClient(
            kind: .connect, target: TransportEndpoint(nobody, Self.port, .tcp), server: pair.server, concurrency: 4,
            duration: 0.1, patience: 0.5)
        let error = #expect(throws: LabError.self) { try load.run(from: pair.client) }
        #expect(error?.isTimeout == true, "\(String(describing: error))")
    }

    @Test func aServerOfSomethingElseIsAnError() throws {
        let pair = try Pair()
        // It answers with lines, to lines: none is in a message of the load.
        let other = try EchoServer(pair.backend, port: 8081)
        defer { try? other.stop() }
        for kind in [LoadKind.connect, .request] {
            let load = LoadClient(
                kind: kind, target: TransportEndpoint(try pair.backend.address(.v4), 8081, .tcp), server: pair.server,
                concurrency: 2, duration: 0.1, patience: 0.5)
            #expect(throws: LabError.self) { try load.run(from: pair.client) }
        }
    }

    @Test func aClientOfSomethingElseIsDisconnected() throws {
        let pair = try Pair()
        let connection = try TCPConnection(pair.client, to: pair.backend.address(.v4), port: Self.port)
        let line = String(repeating: "x", count: 2 * LoadMessage.size)
        #expect(throws: LabError.self) { try connection.request(line) }
        #expect(pair.server.answered == 0)
        // Others are served on.
        #expect(try pair.load(.request, .v4).run(from: pair.client).total > 0)
    }

    @Test func aCountThatDiffersIsAnError() throws {
        let pair = try Pair()
        let other = try LoadServer(pair.backend, port: 8081)
        // The connections go to one server, and another is asked.
        let load = try pair.load(.connect, .v4, port: other.port)
        let error = #expect(throws: LabError.self) { try load.run(from: pair.client) }
        #expect(String(describing: error).contains("the server 0"))
    }

    @Test func stoppingFreesThePort() throws {
        let pair = try Pair()
        try pair.server.stop()
        let again = try LoadServer(pair.backend, port: Self.port)
        try again.stop()
    }
}
