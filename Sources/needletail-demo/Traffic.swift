import Dispatch
import Glibc
import NetLab
import NetTypes
import Synchronization

/// Clients that ask without end, each on a thread of its own.
final class Traffic: Sendable {
    /// What they saw.
    let ledger = Ledger()
    private let network: Network
    private let isStopping = Atomic(false)
    private let running = DispatchGroup()

    init(_ network: Network) {
        self.network = network
    }

    /// Starts a client for each way that needs a new connection or flow for each request.
    func startNewcomers() {
        for stream in Stream.newcomers {
            run("new") { [self] in
                var count: UInt16 = 0
                while !isStopping.load(ordering: .relaxed) {
                    count += 1
                    askOnce(stream, number: count)
                    usleep(10_000)
                }
            }
        }
    }

    /// One request over a connection or flow of its own, which is number `number` of its stream.
    func askOnce(_ stream: Stream, number: UInt16) {
        let epoch = ledger.epoch
        do {
            ledger.answered(stream, by: try answer(stream, number), begun: epoch)
        } catch {
            fail { ledger.failed(stream, "\(error)") }
        }
    }

    /// Makes one TCP connection and one UDP flow from each place over each family to each of the backends, and keeps
    /// them busy. Which backend a connection gets is up to the datapath, so it tries until it has one of each.
    func keepOne(onEach servers: Set<String>, _ interrupts: Interrupts) throws {
        for place in Place.allCases {
            for family in IPFamily.allCases {
                for kind in [Stream.Kind.connection, .flow] {
                    try keepOne(Stream(place: place, family: family, kind: kind), servers, interrupts)
                }
            }
        }
    }

    /// Asks all clients to end; `false` if some did not within the time.
    func stop() -> Bool {
        isStopping.store(true, ordering: .relaxed)
        return running.wait(timeout: .now() + .seconds(8)) == .success
    }

    private func keepOne(_ stream: Stream, _ servers: Set<String>, _ interrupts: Interrupts) throws {
        var wanted = servers
        let limit = 400
        for _ in 0..<limit {
            try interrupts.pause()
            let client = try KeptClient(network, stream)
            guard wanted.remove(client.server) != nil else { continue }
            let number = ledger.keep(stream, on: client.server)
            run("kept") { [self] in ask(client, number) }
            if wanted.isEmpty { return }
        }
        throw DemoError.unreached(wanted.sorted().joined(separator: " and "), attempts: limit)
    }

    private func ask(_ client: KeptClient, _ number: Int) {
        var count = 0
        while !isStopping.load(ordering: .relaxed) {
            count += 1
            let epoch = ledger.epoch
            do {
                ledger.keptAnswered(number, by: try client.ask("\(count)"), begun: epoch)
            } catch {
                fail { ledger.keptFailed(number, "\(error)") }
                return
            }
            usleep(10_000)
        }
    }

    /// What fails while everything is being taken down is no failure.
    private func fail(_ note: () -> Void) {
        if !isStopping.load(ordering: .relaxed) { note() }
    }

    private func answer(_ stream: Stream, _ number: UInt16) throws -> String {
        let host = try network.client(stream.place)
        let destination = try network.destination(stream.place, stream.family, stream.transport)
        guard stream.transport == .udp else {
            let response = try httpGet(host, from: destination.address, port: destination.port)
            guard response.status == 200 else {
                throw LabError("get", "\(destination)", .other("status \(response.status)"))
            }
            return response.body.firstWord
        }
        // A port that was not used before: else it would not be a new flow.
        let client = try UDPClient(host, stream.family, sourcePort: 1024 + number % 30_000)
        return try client.checkedRequest("\(number)", to: destination)
    }

    private func run(_ label: String, _ body: @escaping @Sendable () -> Void) {
        DispatchQueue(label: "demo.\(label)").async(group: running, execute: body)
    }
}

/// A connection or UDP flow that is kept.
private final class KeptClient: Sendable {
    /// Who answered the first request.
    let server: String
    private let connection: TCPConnection?
    private let datagrams: UDPClient?
    private let destination: TransportEndpoint

    init(_ network: Network, _ stream: Stream) throws {
        let host = try network.client(stream.place)
        destination = try network.destination(stream.place, stream.family, stream.transport)
        if stream.transport == .tcp {
            let connection = try TCPConnection(host, to: destination.address, port: destination.port)
            server = try connection.request("hello").firstWord
            (self.connection, datagrams) = (connection, nil)
        } else {
            let datagrams = try UDPClient(host, stream.family)
            server = try datagrams.checkedRequest("hello", to: destination)
            (connection, self.datagrams) = (nil, datagrams)
        }
    }

    /// Sends a request and returns who answered. A connection is answered by the same backend always.
    func ask(_ text: String) throws -> String {
        if let datagrams { return try datagrams.checkedRequest(text, to: destination) }
        guard let answer = try connection?.request(text) else { return server }
        guard answer.firstWord == server, answer.hasSuffix(" \(text)") else {
            throw LabError("ask", "\(destination)", .other("\(server) was asked \(text), the answer is: \(answer)"))
        }
        return server
    }
}

extension UDPClient {
    /// Sends and waits for the answer, which must come from where the request went: the Service, not the backend.
    fileprivate func checkedRequest(_ text: String, to destination: TransportEndpoint) throws -> String {
        let answer = try request(text, to: destination.address, port: destination.port)
        guard answer.sender == destination, answer.text.hasSuffix(" \(text)") else {
            throw LabError("ask", "\(destination)", .other("\(answer.sender) answered: \(answer.text)"))
        }
        return answer.text.firstWord
    }
}

extension String {
    fileprivate var firstWord: String { String(prefix { $0 != " " }) }
}
