import NIOCore
import NIOHTTP1
import NIOHTTP2

/// A request and the answer to it, which may go wrong.
final class Exchange {
    let head: HTTPRequestHead
    let requestBody: [UInt8]
    let isHTTP2: Bool
    private let channel: any Channel

    /// The number of its entry in the log.
    var logIndex: Int?
    private(set) var status: UInt = 0
    private var pending: ArraySlice<UInt8> = []
    private var isEnding = false
    /// Nothing more is written.
    private(set) var isOver = false
    private var limit: (left: Int, then: Fault)?
    private var pace: (bytes: Int, interval: TimeAmount)?
    private var tick: Scheduled<Void>?
    private var onEnd: [() -> Void] = []
    private var headerBytes = 0

    init(head: HTTPRequestHead, body: [UInt8], channel: any Channel, isHTTP2: Bool) {
        self.head = head
        requestBody = body
        self.channel = channel
        self.isHTTP2 = isHTTP2
    }

    /// The TCP connection.
    var connection: any Channel { isHTTP2 ? channel.parent ?? channel : channel }

    var eventLoop: any EventLoop { channel.eventLoop }

    /// Called once, when the answer is over or the client has gone.
    func whenOver(_ action: @escaping () -> Void) {
        guard !isOver else { return action() }
        onEnd.append(action)
    }

    /// The client has gone.
    func abandon() { close() }

    private func close() {
        guard !isOver else { return }
        isOver = true
        pending = []
        tick?.cancel()
        tick = nil
        let actions = onEnd
        onEnd = []
        for action in actions { action() }
    }

    // MARK: Writing

    /// A whole answer.
    func answer(_ status: UInt, _ fields: [(String, String)], _ body: [UInt8]) {
        let hasLength = limit == nil
        start(status, fields + (hasLength ? [("content-length", String(body.count))] : []))
        write(body)
        end()
    }

    func start(_ status: UInt, _ fields: [(String, String)]) {
        guard !isOver else { return }
        self.status = status
        let version = isHTTP2 ? HTTPVersion.http2 : .http1_1
        let head = HTTPResponseHead(
            version: version, status: HTTPResponseStatus(statusCode: Int(status)), headers: HTTPHeaders(fields))
        channel.writeAndFlush(HTTPServerResponsePart.head(head), promise: nil)
        if let limit, limit.left == 0 {
            self.limit = nil
            strike(limit.then)
        }
    }

    func write(_ bytes: [UInt8]) {
        guard !isOver else { return }
        pending += bytes
        pump()
    }

    func end() {
        isEnding = true
        pump()
    }

    private func pump() {
        guard let pace else {
            send(pending.count)
            if isEnding { finish() }
            return
        }
        guard tick == nil, !isOver else { return }
        if pending.isEmpty {
            if isEnding { finish() }
            return
        }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        tick = eventLoop.scheduleTask(in: pace.interval) {
            let exchange = bound.value
            exchange.tick = nil
            exchange.send(pace.bytes)
            exchange.pump()
        }
    }

    private func finish() {
        guard !isOver else { return }
        channel.writeAndFlush(HTTPServerResponsePart.end(nil), promise: nil)
        close()
    }

    private func send(_ count: Int) {
        var left = min(count, pending.count)
        while left > 0, !isOver {
            let part = min(left, limit?.left ?? left)
            transmit(pending.prefix(part))
            pending = pending.dropFirst(part)
            left -= part
            guard let limit else { continue }
            self.limit?.left -= part
            if limit.left == part {
                self.limit = nil
                strike(limit.then)
            }
        }
    }

    private func transmit(_ bytes: some Sequence<UInt8>) {
        var buffer = channel.allocator.buffer(bytes: bytes)
        // A chunk of HTTP/1.1 each, smaller than what a client reads at a time.
        while let chunk = buffer.readSlice(length: min(buffer.readableBytes, 16_384)), chunk.readableBytes > 0 {
            channel.write(HTTPServerResponsePart.body(.byteBuffer(chunk)), promise: nil)
        }
        channel.flush()
    }

    // MARK: Faults

    /// Lets the fault come true when so many more bytes have gone out as it says.
    func arm(_ fault: Fault) {
        guard !isOver else { return }
        switch fault {
        case .reset(let after?), .silence(let after?), .stall(let after?), .cut(let after), .garbage(let after):
            if after == 0, status != 0 {
                strike(fault)
            } else {
                limit = (after, fault)
            }
        case .trickle(let bytes, let milliseconds): pace = (bytes, .milliseconds(milliseconds))
        default: break
        }
    }

    /// Lets a fault come true that leaves no answer; `false` if the fault is of another sort.
    func failWithoutAnswer(_ fault: Fault) -> Bool {
        switch fault {
        case .reset(nil), .silence(nil), .stall(nil): strike(fault)
        case .endlessHeaders: sendEndlessHeaders()
        default: return false
        }
        return true
    }

    private func strike(_ fault: Fault) {
        switch fault {
        case .reset:
            // Once the client has read what came before.
            let connection = connection
            eventLoop.scheduleTask(in: .milliseconds(50)) {
                connection.triggerUserOutboundEvent(ConnectionCommand.reset, promise: nil)
            }
            close()
        case .silence:
            connection.triggerUserOutboundEvent(ConnectionCommand.freeze, promise: nil)
            close()
        case .stall: close()
        case .cut: finish()
        case .garbage: transmit(Self.garbage)
        default: break
        }
    }

    /// No length, no message, no JSON.
    private static let garbage: [UInt8] = [0xFE, 0xFF, 0x00, 0x7D, 0x0A] + (0..<91).map { $0 &* 37 | 0x80 } + [0x0A]

    private static let endlessHeaderBytes = 8 << 20

    private func sendEndlessHeaders() {
        var stream: UInt32?
        if isHTTP2, let id = try? channel.syncOptions?.getOption(HTTP2StreamChannelOptions.streamID) {
            stream = UInt32(Int32(id))
        }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let task = eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(2)) { [stream] _ in
            bound.value.sendHeaders(stream: stream)
        }
        whenOver { task.cancel() }
    }

    private func sendHeaders(stream: UInt32?) {
        let first = headerBytes == 0
        let bytes = stream.map { Self.headerFrame(stream: $0, first: first) } ?? Self.headerLines(first: first)
        headerBytes += bytes.count
        connection.triggerUserOutboundEvent(ConnectionCommand.raw(ByteBuffer(bytes: bytes)), promise: nil)
        if headerBytes > Self.endlessHeaderBytes { strike(.reset(after: nil)) }
    }

    private static let headerCount = 120
    private static let headerValue = [UInt8](repeating: UInt8(ascii: "a"), count: 120)

    private static func headerLines(first: Bool) -> [UInt8] {
        var bytes: [UInt8] = first ? Array("HTTP/1.1 200 OK\r\n".utf8) : []
        for _ in 0..<headerCount { bytes += Array("x-endless: ".utf8) + headerValue + [0x0D, 0x0A] }
        return bytes
    }

    /// HEADERS or CONTINUATION without END_HEADERS (RFC 9113, 6.2 and 6.10), its fields literals without indexing
    /// (RFC 7541, 6.2.2).
    private static func headerFrame(stream: UInt32, first: Bool) -> [UInt8] {
        // `:status: 200` of the static table.
        var block: [UInt8] = first ? [0x88] : []
        let name = Array("x-endless".utf8)
        for _ in 0..<headerCount {
            block += [0x00, UInt8(name.count)] + name + [UInt8(headerValue.count)] + headerValue
        }
        let length = [16, 8, 0].map { UInt8(truncatingIfNeeded: block.count >> $0) }
        let id = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: stream >> $0) }
        return length + [first ? 0x01 : 0x09, 0x00] + id + block
    }
}
