import Dataplane
import Foundation
import NetLab
import NetTypes
import TestSupport
import Testing

@testable import Benchmark

@Suite(.serialized, .needsRoot, .ownThread, .timeLimit(.minutes(10))) struct ConnectSuiteTests {
    private static func settings(
        _ peers: [Peer] = [.none], families: [IPFamily] = IPFamily.allCases, repeats: Int = 2
    ) throws -> RunSettings {
        try RunSettings(
            suites: [.connect], peers: peers, services: [3], backends: 2, flows: [#require(FlowCount(1))],
            families: families, duration: 0.02, repeats: repeats)
    }

    private final class Weak {
        weak var namespace: NetworkNamespace?

        init(_ namespace: NetworkNamespace) { self.namespace = namespace }
    }

    /// The namespaces of a field, which live as long as the objects.
    private static func namespaces(_ field: ConnectField) -> [Weak] {
        field.stations.map(\.node.chain).flatMap { [$0.client, $0.node, $0.pod, $0.backend] }
            .map { Weak($0.namespace) }
    }

    /// Those that the suite makes in this process.
    private static func cgroups() throws -> [String] {
        let root = try #require(CgroupMount.find())
        return try FileManager.default.contentsOfDirectory(atPath: root)
            .filter { $0.hasPrefix("needletail-bench-\(getpid())-") }
    }

    private static func waitUntilClean(_ namespaces: [Weak] = []) throws {
        let deadline = ContinuousClock.now + .seconds(30)
        var left: [String] = []
        repeat {
            left = try cgroups() + namespaces.compactMap { $0.namespace?.name }
            if left.isEmpty { return }
            usleep(10_000)
        } while ContinuousClock.now < deadline
        Issue.record("left behind: \(left)")
    }

    @Test func everySubjectIsMeasuredOrSaysWhyNot() throws {
        let settings = try Self.settings(Peer.allCases)
        var lines: [String] = []
        let measurements = try ConnectSuite.run(settings, connections: 4) { lines.append($0) }
        #expect(!lines.isEmpty)
        #expect(Set(measurements.map(\.key)).count == measurements.count, "keys tell measurements apart")

        for measurement in measurements {
            switch measurement.outcome {
            case .measured:
                #expect(measurement.samples.count == settings.repeats)
                #expect(measurement.samples.allSatisfy { $0 >= 0 && $0.isFinite })
                #expect((measurement.latencies == nil) == (measurement.key.quantity == "bulk"))
            case .skipped(let reason):
                #expect(!reason.isEmpty && measurement.samples.isEmpty)
                #expect(measurement.key.subject != "direct")
            case .failed(let reason): Issue.record("\(measurement.key): \(reason)")
            }
            #expect(measurement.note != nil)
            if let reference = measurement.reference {
                #expect(reference.subject == "direct" && reference.conditions == measurement.key.conditions)
                #expect(reference.quantity == measurement.key.quantity)
                #expect(measurements.contains { $0.key == reference })
            } else {
                #expect(measurement.key.subject == "direct")
            }
        }
        let ways = Set(measurements.map { "\($0.key["path"] ?? "") \($0.key.subject)" })
        for path in ["pod", "host", "outside"] { #expect(ways.contains("\(path) direct")) }
        #expect(ways.isSuperset(of: ["pod needletail-tc", "host needletail-sockets", "outside needletail-xdp"]))
        for peer in ["iptables", "nftables", "ipvs"] {
            for path in ["pod", "outside"] {
                #expect(ways.contains { $0.hasPrefix("\(path) \(peer)") }, "\(peer) from \(path)")
            }
        }
        try Self.waitUntilClean()
    }

    @Test func aServerThatDiesFailsWhatNeedsItAndNothingElse() throws {
        var namespaces: [Weak] = []
        do {
            let settings = try Self.settings(families: [.v4], repeats: 3)
            let field = try ConnectField(settings, services: 1, connections: 2, progress: { _ in })
            namespaces = Self.namespaces(field)
            #expect(namespaces.contains { $0.namespace?.name == "client" })
            #expect(try !Self.cgroups().isEmpty)
            field.takeRound { _ in }
            #expect(field.measurements.allSatisfy { $0.outcome == .measured && $0.samples.count == 1 })
            try #require(field.stations.first).stopServer()
            field.takeRound { _ in }
            field.takeRound { _ in }
            for measurement in field.measurements {
                if measurement.key.subject == "direct" {
                    guard case .failed(let reason) = measurement.outcome else {
                        Issue.record("\(measurement.key) is \(measurement.outcome)")
                        continue
                    }
                    #expect(reason.hasPrefix("round 2: "))
                    #expect(measurement.samples.count == 1)
                } else {
                    #expect(measurement.outcome == .measured && measurement.samples.count == 3)
                }
            }
        }
        try Self.waitUntilClean(namespaces)
    }

    @Test func numbersOfConnectionsOutOfRangeAreRefused() throws {
        let settings = try Self.settings()
        for connections in [-1, 0, LoadClient.mostConnections + 1] {
            let error = #expect(throws: BenchmarkError.self) {
                _ = try ConnectSuite.run(settings, connections: connections) { _ in }
            }
            #expect(String(describing: error).contains("connections \(connections)"))
        }
    }
}
