internal import AsyncHTTPClient
internal import KubernetesWire
internal import NIOCore
internal import NIOHTTP1
internal import Synchronization

/// A request to the API server.
struct APIRequest: Sendable {
    var method = HTTPMethod.GET
    /// The path and query, from `/api` on.
    var path: String
    var accept: String
    /// Whether the answer may be compressed.
    var acceptsCompression = false
    /// JSON to send.
    var body: String?
    var bodyType = "application/json"
    /// Whether it waits for its turn. Watches do not, as in client-go: they are few, and have pauses of their own.
    var isLimited = true
}

/// An answer of success whose body is being read.
struct APIAnswer: Sendable {
    /// How it is written.
    let format: WireFormat
    /// The bytes.
    let body: HTTPClientResponse.Body
    /// To be told of each byte.
    let watchdog: Watchdog
}

/// Requests to one API server, with everything they have in common.
final class Transport: Sendable {
    let access: ClusterAccess
    let timing: ClusterTiming
    private let credentials: Credentials
    private let connections: Connections
    private let limiter: RequestLimiter
    private let userAgent: String
    private let counted = Mutex(RequestStatistics())

    init(_ access: ClusterAccess, _ settings: ClusterSettings, version: String, timing: ClusterTiming) {
        self.access = access
        self.timing = timing
        credentials = Credentials(access.authorization, timeout: timing.plugin)
        connections = Connections(access, timing)
        limiter = RequestLimiter(requestsPerSecond: settings.requestsPerSecond, burst: settings.burst)
        userAgent = "needletail-agent/\(version) (linux/\(Self.architecture))"
    }

    /// What has been requested.
    var statistics: RequestStatistics { counted.withLock { $0 } }

    /// Makes a request and has its answer read.
    ///
    /// - Parameters:
    ///   - deadline: When the body must be complete; the watchdog can be told that it need not be.
    ///   - silence: How long the body may pause.
    /// - Throws: `RequestError`, or `CancellationError` if the task was cancelled.
    func exchange<Result: Sendable>(
        _ request: APIRequest, deadline: Duration?, silence: Duration,
        _ read: @escaping @Sendable (APIAnswer) async throws -> Result
    ) async throws -> Result {
        do {
            var presented = try await credentials.present()
            do {
                return try await attempt(request, presented, deadline, silence, read)
            } catch let error as RequestError where error.failure == .unauthorized {
                // As client-go: a token or a plugin's answer may have been renewed meanwhile; once.
                guard await credentials.refused(presented) else { throw error }
            }
            presented = try await credentials.present()
            return try await attempt(request, presented, deadline, silence, read)
        } catch {
            guard !Task.isCancelled else { throw CancellationError() }
            throw RequestError(error)
        }
    }

    private func attempt<Result: Sendable>(
        _ request: APIRequest, _ presented: Credentials.Presented, _ deadline: Duration?, _ silence: Duration,
        _ read: @escaping @Sendable (APIAnswer) async throws -> Result
    ) async throws -> Result {
        if request.isLimited { try await limiter.wait() }
        let generation = try connections.generation(presented)
        let watchdog = Watchdog(
            interval: min(timing.listPause, timing.silence), answer: timing.answer, silence: silence, deadline: deadline
        )
        do {
            return try await withThrowingTaskGroup(of: Result?.self) { group in
                group.addTask {
                    try await watchdog.watch()
                    return nil
                }
                group.addTask { [self] in
                    try await read(try await answer(request, presented, generation, watchdog))
                }
                defer { group.cancelAll() }
                while let result = try await group.next() {
                    if let result { return result }
                }
                throw CancellationError()
            }
        } catch {
            switch RequestError(error).failure {
            case .silence, .timeout: if !Task.isCancelled { connections.retire(generation) }
            // A client that never got through has no connections to be rid of.
            case .connection where generation.isProven: if !Task.isCancelled { connections.retire(generation) }
            default: break
            }
            throw error
        }
    }

    private func answer(
        _ request: APIRequest, _ presented: Credentials.Presented, _ generation: Connections.Generation,
        _ watchdog: Watchdog
    ) async throws -> APIAnswer {
        let begun = ContinuousClock.now
        let response: HTTPClientResponse
        do {
            response = try await generation.client.execute(
                httpRequest(request, presented), deadline: .now() + TimeAmount(timing.answer))
        } catch {
            if !Task.isCancelled { count(request, "<error>", begun) }
            throw RequestError(error)
        }
        count(request, "\(response.status.code)", begun)
        watchdog.heard()
        generation.answered()
        guard (200..<300).contains(response.status.code) else { throw try await failure(response) }
        let type = response.headers.first(name: "content-type") ?? ""
        guard let format = WireFormat(contentType: type) else {
            throw RequestError(.malformed, "an answer of type \"\(type.prefix(60))\": is this an API server?")
        }
        return APIAnswer(format: format, body: response.body, watchdog: watchdog)
    }

    private func httpRequest(_ request: APIRequest, _ presented: Credentials.Presented) -> HTTPClientRequest {
        var server = access.server
        // Connected to as the pool's configuration says (`dnsOverride`).
        if let name = access.serverName { server.host = name }
        var http = HTTPClientRequest(url: server.text + request.path)
        http.method = request.method
        http.headers.add(name: "User-Agent", value: userAgent)
        http.headers.add(name: "Accept", value: request.accept)
        if request.acceptsCompression, access.acceptsCompression {
            http.headers.add(name: "Accept-Encoding", value: "gzip")
        }
        if let authorization = presented.authorization {
            http.headers.add(name: "Authorization", value: authorization)
        }
        if let body = request.body {
            http.headers.add(name: "Content-Type", value: request.bodyType)
            http.body = .bytes(ByteBuffer(string: body))
        }
        return http
    }

    /// What an answer that is no success says.
    private func failure(_ response: HTTPClientResponse) async throws -> RequestError {
        let code = Int(response.status.code)
        var status = APIStatus(code: code, message: response.status.reasonPhrase)
        if let body = try? await response.body.collect(upTo: 1 << 20),
            let said = APIStatus(body: body.readableBytesSpan)
        {
            status = said
            status.code = code
        }
        if let seconds = response.headers.first(name: "retry-after").flatMap({ Int($0) }), seconds >= 0 {
            status.retryAfterSeconds = seconds
        }
        return RequestError(status)
    }

    private func count(_ request: APIRequest, _ code: String, _ begun: ContinuousClock.Instant) {
        let seconds = (ContinuousClock.now - begun) / .seconds(1)
        counted.withLock {
            $0.add(code: code, method: request.method.rawValue, host: access.server.authority, seconds: seconds)
        }
    }

    private static var architecture: String {
        #if arch(x86_64)
            "amd64"
        #elseif arch(arm64)
            "arm64"
        #else
            "other"
        #endif
    }
}
