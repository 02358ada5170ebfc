import BPF
import Dataplane
import Foundation
import NeedletailABI
import NetLab
import NetTypes
import TestSupport
import Testing

@testable import Benchmark

@Suite(.serialized, .needsRoot, .ownThread, .timeLimit(.minutes(10))) struct ForwardSuiteTests {
    private static let forwarders: [Forwarder] = [.direct, .needletail(.xdp), .needletail(.tc)]

    /// The namespaces that threads of this process are in, by inode number.
    private static func namespaces() throws -> Set<UInt64> {
        let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")
        return Set(
            threads.compactMap { thread in
                var status = stat()
                return stat("/proc/self/task/\(thread)/ns/net", &status) == 0 ? UInt64(status.st_ino) : nil
            })
    }

    private static func inode(_ host: NetLab.Host) throws -> UInt64 {
        var status = stat()
        try #require(stat(host.namespace.path, &status) == 0)
        return UInt64(status.st_ino)
    }

    @Test func nothingOfAChainIsLeftBehind() async throws {
        var inodes: Set<UInt64> = []
        do {
            let node = try NodeUnderTest(.needletail(.xdp), BenchServices(count: 1, backends: 1), flows: 4096)
            let chain = node.chain
            let generator = try TrafficGenerator(chain)
            let flow = try #require(FlowCount("1"))
            try generator.open(flow, to: node.destination(.clusterIP, .v4))
            inodes = Set(try [chain.client, chain.node, chain.backend, chain.pod].map(Self.inode))
        }
        #expect(inodes.count == 4)
        let deadline = ContinuousClock.now + .seconds(60)
        while try !Self.namespaces().isDisjoint(with: inodes), ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(try Self.namespaces().isDisjoint(with: inodes))
    }

    /// With every peer that this kernel has; those it lacks are skipped, with the reason.
    @Test func theSuiteMeasuresEverybodyInEveryRound() throws {
        let settings = try RunSettings(
            suites: [.forward], services: [2], backends: 2, flows: FlowCount.list("1,64"), duration: 0.01, repeats: 2)
        let measurements = try ForwardSuite.run(settings) { _ in }
        #expect(Set(measurements.map(\.key)).count == measurements.count)
        for measurement in measurements {
            let key = measurement.key
            switch measurement.outcome {
            case .measured:
                #expect(measurement.samples.count == 2, "\(key)")
                #expect(measurement.samples.allSatisfy { $0 > 0 }, "\(key): \(measurement.samples)")
            case .skipped(let reason):
                #expect(PeerKind(rawValue: key.subject) != nil && !reason.isEmpty, "\(key): \(reason)")
                #expect(measurement.samples.isEmpty)
            case .failed(let reason): Issue.record("\(key): \(reason)")
            }
            #expect((measurement.reference == nil) == (key.subject == "direct"))
            if let reference = measurement.reference { #expect(measurements.contains { $0.key == reference }) }
        }
        let own = measurements.filter { $0.key.subject == "needletail-xdp" && $0.outcome == .measured }
        // Two families, in ns and as a rate: two numbers of flows established, the same masqueraded, and new ones.
        #expect(own.count == 2 * 2 * 5)
    }

    /// What is generated arrives, of as many flows as were asked for, and the node takes it for what it is named after.
    @Test(arguments: BenchServices.Placement.allCases)
    func everyGeneratedPacketGoesThroughTheNode(_ placement: BenchServices.Placement) throws {
        let flows = try #require(FlowCount("256"))
        let frontend: BenchFrontend = placement == .local ? .clusterIP : .nodePort
        for forwarder in Self.forwarders {
            let node = try NodeUnderTest(
                forwarder, BenchServices(count: 2, backends: 3, placement: placement), flows: 4096)
            let generator = try TrafficGenerator(node.chain)
            for family in IPFamily.allCases {
                let before = try node.needletail?.counters()
                let destination = node.destination(frontend, family)
                if before != nil { try generator.open(flows, to: destination) }
                let data = try generator.send(.data, flows, to: destination, count: 3000)
                #expect(data.delivered == 3000, "\(forwarder.subject) IPv\(family.rawValue)")
                let new = try generator.send(.newFlow, FlowCount(largest: ()), to: destination, count: 1000)
                #expect(new.delivered == 1000, "\(forwarder.subject) IPv\(family.rawValue)")
                #expect(new.answered == 0)
                guard let before, let after = try node.needletail?.counters() else { continue }
                #expect(after[.forwardNew] - before[.forwardNew] == 256 + 1000)
                #expect(after[.forwardEstablished] - before[.forwardEstablished] == 256 + 3000)
                #expect(after[.reverseTranslated] - before[.reverseTranslated] == 256)
                for reason in DatapathCounter.allCases where reason.outcome == .dropped {
                    #expect(after[reason] == before[reason], "\(reason.name)")
                }
            }
        }
    }
}
