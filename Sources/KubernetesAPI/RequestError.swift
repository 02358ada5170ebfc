internal import AsyncHTTPClient
internal import Glibc
internal import KubernetesWire
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import NIOSSL

/// Why a request, or what was read from its answer, failed.
struct RequestError: Error, CustomStringConvertible {
    /// The reason, as it is counted.
    let failure: SourceStatus.Failure
    /// What happened, for people.
    let description: String
    /// What the server said of it.
    var status: APIStatus?
    /// How long the server asks to be left alone.
    var retryAfter: Duration?

    init(_ failure: SourceStatus.Failure, _ description: String, status: APIStatus? = nil) {
        self.failure = failure
        self.description = description
        self.status = status
        retryAfter = status?.retryAfterSeconds.map { .seconds($0) }
    }

    /// An answer that is none of success, or an ERROR in a watch.
    init(_ status: APIStatus) {
        let failure: SourceStatus.Failure =
            switch status.code {
            case 401: .unauthorized
            case 403: .forbidden
            case 404: .absent
            case 410: .expired
            case 429: .throttled
            case 500...599: .server
            default: .status
            }
        self.init(failure, status.description, status: status)
    }

    /// Whatever was thrown on the way.
    init(_ error: any Error) {
        switch error {
        case let error as RequestError: self = error
        case let error as ClusterError: self.init(.credentials, error.description)
        case let error as WireError: self.init(.malformed, error.description)
        case let error as APIStatus: self.init(error)
        case HTTPParserError.invalidEOFState: self.init(.connection, "the connection was closed")
        case let error as HTTPParserError: self.init(.malformed, "no HTTP: \(error)")
        case let error as HTTPClientError: self.init(error)
        case let error as NIOSSLError: self.init(.tls, Self.text(error))
        case let error as NIOSSLExtraError: self.init(.tls, error.description)
        case let error as BoringSSLError: self.init(.tls, Self.text(error))
        case let error as NIOConnectionError:
            let reasons = error.connectionErrors.map { Self.text($0.error) }
            if reasons.isEmpty {
                self.init(.connection, "the name \(error.host) cannot be resolved")
            } else {
                self.init(.connection, Array(Set(reasons)).sorted().joined(separator: ", "))
            }
        default: self.init(.connection, Self.text(error))
        }
    }

    private init(_ error: HTTPClientError) {
        switch error {
        case .connectTimeout, .getConnectionFromPoolTimeout, .httpProxyHandshakeTimeout, .socksHandshakeTimeout:
            self.init(.timeout, "no connection in time")
        case .tlsHandshakeTimeout: self.init(.timeout, "no TLS handshake in time")
        case .deadlineExceeded: self.init(.timeout, "no answer in time")
        // Cancelled: not by us, but the connection it was to go by was reset.
        case .remoteConnectionClosed, .cancelled: self.init(.connection, "the connection was closed")
        case .uncleanShutdown: self.init(.connection, "the connection was cut")
        default: self.init(.connection, error.shortDescription)
        }
    }

    /// Whether the version that was asked for is ahead of the server, which it says in two ways.
    var isVersionTooLarge: Bool {
        guard let status else { return false }
        return status.causes.contains("ResourceVersionTooLarge")
            || status.message.contains("Too large resource version")
    }

    private static func text(_ error: any Error) -> String {
        switch error {
        case let error as IOError: String(cString: strerror(error.errnoCode))
        case ChannelError.connectTimeout: "no connection in time"
        case ChannelError.ioOnClosedChannel, ChannelError.alreadyClosed, ChannelError.eof: "the connection was closed"
        case NIOSSLError.handshakeFailed(let inner): "TLS handshake failed: \(text(inner))"
        case NIOSSLError.uncleanShutdown: "the connection was cut"
        case BoringSSLError.sslError(let stack): stack.map { reason($0.description) }.joined(separator: ", ")
        default: "\(error)"
        }
    }

    /// `CERTIFICATE_VERIFY_FAILED` of `Error: 268435581 error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE… at …`.
    private static func reason(_ text: String) -> String {
        guard let start = text.range(of: "OPENSSL_internal:") else { return text }
        return String(text[start.upperBound...].prefix { !$0.isWhitespace })
    }
}

extension String {
    /// The first place of another text.
    fileprivate func range(of other: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(other) { return start..<index(start, offsetBy: other.count) }
            start = index(after: start)
        }
        return nil
    }
}
