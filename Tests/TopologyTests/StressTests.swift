import Dataplane
import Foundation
import NeedletailABI
import NetLab
import NetTypes
import Resolver
import Synchronization
import TestSupport
import Testing

/// Endpoints change as fast as the agents can follow, while packets of thousands of flows go through.
@Suite(.needsRoot, .ownThread, .timeLimit(.minutes(10))) struct StressTests {
    @Test(arguments: Forwarding.programs) func noFlowNoticesThatOtherEndpointsChange(_ forwarding: Forwarding) throws {
        let pair = try TwoNodes.serving(forwarding, ["--max-udp-flows": "262144"]) { pair in
            try Stress.services.map { try Stress.manifest($0, pair, Stress.stayers) }
        }
        let stress = try Stress(pair)
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        let deadline = ContinuousClock.now + .seconds(30)
        let enough = ContinuousClock.now + .seconds(6)
        var changes = 0
        var services: [(number: Int, isThere: Bool)] = Stress.services.map { ($0, true) }
        while .now < deadline && (.now < enough || changes < 100 || stress.rounds < 2) {
            try stress.change(pair, &services, &random)
            changes += 1
        }
        let report = stress.stop()
        print(
            "stress: \(forwarding.testDescription), \(changes) changes, \(report.flows) flows, \(report.requests) requests, "
                + "\(report.moves) sockets moved, \(report.disturbed) answers late or lost when they did")
        #expect(report.strangers == [], "seed \(seed)")
        #expect(report.moved == [], "seed \(seed)")
        #expect(report.failures == [], "seed \(seed)")
        #expect(report.moves > 0, "no socket had to move: nothing was tested")
        #expect(report.flows > 2000)
        for node in pair.nodes {
            let counters = try node.counters()
            for counter in DatapathCounter.allCases where counter.outcome == .dropped {
                // What asks for a Service that is not there is refused.
                guard counter != .dropNoEndpoints, counter != .dropUnallocated, counter != .dropUnknownPort else {
                    continue
                }
                #expect(counters[counter] == 0, "\(counter.name) on \(node.name), seed \(seed)")
            }
        }
    }
}

/// Servers of several Services on the same pods, and clients that keep asking them.
///
/// Each Service has a port of its own on every pod, so that a packet for the backend of another is answered by a server
/// of another name. Endpoints `a` and `c` stay, `b` and `d` come and go; Services 5 and 6 come and go themselves.
final class Stress: Sendable {
    struct Report: Sendable {
        var flows = 0
        var requests = 0
        /// Sockets that another pod served than before, as their own was gone.
        var moves = 0
        /// Requests of flows to endpoints that come and go whose answer was lost or came untranslated: it was on its way
        /// when the flow ended.
        var disturbed = 0
        /// Answers by servers of another Service.
        var strangers: [String] = []
        /// Flows to living endpoints that were served by another.
        var moved: [String] = []
        var failures: [String] = []
    }

    static let services = Array(1...6)
    static let stayers = ["a", "c"]
    private static let leavers = ["b", "d"]
    private static let passing: Set<Int> = [5, 6]
    private static let socketsPerService = 48
    private static let connectionsPerService = 12

    private struct Work: Sendable {
        let client: NetLab.Host
        let frontends: [(number: Int, frontend: TransportEndpoint)]
        let transport: TransportProtocol
    }

    private let report = Mutex(Report())
    private let roundsDone = Mutex<[Int: Int]>([:])
    private let isStopping = Atomic(false)
    private let running = DispatchGroup()
    private let servers: [EchoServer]

    static func manifest(_ number: Int, _ pair: TwoNodes, _ pods: [String], _ states: [String: EndpointState] = [:])
        throws -> ServiceManifest
    {
        var service = try pair.service("stress-\(number)", number: number, on: pods, states)
        service.targetPort = targetPort(number)
        return service
    }

    private static func targetPort(_ number: Int) -> UInt16 { 8100 + UInt16(number) }

    init(_ pair: TwoNodes) throws {
        servers = try Self.services.flatMap { number in
            try (Self.stayers + Self.leavers).map {
                try EchoServer(pair.host($0), port: Self.targetPort(number), name: "\($0)/\(number)")
            }
        }
        var works: [Work] = []
        for (name, kind) in [("outside", FrontendKind.nodePort), ("pod0", .clusterIP)] {
            for (family, transport) in IPFamily.allCases.flatMap({ [($0, TransportProtocol.tcp), ($0, .udp)] }) {
                let client = try pair.host(name)
                let frontends = Self.services.map {
                    ($0, pair.frontend(ServiceManifest("", number: $0), kind, family, transport))
                }
                works.append(Work(client: client, frontends: frontends, transport: transport))
            }
        }
        for (i, work) in works.enumerated() {
            roundsDone.withLock { $0[i] = 0 }
            running.enter()
            Thread.detachNewThread { [self] in
                defer { running.leave() }
                do {
                    if work.transport == .tcp {
                        try keepConnections(work, i)
                    } else {
                        try keepSockets(work, i)
                    }
                } catch {
                    note { $0.failures.append("\(work.client.name): \(error)") }
                }
            }
        }
    }

    /// How often every client has asked over all its flows.
    var rounds: Int { roundsDone.withLock { $0.values.min() ?? 0 } }

    /// Makes one change and waits until an agent has followed it.
    func change(
        _ pair: TwoNodes, _ services: inout [(number: Int, isThere: Bool)], _ random: inout SeededGenerator
    ) throws {
        let syncs = try pair.nodes.map { try $0.syncs() }
        let i = random.below(services.count)
        let number = services[i].number
        if Self.passing.contains(number), services[i].isThere, Bool.random(using: &random) {
            try pair.manifests.remove("stress-\(number).yaml")
            services[i].isThere = false
        } else {
            var pods = Self.stayers
            var states: [String: EndpointState] = [:]
            for pod in Self.leavers where Bool.random(using: &random) {
                pods.append(pod)
                states[pod] = EndpointState.allCases[random.below(EndpointState.allCases.count)]
            }
            try pair.manifests.put(Self.manifest(number, pair, pods.shuffled(using: &random), states))
            services[i].isThere = true
        }
        // The same as before is no change, and nothing follows it.
        let deadline = ContinuousClock.now + .milliseconds(100)
        while .now < deadline {
            if try zip(pair.nodes, syncs).allSatisfy({ try $0.syncs() > $1 }) { return }
            pause(.milliseconds(1))
        }
    }

    /// Ends all clients. What they have under way, they finish.
    func stop() -> Report {
        isStopping.store(true, ordering: .relaxed)
        running.wait()
        return report.withLock { $0 }
    }

    private func note(_ change: (inout Report) -> Void) { report.withLock { change(&$0) } }

    /// The pod that answered, if it is of that Service.
    private func pod(_ server: String, of number: Int, _ what: @autoclosure () -> String) -> String? {
        let parts = server.split(separator: "/")
        guard parts.count == 2, parts[1] == "\(number)" else {
            let text = "\(what()) was answered by \(server)"
            note { $0.strangers.append(text) }
            return nil
        }
        return String(parts[0])
    }

    // MARK: TCP

    private func keepConnections(_ work: Work, _ index: Int) throws {
        struct Kept {
            let number: Int
            let connection: TCPConnection
            let server: String
        }
        var kept: [Kept] = []
        var round = 0
        while !isStopping.load(ordering: .relaxed) {
            for (number, frontend) in work.frontends {
                let what = "\(work.client.name) to \(frontend)"
                // One new connection each time; at first, those to keep.
                do {
                    let connection = try TCPConnection(
                        work.client, to: frontend.address, port: frontend.port, timeout: .seconds(10))
                    let server = try Answer(connection.request("first")).server
                    _ = pod(server, of: number, what)
                    note {
                        $0.flows += 1
                        $0.requests += 1
                    }
                    if round < Self.connectionsPerService {
                        kept.append(Kept(number: number, connection: connection, server: server))
                    } else {
                        connection.close()
                    }
                } catch {
                    guard !Self.passing.contains(number) else { continue }
                    note { $0.failures.append("\(what): \(error)") }
                }
            }
            for flow in kept {
                do {
                    // Whatever became of the endpoint: its pod lives, and a connection stays where it is.
                    let server = try Answer(flow.connection.request("on")).server
                    note { $0.requests += 1 }
                    if server != flow.server { note { $0.moved.append("TCP from \(flow.server) to \(server)") } }
                } catch {
                    note { $0.failures.append("\(work.client.name), Service \(flow.number), \(flow.server): \(error)") }
                }
            }
            round += 1
            roundsDone.withLock { $0[index] = round }
        }
    }

    // MARK: UDP

    private struct Socket {
        let number: Int
        let frontend: TransportEndpoint
        let client: UDPClient
        var pod: String?
    }

    private func keepSockets(_ work: Work, _ index: Int) throws {
        var sockets: [Socket] = []
        for (number, frontend) in work.frontends {
            for _ in 0..<Self.socketsPerService {
                let client = try UDPClient(work.client, frontend.address.family, timeout: .seconds(1))
                sockets.append(Socket(number: number, frontend: frontend, client: client))
            }
        }
        note { $0.flows += sockets.count }
        var round = 0
        while !isStopping.load(ordering: .relaxed) {
            for i in sockets.indices { ask(&sockets[i], round, "\(work.client.name), kept") }
            for (number, frontend) in work.frontends where !Self.passing.contains(number) {
                for _ in 0..<Self.socketsPerService / 4 {
                    let client = try UDPClient(work.client, frontend.address.family, timeout: .seconds(1))
                    var once = Socket(number: number, frontend: frontend, client: client)
                    ask(&once, round, "\(work.client.name), new")
                    note { $0.flows += 1 }
                }
            }
            round += 1
            roundsDone.withLock { $0[index] = round }
        }
    }

    /// One request; a flow to an endpoint that stays may not be disturbed at all.
    private func ask(_ socket: inout Socket, _ round: Int, _ what: String) {
        let isPassing = Self.passing.contains(socket.number)
        let mayBeDisturbed = isPassing || socket.pod.map { Self.leavers.contains($0) } ?? false
        let place = "\(what) socket \(socket.client.local.port) to \(socket.frontend)"
        for attempt in 0..<2 {
            do {
                let answer = try answer(socket, "\(round).\(attempt)")
                note { $0.requests += 1 }
                guard let pod = pod(answer.server, of: socket.number, place) else { return }
                if let before = socket.pod, before != pod {
                    if Self.stayers.contains(before), !isPassing {
                        note { $0.moved.append("\(place): from \(before) to \(pod)") }
                    } else {
                        note { $0.moves += 1 }
                    }
                }
                socket.pod = pod
                return
            } catch {
                guard mayBeDisturbed else {
                    let failure = "\(place), with \(socket.pod ?? "nobody") before: \(error)"
                    note { $0.failures.append(failure) }
                    continue
                }
                note { $0.disturbed += 1 }
                // The Service may be gone for now, and the client need not wait for it.
                if isPassing { return }
            }
        }
    }

    /// The answer to this very request: an earlier one may have come late.
    private func answer(_ socket: Socket, _ payload: String) throws -> Answer {
        let isPassing = Self.passing.contains(socket.number)
        try socket.client.setTimeout(isPassing ? .milliseconds(20) : .seconds(2))
        try socket.client.send(payload, to: socket.frontend.address, port: socket.frontend.port)
        while true {
            let datagram = try socket.client.receive()
            guard datagram.text.hasSuffix(" \(payload)") else { continue }
            guard datagram.sender == socket.frontend else {
                throw Unexpected(description: "\(socket.frontend) was asked, \(datagram.sender) answered")
            }
            return try Answer(datagram.text)
        }
    }
}

extension TestNode {
    /// How often its agent has brought the maps in step.
    func syncs() throws -> UInt64 {
        let maps = try maps()
        return try maps.nodeRecord().syncs
    }
}
