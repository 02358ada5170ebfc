internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import NetTypes

/// How a server answers.
enum Answering: Sendable {
    /// On the servers' thread.
    case atOnce(@Sendable (HTTPQuestion) -> HTTPAnswer)
    /// Elsewhere, in its own time.
    case later(@Sendable (HTTPQuestion) async -> HTTPAnswer)
}

/// What a client may take.
struct ConnectionLimits: Sendable, Hashable {
    /// Connections at a time. When there are more, the one that has waited longest for a request gives way.
    var connections = 128
    /// Bytes of a request with its headers and body.
    var requestBytes = 65_536
    /// From the first byte of a request to its last.
    var request = TimeAmount.seconds(10)
    /// From an answer, or the begin of the connection, to the next request. Prometheus asks every minute or more often.
    var idle = TimeAmount.seconds(120)
    /// From the begin of an answer to its last byte's leaving.
    var answer = TimeAmount.seconds(60)
}

/// Sockets that accept connections and hand them to handlers.
struct Listener {
    let loop: any EventLoop
    let limits: ConnectionLimits

    /// Listens on one socket.
    ///
    /// - Parameters:
    ///   - bothFamilies: Whether `::` takes IPv4 connections too.
    ///   - pool: Where connections are counted; belongs to `loop`.
    func bind(
        _ address: IPAddress, port: UInt16, bothFamilies: Bool, pool: NIOLoopBoundBox<ConnectionPool>, tag: UInt64,
        _ answering: Answering
    ) -> EventLoopFuture<any Channel> {
        let limits = limits
        let bootstrap = ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: 128)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    let connection = Connection(channel, limits, pool.value, tag)
                    guard pool.value.admit(connection) else {
                        connection.close()
                        connection.isClosed()
                        return
                    }
                    var decoding = NIOHTTPDecoderLimitConfiguration()
                    decoding.maxHeaderFieldSize = 16_384
                    decoding.maxHeaderListSize = limits.requestBytes
                    decoding.maxHeaderFieldCount = 100
                    try pipeline.addHandler(RequestMeter(connection))
                    try pipeline.configureHTTPServerPipeline(
                        withEncoderConfiguration: HTTPResponseEncoder.Configuration(),
                        withDecoderLimitConfiguration: decoding)
                    try pipeline.addHandler(AnswerHandler(connection, answering))
                }
            }
        do {
            var socket = bootstrap
            if address.family == .v6 {
                socket = bootstrap.serverChannelOption(
                    ChannelOptions.Types.SocketOption(level: .ipv6, name: .ipv6_v6only), value: bothFamilies ? 0 : 1)
            }
            return socket.bind(to: try SocketAddress(ipAddress: "\(address)", port: Int(port)))
        } catch {
            return loop.makeFailedFuture(error)
        }
    }
}

/// The connections of a server, or of several that share a limit. Belongs to an event loop.
final class ConnectionPool {
    private let limit: Int
    private var connections: [ObjectIdentifier: Connection] = [:]

    init(limit: Int) {
        self.limit = limit
    }

    /// Makes room for a connection if need be; says whether there is any.
    func admit(_ connection: Connection) -> Bool {
        if connections.count >= limit {
            let idle = connections.values.filter { !$0.isAnswering }
            guard let longest = idle.min(by: { $0.waitingSince < $1.waitingSince }) else { return false }
            longest.close()
            connections[ObjectIdentifier(longest)] = nil
        }
        connections[ObjectIdentifier(connection)] = connection
        return true
    }

    func remove(_ connection: Connection) { connections[ObjectIdentifier(connection)] = nil }

    /// Closes the connections that came through a listener.
    func close(tag: UInt64) {
        for connection in connections.values where connection.tag == tag { connection.close() }
    }
}
