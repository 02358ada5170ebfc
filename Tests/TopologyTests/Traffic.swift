import Foundation
import NetLab
import NetTypes
import Resolver
import Synchronization

/// Clients that do not stop asking a Service, over connections and sockets they keep and over new ones, from a pod and
/// from outside, in both families and protocols.
final class Traffic: Sendable {
    struct Report: Sendable {
        var requests = 0
        /// Datagrams that had to be sent twice: when and by whom. The second answer says that the flow was not stuck.
        var lostDatagrams: [String] = []
        var failures: [String] = []
    }

    private struct Work: Sendable {
        let client: NetLab.Host
        let frontend: TransportEndpoint
        /// Over one connection or socket for as long as it works.
        let isKept: Bool
    }

    private let report = Mutex(Report())
    private let isStopping = Atomic(false)
    private let running = DispatchGroup()

    init(_ cluster: Cluster, _ service: ServiceManifest, transports: [TransportProtocol] = [.tcp, .udp]) throws {
        for (client, kind) in [(try cluster.client, FrontendKind.clusterIP), (try cluster.outside, .nodePort)] {
            for family in IPFamily.allCases {
                for transport in transports {
                    let frontend = try cluster.frontend(service, kind, family, transport)
                    for isKept in [true, false] { start(Work(client: client, frontend: frontend, isKept: isKept)) }
                }
            }
        }
    }

    var requests: Int { report.withLock { $0.requests } }

    /// Waits until so many more requests have been answered.
    func goOn(requests more: Int = 400) throws {
        let wanted = requests + more
        try eventually("traffic flows; \(report.withLock { $0.failures })") { requests >= wanted }
    }

    /// Ends all clients. What they have under way, they finish.
    func stop() -> Report {
        isStopping.store(true, ordering: .relaxed)
        running.wait()
        return report.withLock { $0 }
    }

    private func start(_ work: Work) {
        running.enter()
        Thread.detachNewThread { [self] in
            defer { running.leave() }
            while !isStopping.load(ordering: .relaxed) {
                do {
                    try work.isKept ? keepAsking(work) : ask(work)
                } catch {
                    report.withLock { $0.failures.append("\(work.client.name) to \(work.frontend): \(error)") }
                    pause(.milliseconds(50))
                }
            }
        }
    }

    private func note() {
        report.withLock { $0.requests += 1 }
        pause(.milliseconds(4))
    }

    private func ask(_ work: Work) throws {
        if work.frontend.transport == .tcp {
            _ = try work.client.ask(work.frontend)
        } else {
            try ask(work, UDPClient(work.client, work.frontend.address.family))
        }
        note()
    }

    private func ask(_ work: Work, _ socket: UDPClient) throws {
        do {
            _ = try socket.ask(work.frontend)
        } catch let error as LabError where error.isTimeout {
            _ = try socket.ask(work.frontend)
            let loss = "\(Date()): \(work.client.name) to \(work.frontend), kept: \(work.isKept)"
            print("traffic: a datagram was lost: \(loss)")
            report.withLock { $0.lostDatagrams.append(loss) }
        }
    }

    private func keepAsking(_ work: Work) throws {
        guard work.frontend.transport == .tcp else {
            let socket = try UDPClient(work.client, work.frontend.address.family)
            while !isStopping.load(ordering: .relaxed) {
                try ask(work, socket)
                note()
            }
            return
        }
        let connection = try TCPConnection(work.client, to: work.frontend.address, port: work.frontend.port)
        let server = try Answer(connection.request("first")).server
        while !isStopping.load(ordering: .relaxed) {
            let now = try Answer(connection.request("next")).server
            guard now == server else { throw Unexpected(description: "was with \(server), is with \(now)") }
            note()
        }
    }
}
