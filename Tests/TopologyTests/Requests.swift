import NetLab
import NetTypes

/// What a server answered: who it is, and whom it saw.
struct Answer: Sendable, Hashable {
    let server: String
    let client: String

    init(_ text: String) throws {
        let words = text.split(separator: " ")
        guard words.count == 3 else { throw Unexpected(description: "\"\(text)\" is no answer of an echo server") }
        server = String(words[0])
        client = String(words[1])
    }
}

struct Unexpected: Error, CustomStringConvertible {
    let description: String
}

extension Host {
    /// One request over a new connection or socket. The answer must come from where the request went.
    func ask(
        _ service: TransportEndpoint, sourcePort: UInt16 = 0, timeout: Duration = .seconds(3)
    ) throws -> (answer: Answer, sourcePort: UInt16) {
        switch service.transport {
        case .tcp:
            let connection = try TCPConnection(
                self, to: service.address, port: service.port, sourcePort: sourcePort, timeout: timeout)
            defer { connection.close() }
            return (try Answer(connection.request("hello")), connection.local.port)
        default:
            let socket = try UDPClient(self, service.address.family, sourcePort: sourcePort, timeout: timeout)
            return (try socket.ask(service), socket.local.port)
        }
    }

    /// The servers that answered so many requests.
    func servers(of service: TransportEndpoint, requests: Int = 40) throws -> Set<String> {
        Set(try (0..<requests).map { _ in try ask(service).answer.server })
    }

    /// Whether a request gets no answer, in whatever way.
    func cannotReach(_ service: TransportEndpoint) -> Bool {
        (try? ask(service, timeout: .milliseconds(150))) == nil
    }
}

extension UDPClient {
    func ask(_ service: TransportEndpoint) throws -> Answer {
        let datagram = try request("hello", to: service.address, port: service.port)
        guard datagram.sender == service else {
            throw Unexpected(description: "\(service) was asked, \(datagram.sender) answered")
        }
        return try Answer(datagram.text)
    }
}
