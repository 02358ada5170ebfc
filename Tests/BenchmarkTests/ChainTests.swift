import BPF
import Dataplane
import NeedletailABI
import NetLab
import NetTypes
import Resolver
import TestSupport
import Testing

@testable import Benchmark

@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(5))) struct ChainTests {
    private static let forwarders: [Forwarder] = [.direct, .needletail(.xdp), .needletail(.tc)]

    /// Who answered, and whom it saw, for a request over a new connection.
    private func ask(_ client: Host, _ destination: TransportEndpoint) throws -> [String] {
        let connection = try TCPConnection(client, to: destination.address, port: destination.port)
        return try connection.request("hello").split(separator: " ").map(String.init)
    }

    @Test(arguments: BenchServices.Placement.allCases)
    func clientsReachTheMeasuredServiceHoweverItIsForwarded(_ placement: BenchServices.Placement) throws {
        let services = try BenchServices(count: 3, backends: 4, placement: placement)
        for forwarder in Self.forwarders {
            let node = try NodeUnderTest(forwarder, services, flows: 1024)
            let server = try EchoServer(node.chain.backend, port: BenchServices.backendPort)
            for family in IPFamily.allCases {
                for frontend in BenchFrontend.allCases {
                    let client = try node.chain.client.address(family)
                    let isSeen = placement == .local || forwarder.subject == "direct"
                    let answer = try ask(node.chain.client, node.destination(frontend, family))
                    #expect(answer[0] == server.name)
                    #expect(answer[1].contains("\(client)") == isSeen, "\(forwarder.subject) \(frontend): \(answer)")
                }
                let answer = try ask(node.chain.pod, node.destination(.clusterIP, family))
                #expect(answer[0] == server.name, "\(forwarder.subject) from a pod")
            }
            guard let needletail = node.needletail else { continue }
            let counters = try needletail.counters()
            let program: DatapathProgram = forwarder.subject == "needletail-xdp" ? .externalXDP : .externalIngress
            #expect(counters[program, .forwardNew] == 4)
            #expect(counters[.workloadIngress, .forwardNew] == 2)
        }
    }

    /// All Services but the measured one have endpoints that nobody has.
    @Test func allServicesAreProgrammedWithEndpointsOfTheirOwn() throws {
        let services = try BenchServices(count: 300, backends: 250)
        let all = IPFamily.allCases.flatMap { family in
            (0..<services.count).flatMap { services.endpoints($0, family) }
        }
        #expect(Set(all).count == 2 * 300 * 250)
        let desired = services.desiredState
        #expect(desired.problems.isEmpty && desired.conflicts.isEmpty)
        #expect(desired.frontends.count == 2 * 301)
        #expect(desired.backends == Set(all))
    }

    @Test func theNodesOwnSocketsAreLedByTheHooks() throws {
        let root = try #require(CgroupMount.find())
        let cgroup = try Cgroup(below: root, name: "needletail-bench-test")
        let node = try NodeUnderTest(
            .needletail(.sockets(cgroup.path)), BenchServices(count: 2, backends: 3), flows: 1024)
        let server = try EchoServer(node.chain.backend, port: BenchServices.backendPort)
        try cgroup.add(node.chain.node.namespace)
        for family in IPFamily.allCases {
            #expect(try ask(node.chain.node, node.destination(.clusterIP, family))[0] == server.name)
        }
        let counters = try #require(node.needletail).counters()
        for program in DatapathProgram.allCases {
            #expect((counters[program, .forwardNew] > 0) == (program == .socket), "\(program.name)")
        }
    }
}
