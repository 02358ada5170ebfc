internal import NIOCore
internal import NIOHTTP1

/// Where a client's connection is in its life, and how long it may stay there. Belongs to the channel's event loop.
final class Connection {
    let tag: UInt64
    private let channel: any Channel
    private let limits: ConnectionLimits
    private let pool: ConnectionPool
    private var phase = Phase.idle
    private var deadline: Scheduled<Void>?
    /// Since when there is no request to answer.
    private(set) var waitingSince = NIODeadline.now()
    private var received = 0

    private enum Phase {
        /// Waiting for the first byte of a request.
        case idle
        /// Waiting for its last.
        case reading
        /// Waiting for the answer to be made and to leave.
        case answering
    }

    init(_ channel: any Channel, _ limits: ConnectionLimits, _ pool: ConnectionPool, _ tag: UInt64) {
        self.channel = channel
        self.limits = limits
        self.pool = pool
        self.tag = tag
        arm(limits.idle)
    }

    var isAnswering: Bool { phase == .answering }

    /// Bytes have come; says whether they are still within the limit.
    func receive(_ count: Int) -> Bool {
        received += count
        if phase == .idle {
            phase = .reading
            arm(limits.request)
        }
        return received <= limits.requestBytes
    }

    func beginAnswer() {
        phase = .answering
        arm(limits.answer)
    }

    func endAnswer() {
        phase = .idle
        received = 0
        waitingSince = .now()
        arm(limits.idle)
    }

    func close() { channel.close(promise: nil) }

    func isClosed() {
        deadline?.cancel()
        pool.remove(self)
    }

    private func arm(_ time: TimeAmount) {
        deadline?.cancel()
        deadline = channel.eventLoop.assumeIsolated().scheduleTask(in: time) { [weak self] in self?.close() }
    }
}

/// Looks at the bytes as they come, before anybody takes them apart.
final class RequestMeter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let connection: Connection

    init(_ connection: Connection) {
        self.connection = connection
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard connection.receive(unwrapInboundIn(data).readableBytes) else {
            connection.close()
            return
        }
        context.fireChannelRead(data)
    }

    func channelInactive(context: ChannelHandlerContext) {
        connection.isClosed()
        context.fireChannelInactive()
    }
}

/// Answers requests, one after the other.
final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let connection: Connection
    private let answering: Answering
    private var head: HTTPRequestHead?
    private var isInputClosed = false

    init(_ connection: Connection, _ answering: Answering) {
        self.connection = connection
        self.answering = answering
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body: break
        case .end:
            guard let head else { return }
            connection.beginAnswer()
            let question = HTTPQuestion(method: head.method.rawValue, target: head.uri)
            switch answering {
            case .atOnce(let answer): write(answer(question), to: head, context)
            case .later(let answer):
                let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
                let loop = context.eventLoop
                Task {
                    let answer = await answer(question)
                    loop.execute {
                        let (handler, context) = bound.value
                        handler.write(answer, to: head, context)
                    }
                }
            }
        }
    }

    private func write(_ answer: HTTPAnswer, to request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        var headers = HTTPHeaders(answer.headers.map { ($0.name, $0.value) })
        headers.add(name: "Date", value: WallTime.now.httpDate)
        headers.add(name: "Content-Length", value: "\(answer.body.utf8.count)")
        let staysOpen = request.isKeepAlive && !isInputClosed
        if !staysOpen { headers.add(name: "Connection", value: "close") }
        let head = HTTPResponseHead(
            version: request.version, status: HTTPResponseStatus(statusCode: answer.status), headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if request.method != .HEAD {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: answer.body)))), promise: nil)
        }
        let connection = connection
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in
            connection.endAnswer()
            if !staysOpen { connection.close() }
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // A client may end its side once it has asked.
        if let event = event as? ChannelEvent, event == .inputClosed {
            isInputClosed = true
            if !connection.isAnswering { connection.close() }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { connection.close() }
}
