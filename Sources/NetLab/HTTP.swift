public import NetTypes

/// An HTTP response, as far as tests need it.
public struct HTTPResponse: Sendable, Hashable {
    /// The status code: 200.
    public let status: Int
    /// The body, by its Content-Length.
    public let body: String

    /// Reads one response from a stream.
    init(_ received: inout LineBuffer, _ object: String, _ receive: () throws -> [UInt8]) throws {
        guard let first = try received.line(receive) else { throw LabError("get", object, .closed) }
        let words = first.split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            throw LabError("get", object, .other("not HTTP: \(first)"))
        }
        var length = 0
        while let header = try received.line(receive), !header.isEmpty {
            let parts = header.split(separator: ":", maxSplits: 1)
            if parts.count == 2, parts[0].lowercased() == "content-length" {
                length = Int(parts[1].drop { $0 == " " }) ?? -1
            }
        }
        guard (0...1 << 20).contains(length), let body = try received.take(length, receive) else {
            throw LabError("get", object, .other("the body is missing or has no sensible length"))
        }
        self.status = status
        self.body = String(decoding: body, as: UTF8.self)
    }
}

/// Asks for a path over a new connection, and closes it.
public func httpGet(
    _ host: Host, from address: IPAddress, port: UInt16, path: String = "/", timeout: Duration = .seconds(3)
) throws -> HTTPResponse {
    let connection = try TCPConnection(host, to: address, port: port, timeout: timeout)
    defer { connection.close() }
    return try connection.get(path)
}
