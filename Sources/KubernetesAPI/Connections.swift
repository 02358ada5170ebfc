internal import AsyncHTTPClient
internal import NIOCore
internal import NIOHTTPCompression
internal import NIOPosix
internal import Synchronization

/// The connections to the API server: one HTTP client for as long as certificates stay as they are and nothing is wrong
/// with its connections.
final class Connections: Sendable {
    /// A client, which is shut down when nobody uses it any more.
    final class Generation: Sendable {
        let client: HTTPClient
        let presented: Credentials.Presented
        let sources: [[UInt8]]
        private let hasAnswered = Atomic(false)

        /// Whether the server has ever answered by it.
        var isProven: Bool { hasAnswered.load(ordering: .relaxed) }

        func answered() { hasAnswered.store(true, ordering: .relaxed) }

        init(_ client: HTTPClient, _ presented: Credentials.Presented, _ sources: [[UInt8]]) {
            self.client = client
            self.presented = presented
            self.sources = sources
        }

        deinit {
            let client = client
            Task { try? await client.shutdown() }
        }
    }

    /// A thread for all connections, which live as long as the process.
    private static let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    /// The most that a compressed answer may grow to, in bytes.
    private static let largestAnswer = 1 << 30

    private let access: ClusterAccess
    private let timing: ClusterTiming
    private let current = Mutex<Generation?>(nil)

    init(_ access: ClusterAccess, _ timing: ClusterTiming) {
        self.access = access
        self.timing = timing
    }

    /// The client for a request made now. A changed certificate, key or authority gives another one; what runs on the
    /// old one goes on there.
    func generation(_ presented: Credentials.Presented) throws(ClusterError) -> Generation {
        let last = current.withLock { $0 }
        let sources: [[UInt8]]
        let material: TLSMaterial
        do {
            sources = try TLSMaterial.sources(
                access, certificate: presented.certificate, privateKey: presented.privateKey)
            if let last, last.sources == sources { return last }
            material = try TLSMaterial(
                access, certificate: presented.certificate, privateKey: presented.privateKey, sources: sources)
        } catch {
            // Half of a pair may be replaced already.
            if let last, last.presented.certificate == presented.certificate { return last }
            throw error
        }
        let next = Generation(client(material), presented, sources)
        current.withLock { $0 = next }
        return next
    }

    /// New requests are not made on connections that have fallen silent or broken, which with HTTP/2 are those of all
    /// requests.
    func retire(_ generation: Generation) {
        // Released outside the lock, as it may be the last reference.
        let retired = current.withLock { current -> Generation? in
            guard current === generation else { return nil }
            defer { current = nil }
            return current
        }
        withExtendedLifetime(retired) {}
    }

    private func client(_ material: TLSMaterial) -> HTTPClient {
        var configuration = HTTPClient.Configuration(tlsConfiguration: material.configuration)
        configuration.redirectConfiguration = .disallow
        configuration.timeout.connect = TimeAmount(timing.connect)
        // The reflectors try again, with pauses of their own.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.decompression = .enabled(limit: .size(Self.largestAnswer))
        if let name = access.serverName { configuration.dnsOverride = [name: access.server.host] }
        if let proxy = access.proxy {
            switch proxy.kind {
            case .http:
                let authorization = proxy.user.map {
                    HTTPClient.Authorization.basic(username: $0, password: proxy.password ?? "")
                }
                configuration.proxy = .server(host: proxy.host, port: proxy.port, authorization: authorization)
            case .socks: configuration.proxy = .socksServer(host: proxy.host, port: proxy.port)
            }
        }
        return HTTPClient(eventLoopGroupProvider: .shared(Self.group), configuration: configuration)
    }
}

extension TimeAmount {
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .seconds(seconds) + .nanoseconds(attoseconds / 1_000_000_000)
    }
}
