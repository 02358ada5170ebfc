import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// An HTTP/1.1 server on a loopback port that answers as a test says.
final class LoopbackServer: Sendable {
    struct Request: Sendable {
        let method: String
        let path: String
        let query: [String: String]
        let headers: HTTPHeaders
        let body: String
    }

    enum Reply: Sendable {
        /// A whole answer.
        case answer(Int, [String: String], String)
        /// A body that comes piece by piece. It ends with the stream.
        case stream(String, AsyncStream<Piece>)
        /// None, ever.
        case none
    }

    enum Piece: Sendable {
        case text(String)
        /// The connection is closed in the middle.
        case cut
    }

    let port: Int
    private let channel: any Channel
    private let children = Mutex<[any Channel]>([])
    private let received = Mutex<[Request]>([])

    /// The requests so far.
    var requests: [Request] { received.withLock { $0 } }

    static func with<Result: Sendable>(
        tls: TLSConfiguration? = nil, _ handle: @escaping @Sendable (Request) async -> Reply,
        _ body: @Sendable (LoopbackServer) async throws -> Result
    ) async throws -> Result {
        let context = try tls.map { try NIOSSLContext(configuration: $0) }
        let box = Mutex<LoopbackServer?>(nil)
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let context {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
                    }
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: true)
                    try channel.pipeline.syncOperations.addHandler(
                        Handler { request in
                            box.withLock { $0 }?.note(request, channel)
                            return await handle(request)
                        })
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let server = LoopbackServer(channel)
        box.withLock { $0 = server }
        do {
            let result = try await body(server)
            await server.stop()
            return result
        } catch {
            await server.stop()
            throw error
        }
    }

    private init(_ channel: any Channel) {
        self.channel = channel
        port = channel.localAddress?.port ?? 0
    }

    private func note(_ request: Request, _ channel: any Channel) {
        received.withLock { $0.append(request) }
        children.withLock { $0.append(channel) }
    }

    /// Closes all connections, now.
    func cutAll() async {
        let open = children.withLock { children in
            defer { children = [] }
            return children
        }
        for channel in open { try? await channel.close() }
    }

    private func stop() async {
        try? await channel.close()
        await cutAll()
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let handle: @Sendable (Request) async -> Reply
        private var head: HTTPRequestHead?
        private var body = ""

        init(_ handle: @escaping @Sendable (Request) async -> Reply) { self.handle = handle }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head):
                self.head = head
                body = ""
            case .body(let buffer): body += String(buffer: buffer)
            case .end:
                guard let head else { return }
                let parts = head.uri.split(separator: "?", maxSplits: 1)
                var query: [String: String] = [:]
                for pair in parts.count > 1 ? parts[1].split(separator: "&") : [] {
                    let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                    query[String(sides[0])] = String(sides[1]).removingEscapes
                }
                let request = Request(
                    method: head.method.rawValue, path: String(parts[0]), query: query, headers: head.headers,
                    body: body)
                let channel = context.channel
                let handle = handle
                Task {
                    let reply = await handle(request)
                    await LoopbackServer.send(reply, to: channel)
                }
            }
        }
    }
}

extension LoopbackServer {
    fileprivate static func send(_ reply: Reply, to channel: any Channel) async {
        do {
            switch reply {
            case .none: return
            case .answer(let code, let fields, let text):
                var headers = HTTPHeaders(fields.map { ($0.key, $0.value) })
                if !headers.contains(name: "content-type") {
                    headers.add(name: "content-type", value: "application/json")
                }
                headers.add(name: "content-length", value: "\(text.utf8.count)")
                let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: code), headers: headers)
                channel.write(HTTPServerResponsePart.head(head), promise: nil)
                channel.write(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(string: text))), promise: nil)
                try await channel.writeAndFlush(HTTPServerResponsePart.end(nil))
            case .stream(let type, let pieces):
                let headers = HTTPHeaders([("content-type", type), ("transfer-encoding", "chunked")])
                let head = HTTPResponseHead(version: .http1_1, status: .ok, headers: headers)
                try await channel.writeAndFlush(HTTPServerResponsePart.head(head))
                for await piece in pieces {
                    switch piece {
                    case .text(let text):
                        let buffer = ByteBuffer(string: text)
                        try await channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(buffer)))
                    case .cut:
                        try await channel.close()
                        return
                    }
                }
                try await channel.writeAndFlush(HTTPServerResponsePart.end(nil))
            }
        } catch {
            // The client has gone.
        }
    }
}

extension String {
    fileprivate var removingEscapes: String { PercentEncodingForTests.decoded(self) }
}

/// On its own, so that the client's encoding is not checked with itself.
private enum PercentEncodingForTests {
    static func decoded(_ text: String) -> String {
        var bytes: [UInt8] = []
        var iterator = text.utf8.makeIterator()
        while let byte = iterator.next() {
            guard byte == UInt8(ascii: "%"), let high = iterator.next(), let low = iterator.next() else {
                bytes.append(byte)
                continue
            }
            bytes.append(UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16) ?? 0)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
