import Foundation
import NIOCore
import NIOHTTP1
import NIOHTTP2
import NIOPosix
import NIOSSL
import NIOTLS
import ServiceModel

/// All that the stand-in knows, on one event loop.
final class Core {
    let loop: any EventLoop
    var settings: APIStandIn.Settings
    var store: ObjectStore
    var tokens: [String: String]
    /// Users by the DER form of their certificates.
    private let clientCertificates: [[UInt8]: String]
    private let tls: NIOSSLContext
    private var rules: [Rule] = []
    private(set) var requests: [ReceivedRequest] = []
    private(set) var events: [JSON] = []
    private var watches: [Int: WatchStream] = [:]
    private var nextWatch = 0
    private var listener: (any Channel)?
    private var connections: [ObjectIdentifier: any Channel] = [:]
    private(set) var connectionCount = 0
    var acceptsSilently = false

    private struct Rule {
        let pattern: RequestPattern
        let fault: Fault
        var skip: Int
        var times: Int
    }

    init(
        loop: any EventLoop, settings: APIStandIn.Settings, store: ObjectStore, certificates: Certificates
    ) throws {
        self.loop = loop
        self.settings = settings
        self.store = store
        tokens = settings.tokens
        var known: [[UInt8]: String] = [:]
        for (pair, user) in [(certificates.ecClient, "ec-client"), (certificates.rsaClient, "rsa-client")] {
            known[try NIOSSLCertificate(bytes: Array(pair.certificate.utf8), format: .pem).toDERBytes()] = user
        }
        clientCertificates = known
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMBytes(Array(certificates.server.certificate.utf8))
                .map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(certificates.server.key.utf8), format: .pem)))
        configuration.certificateVerification = .optionalVerification
        configuration.trustRoots = .certificates(
            try NIOSSLCertificate.fromPEMBytes(Array(certificates.authority.utf8)))
        configuration.applicationProtocols = settings.protocols.map(\.rawValue)
        tls = try NIOSSLContext(configuration: configuration)
    }

    // MARK: Connections

    func listen(on socket: CInt) -> EventLoopFuture<Void> {
        let core = NIOLoopBound(self, eventLoop: loop)
        return ServerBootstrap(group: loop)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try core.value.setUp(channel) }
            }
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .withBoundSocket(socket)
            .map { core.value.listener = $0 }
    }

    /// Listens no more, and ends all connections.
    func hangUp() -> EventLoopFuture<Void> {
        let closed = listener?.close() ?? loop.makeSucceededVoidFuture()
        listener = nil
        resetConnections()
        return closed
    }

    func resetConnections() {
        for connection in connections.values {
            connection.triggerUserOutboundEvent(ConnectionCommand.reset, promise: nil)
        }
    }

    func freezeConnections() {
        for connection in connections.values {
            connection.triggerUserOutboundEvent(ConnectionCommand.freeze, promise: nil)
        }
    }

    private func setUp(_ channel: any Channel) throws {
        connectionCount += 1
        connections[ObjectIdentifier(channel)] = channel
        let core = NIOLoopBound(self, eventLoop: loop)
        channel.closeFuture.whenComplete { _ in core.value.connections[ObjectIdentifier(channel)] = nil }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(SocketHandler(isFrozen: acceptsSilently))
        try pipeline.addHandler(NIOSSLServerHandler(context: tls))
        try pipeline.addHandler(RawHandler())
        try pipeline.addHandler(
            ApplicationProtocolNegotiationHandler { result, channel in
                channel.eventLoop.makeCompletedFuture {
                    if result == .negotiated("h2") {
                        try core.value.setUpHTTP2(channel)
                    } else {
                        try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                        try channel.pipeline.syncOperations.addHandler(
                            RequestHandler(core: core.value, isHTTP2: false))
                    }
                }
            })
    }

    private func setUpHTTP2(_ channel: any Channel) throws {
        let core = NIOLoopBound(self, eventLoop: loop)
        _ = try channel.pipeline.syncOperations.configureHTTP2Pipeline(
            mode: .server, connectionConfiguration: .init(), streamConfiguration: .init()
        ) { stream in
            stream.eventLoop.makeCompletedFuture {
                try stream.pipeline.syncOperations.addHandler(HTTP2FramePayloadToHTTP1ServerCodec())
                try stream.pipeline.syncOperations.addHandler(RequestHandler(core: core.value, isHTTP2: true))
            }
        }
    }

    // MARK: Objects

    func announce(_ change: ObjectStore.Change) {
        for watch in watches.values {
            watch.send(change)
            watch.endInitialIfDue(at: store.version)
        }
    }

    func sendBookmarks(version: UInt64?) {
        if version != store.version { store.advance(to: version) }
        for watch in watches.values { watch.sendBookmark(store.version) }
    }

    /// Another store in place of this one: the server has come back with another etcd.
    func replaceStore(_ store: ObjectStore) { self.store = store }

    // MARK: Faults

    func inject(_ fault: Fault, _ pattern: RequestPattern, skip: Int, times: Int) {
        rules.append(Rule(pattern: pattern, fault: fault, skip: skip, times: times))
    }

    func clearFaults() { rules = [] }

    var pendingFaults: Int { rules.count }

    /// How many watches were disturbed.
    func disturb(_ resource: Resource?, _ fault: Fault) -> Int {
        let disturbed = watches.values.filter { resource == nil || $0.resource == resource }
        for watch in disturbed { watch.disturb(fault, store) }
        return disturbed.count
    }

    func openWatches(_ resource: Resource?) -> Int {
        watches.values.count { resource == nil || $0.resource == resource }
    }

    private func nextFault(_ resource: Resource?, _ verb: RequestPattern.Verb) -> Fault? {
        for index in rules.indices where rules[index].pattern.matches(resource, verb) {
            guard rules[index].skip == 0 else {
                rules[index].skip -= 1
                continue
            }
            let fault = rules[index].fault
            rules[index].times -= 1
            if rules[index].times == 0 { rules.remove(at: index) }
            return fault
        }
        return nil
    }

    // MARK: Requests

    func handle(_ exchange: Exchange) {
        let request = Request(exchange, user: user(of: exchange))
        requests.append(request.received)
        exchange.logIndex = requests.count - 1
        let core = NIOLoopBound(self, eventLoop: loop)
        exchange.whenOver { [index = requests.count - 1] in core.value.requests[index].status = exchange.status }
        guard let verb = request.received.verb, let fault = nextFault(request.received.resource, verb) else {
            return serve(request, nil)
        }
        if exchange.failWithoutAnswer(fault) { return }
        switch fault {
        case .status(let code, let reason, let message, let retryAfter):
            var status = Status(code: code, reason: reason, message: message)
            if let retryAfter { status.details = ["retryAfterSeconds": .int(Int64(retryAfter))] }
            answer(request, status)
        case .answer(let status, let contentType, let body):
            exchange.answer(UInt(status), [("content-type", contentType)], Array(body.utf8))
        case .gone:
            answer(
                request,
                Status(
                    code: 410, reason: "Expired",
                    message: "The resourceVersion for the provided list is too old."))
        case .contentType(let type): serve(request.with(contentType: type), nil)
        default:
            exchange.arm(fault)
            serve(request, fault)
        }
    }

    private func user(of exchange: Exchange) -> Request.Identity {
        if let field = exchange.head.headers.first(name: "authorization") {
            let words = field.split(separator: " ")
            guard words.count == 2, words[0].lowercased() == "bearer", let user = tokens[String(words[1])] else {
                return .unknown
            }
            return .user(user)
        }
        let handler = try? exchange.connection.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self)
        guard let certificate = handler?.peerCertificate else { return .anonymous }
        guard let der = try? certificate.toDERBytes(), let user = clientCertificates[der] else { return .unknown }
        return .user(user)
    }

    private func serve(_ request: Request, _ fault: Fault?) {
        let resource = request.received.resource
        switch request.identity {
        case .unknown: return answer(request, Status(code: 401, reason: "Unauthorized", message: "Unauthorized"))
        case .anonymous: return answer(request, request.forbidden(user: "system:anonymous"))
        case .user(let user):
            if settings.usersWithoutRole.contains(user) || resource.map(settings.forbidden.contains) == true {
                return answer(request, request.forbidden(user: user))
            }
        }
        switch request.received.verb {
        case .create?, .patch?: return takeEvent(request)
        case let verb?:
            guard let resource, !settings.absent.contains(resource) else { break }
            guard request.form != nil else {
                return answer(
                    request,
                    Status(
                        code: 406, reason: "NotAcceptable",
                        message: "only the following media types are accepted: application/json, "
                            + "application/vnd.kubernetes.protobuf"))
            }
            do throws(Status.Failure) {
                switch verb {
                case .get: try get(request, resource)
                case .list: try list(request, resource)
                default: try watch(request, resource, fault)
                }
            } catch {
                answer(request, error.status)
            }
            return
        case nil: break
        }
        request.exchange.answer(
            404, headers("text/plain; charset=utf-8"), Array("404 page not found\n".utf8))
    }

    // MARK: Answers

    private func headers(_ contentType: String, status: Int = 200) -> [(String, String)] {
        var fields = [
            ("audit-id", UUID().uuidString.lowercased()), ("cache-control", "no-cache, private"),
            ("content-type", contentType), ("date", Self.date()),
        ]
        if status == 403 { fields.append(("x-content-type-options", "nosniff")) }
        // Who is not known is not put into a queue.
        guard status != 401 else { return fields }
        return fields + [
            ("x-kubernetes-pf-flowschema-uid", "2ba91c27-e485-4b53-b67c-f9ef35add677"),
            ("x-kubernetes-pf-prioritylevel-uid", "3f236d86-455c-4623-a5da-ba4049425429"),
        ]
    }

    /// RFC 9110, 5.6.7.
    private static func date() -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(secondsFromGMT: 0)
        formatter.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
        return formatter.string(from: Date())
    }

    private func answer(_ request: Request, _ status: Status) {
        let form = request.form ?? .json
        var fields = headers(
            form == .json ? "application/json" : "application/vnd.kubernetes.protobuf", status: status.code)
        if let seconds = status.details?["retryAfterSeconds"]?.number { fields.append(("retry-after", "\(seconds)")) }
        let body = form.body(apiVersion: "v1", kind: "Status", .status, status.json)
        request.exchange.answer(UInt(status.code), fields, body)
    }

    private func answer(_ request: Request, _ body: [UInt8]) {
        let isProtobuf = request.form == .protobuf
        var fields = headers(isProtobuf ? "application/vnd.kubernetes.protobuf" : "application/json")
        request.replaceContentType(in: &fields)
        guard request.acceptsGzip, body.count >= settings.compressedFrom else {
            return request.exchange.answer(200, fields, body)
        }
        fields += [("content-encoding", "gzip"), ("vary", "Accept-Encoding")]
        request.exchange.answer(200, fields, Gzip.wrap(body))
    }

    private func get(_ request: Request, _ resource: Resource) throws(Status.Failure) {
        let name = ObjectName(namespace: "", name: request.name)
        guard let object = store.object(resource, name) else {
            throw Status.Failure(
                Status(
                    code: 404, reason: "NotFound", message: "\(resource.rawValue) \"\(name)\" not found",
                    details: ["name": .string(name.name), "kind": .string(resource.rawValue)]))
        }
        let form = request.form ?? .json
        answer(
            request,
            form.body(apiVersion: resource.apiVersion, kind: resource.kind, resource.schema, object.json))
    }

    private func list(_ request: Request, _ resource: Resource) throws(Status.Failure) {
        let selector = try request.selector(of: resource)
        let version = try request.version()
        let match = request.query["resourceVersionMatch"] ?? ""
        if version > store.version {
            let bound = NIOLoopBound((self, request), eventLoop: loop)
            loop.scheduleTask(in: .milliseconds(settings.futureWait)) {
                let (core, request) = bound.value
                core.answer(request, .tooLarge(version, current: core.store.version))
            }
            return
        }
        var at = store.version
        var after: String?
        if let token = request.query["continue"], !token.isEmpty {
            guard let position = ContinueToken(token) else {
                throw Status.Failure(Status(code: 400, reason: "BadRequest", message: "continue key is not valid"))
            }
            (at, after) = (position.version, position.after)
        } else if match == "Exact" {
            at = version
        }
        guard at >= store.forgotten else {
            throw Status.Failure(
                Status(
                    code: 410, reason: "Expired", message: "The resourceVersion for the provided list is too old."))
        }
        var objects = at == store.version ? store.list(resource, selector) : store.list(resource, selector, at: at)
        if let after { objects = objects.filter { $0.name.description > after } }
        var metadata: JSON = ["resourceVersion": .string(String(at))]
        if let limit = request.query["limit"].flatMap({ Int($0) }), limit > 0, objects.count > limit {
            let last = objects[limit - 1].name.description
            metadata["continue"] = .string(ContinueToken(version: at, after: last).text)
            metadata["remainingItemCount"] = .int(Int64(objects.count - limit))
            objects = Array(objects.prefix(limit))
        }
        answer(request, (request.form ?? .json).list(of: resource, metadata: metadata, items: objects.map(\.json)))
    }

    private func watch(_ request: Request, _ resource: Resource, _ fault: Fault?) throws(Status.Failure) {
        let selector = try request.selector(of: resource)
        let version = try request.version()
        let wantsInitial = request.received.verb == .watchList
        try request.checkWatch(supportsWatchLists: settings.supportsWatchLists)
        let form = request.form ?? .json
        var fields = headers(form == .json ? "application/json" : "application/vnd.kubernetes.protobuf;stream=watch")
        request.replaceContentType(in: &fields)
        let exchange = request.exchange
        exchange.start(200, fields)
        // Without initial events, no version or 0 begins with all objects too, only nobody says where they end.
        let sendsObjects = wantsInitial || version == 0
        let watch = WatchStream(
            exchange, resource, selector, form, start: wantsInitial || version == 0 ? store.version : version,
            initialEnd: wantsInitial ? max(version, store.version) : nil,
            allowsBookmarks: request.query["allowWatchBookmarks"] == "true")
        if !sendsObjects, version < store.forgotten {
            return watch.fail(
                Status(
                    code: 410, reason: "Expired", message: "too old resource version: \(version) (\(store.forgotten))")
            )
        }
        if let fault, fault.isEnd { return watch.disturb(fault, store) }
        open(watch, exchange, timeout: request.query["timeoutSeconds"].flatMap { Int64($0) })
        if sendsObjects {
            watch.sendInitial(store.list(resource, selector))
            watch.endInitialIfDue(at: store.version)
        } else {
            for change in store.history { watch.send(change) }
        }
        if let fault, fault.isOfEvents { watch.disturb(fault, store) }
    }

    private func open(_ watch: WatchStream, _ exchange: Exchange, timeout: Int64?) {
        let id = nextWatch
        nextWatch += 1
        watches[id] = watch
        let core = NIOLoopBound(self, eventLoop: loop)
        let bound = NIOLoopBound(watch, eventLoop: loop)
        let interval = TimeAmount.milliseconds(settings.bookmarkInterval)
        let bookmarks = loop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            // As the leases of a real cluster do.
            core.value.store.advance()
            bound.value.sendBookmark(core.value.store.version)
        }
        let end = timeout.map { loop.scheduleTask(in: .seconds($0)) { bound.value.end() } }
        exchange.whenOver {
            core.value.watches[id] = nil
            bookmarks.cancel()
            end?.cancel()
        }
    }

    private func takeEvent(_ request: Request) {
        guard let event = try? JSON(parsing: request.received.body) else {
            return answer(request, Status(code: 400, reason: "BadRequest", message: "the body is no JSON object"))
        }
        events.append(event)
        let created = request.received.verb == .create
        request.exchange.answer(created ? 201 : 200, headers("application/json"), event.bytes)
    }
}
