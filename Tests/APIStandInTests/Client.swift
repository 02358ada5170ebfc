import APIStandIn
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL

/// A plain HTTPS client, so that what the stand-in says is seen as it is.
struct Client: Sendable {
    private let server: APIStandIn
    private let client: HTTPClient

    struct Answer: Sendable {
        var status: UInt
        var headers: [String: String]
        var isHTTP2: Bool
        var body: [UInt8]
    }

    /// Runs the closure with a client of the server, which shows a certificate or a token.
    static func with<R>(
        _ server: APIStandIn, _ version: APIStandIn.HTTPVersion = .http2, certificate: Certificates.Pair? = nil,
        _ body: (Client) async throws -> R
    ) async throws -> R {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .certificates(
            try NIOSSLCertificate.fromPEMBytes(Array(server.certificates.authority.utf8)))
        if let certificate {
            tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.certificate.utf8))
                .map { .certificate($0) }
            tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(certificate.key.utf8), format: .pem))
        }
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        configuration.httpVersion = version == .http2 ? .automatic : .http1Only
        let client = HTTPClient(configuration: configuration)
        do {
            let result = try await body(Client(server: server, client: client))
            try await client.shutdown()
            return result
        } catch {
            try await client.shutdown()
            throw error
        }
    }

    private func request(_ path: String, accept: String, token: String?) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: server.url + path)
        request.headers.add(name: "accept", value: accept)
        if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
        return request
    }

    func get(
        _ path: String, accept: String = "application/json", token: String? = "token-1", gzip: Bool = false
    ) async throws -> Answer {
        var request = request(path, accept: accept, token: token)
        if gzip { request.headers.add(name: "accept-encoding", value: "gzip") }
        let response = try await client.execute(request, deadline: .now() + .seconds(60))
        return Answer(
            status: response.status.code,
            headers: Dictionary(response.headers.map { ($0.name.lowercased(), $0.value) }) { $1 },
            isHTTP2: response.version == .http2,
            body: Array(try await response.body.collect(upTo: 64 << 20).readableBytesView))
    }

    /// The same after a connection has broken: AsyncHTTPClient may fail one more request (`cancelled`) before it sees
    /// that.
    func getAfterFailure(_ path: String) async throws -> Answer {
        for _ in 0..<20 {
            if let answer = try? await get(path) { return answer }
            try await Task.sleep(for: .milliseconds(20))
        }
        return try await get(path)
    }

    func post(_ path: String, _ body: String) async throws -> UInt {
        var request = request(path, accept: "application/json", token: "token-1")
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/json")
        request.body = .bytes(Array(body.utf8))
        return try await client.execute(request, deadline: .now() + .seconds(60)).status.code
    }

    /// Reads the body of a watch until it has so many bytes; `opened` is called when the answer has begun.
    func read(
        _ path: String, accept: String = "application/json", bytes: Int, opened: () throws -> Void = {}
    ) async throws -> [UInt8] {
        let response = try await client.execute(
            request(path, accept: accept, token: "token-1"), deadline: .now() + .seconds(60))
        try opened()
        var received: [UInt8] = []
        for try await part in response.body {
            received += part.readableBytesView
            if received.count >= bytes { break }
        }
        return received
    }
}
