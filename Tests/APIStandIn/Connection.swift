import NIOCore
import NIOHTTP1
import NIOHTTP2
import NIOPosix
import NIOSSL

/// What a connection is told by way of its pipeline, from the back to the front.
enum ConnectionCommand: Sendable {
    /// End at once, by RST.
    case reset
    /// Neither read nor write any more.
    case freeze
    /// Bytes that go out past HTTP, under TLS.
    case raw(ByteBuffer)
}

/// The first of the pipeline: it has the socket in hand, so that TLS and HTTP have no say.
final class SocketHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var isFrozen: Bool

    init(isFrozen: Bool) { self.isFrozen = isFrozen }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if !isFrozen { context.fireChannelRead(data) }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if isFrozen {
            promise?.succeed()
        } else {
            context.write(data, promise: promise)
        }
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        switch event as? ConnectionCommand {
        case .reset:
            if let socket = context.channel as? any SocketOptionProvider {
                _ = socket.setSoLinger(linger(l_onoff: 1, l_linger: 0))
            }
            context.close(promise: promise)
        case .freeze:
            isFrozen = true
            promise?.succeed()
        default: context.triggerUserOutboundEvent(event, promise: promise)
        }
    }
}

/// Between TLS and HTTP.
final class RawHandler: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        if case .raw(let bytes)? = event as? ConnectionCommand {
            context.writeAndFlush(wrapOutboundOut(bytes), promise: promise)
        } else {
            context.triggerUserOutboundEvent(event, promise: promise)
        }
    }
}

/// Puts requests together and hands them to the core: one for each connection of HTTP/1.1 and each stream of HTTP/2.
final class RequestHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let core: Core
    private let isHTTP2: Bool
    private var head: HTTPRequestHead?
    private var body: [UInt8] = []
    private var exchange: Exchange?

    init(core: Core, isHTTP2: Bool) {
        self.core = core
        self.isHTTP2 = isHTTP2
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            body = []
        case .body(let part): body += part.readableBytesView
        case .end:
            guard let head else { return }
            let exchange = Exchange(head: head, body: body, channel: context.channel, isHTTP2: isHTTP2)
            self.exchange = exchange
            core.handle(exchange)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        exchange?.abandon()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        exchange?.abandon()
        context.close(promise: nil)
    }
}
