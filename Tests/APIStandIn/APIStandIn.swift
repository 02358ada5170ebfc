import Foundation
import NIOCore
import NIOPosix
public import ServiceModel

/// An API server for tests: HTTPS on NIO, objects that tests change, and faults that tests ask for.
///
/// It serves list and watch of Services, EndpointSlices, Nodes and ServiceCIDRs in JSON and protobuf as kube-apiserver
/// 1.36 does (streamed lists, bookmarks, selectors, versions that are gone or not there yet), and takes Events.
/// Every method returns when what it asks for has happened on the server's side.
public final class APIStandIn: Sendable {
    /// An application protocol offered by ALPN.
    public enum HTTPVersion: String, Sendable, Hashable, CaseIterable {
        /// HTTP/2.
        case http2 = "h2"
        /// HTTP/1.1.
        case http1 = "http/1.1"
    }

    /// How the server behaves while nothing goes wrong.
    public struct Settings: Sendable {
        /// What is offered, the preferred one first.
        public var protocols: [HTTPVersion] = [.http2, .http1]
        /// Milliseconds between two bookmarks of a watch; a real server takes about a minute.
        public var bookmarkInterval: Int64 = 60_000
        /// Whether watches may begin with all objects (`sendInitialEvents`); servers before 1.34 say no.
        public var supportsWatchLists = true
        /// Collections this server does not have.
        public var absent: Set<Resource> = []
        /// Collections that nobody may read.
        public var forbidden: Set<Resource> = []
        /// Users by bearer token.
        public var tokens = ["token-1": "system:kube-proxy"]
        /// Users that are known but may do nothing.
        public var usersWithoutRole: Set<String> = []
        /// Lists of so many bytes are compressed if the client can take it; 128 KiB for a real server.
        public var compressedFrom = 128 << 10
        /// Milliseconds before a list of a version that is not there yet is refused; 3 s for a real server.
        public var futureWait: Int64 = 50

        /// The defaults.
        public init() {}
    }

    /// Runs the closure where the listening socket is to be: in a network namespace, say.
    public typealias Place = @Sendable (@escaping @Sendable () throws -> CInt) throws -> CInt

    /// Shared by all whose test does not care: making them takes a second.
    public static let certificates = Result { try Certificates() }

    /// The port, the same for as long as the stand-in lives.
    public let port: Int
    /// The certificates: clients need the authority's.
    public let certificates: Certificates
    private let address: String
    private let place: Place
    private let group: MultiThreadedEventLoopGroup
    private let core: NIOLoopBound<Core>

    /// Starts to serve these objects, which are at version 100 unless they say otherwise.
    public init(
        _ settings: Settings = Settings(), objects: [StoredObject] = [], resourceVersion: UInt64 = 100,
        certificates: Certificates? = nil, address: String = "127.0.0.1", place: @escaping Place = { try $0() }
    ) throws {
        let certificates = try certificates ?? Self.certificates.get()
        self.certificates = certificates
        self.address = address
        self.place = place
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let socket = try place { try ListeningSocket.open(address: address, port: 0) }
        port = try ListeningSocket.port(of: socket)
        core = try loop.submit {
            var store = ObjectStore(version: resourceVersion)
            store.load(objects)
            let core = try Core(loop: loop, settings: settings, store: store, certificates: certificates)
            return NIOLoopBound(core, eventLoop: loop)
        }.wait()
        let core = core
        try loop.flatSubmit { core.value.listen(on: socket) }.wait()
    }

    deinit {
        let core = core
        let group = group
        core.eventLoop.flatSubmit { core.value.hangUp() }.whenComplete { _ in
            group.shutdownGracefully(queue: .global()) { _ in }
        }
    }

    /// `https://127.0.0.1:PORT`.
    public var url: String { "https://\(address.contains(":") ? "[\(address)]" : address):\(port)" }

    private func on<R: Sendable>(_ body: @escaping @Sendable (Core) throws -> R) throws -> R {
        let core = core
        return try core.eventLoop.submit { try body(core.value) }.wait()
    }

    // MARK: Objects

    /// Puts objects in place of those of their names; watches are told. Returns the version then.
    @discardableResult
    public func put(_ objects: StoredObject..., version: UInt64? = nil) throws -> UInt64 {
        try on { core in
            for object in objects { core.announce(core.store.put(object, version: version)) }
            return core.store.version
        }
    }

    /// Puts an object in place as above.
    @discardableResult
    public func put(_ object: CatalogObject) throws -> UInt64 { try put(StoredObject(object)) }

    /// Deletes an object, if it is there; watches are told.
    public func delete(_ id: ObjectID, version: UInt64? = nil) throws {
        try on { core in
            if let change = core.store.delete(Resource(id.kind), id.name, version: version) { core.announce(change) }
        }
    }

    /// The objects of a kind, by name.
    public func objects(_ resource: Resource) throws -> [StoredObject] { try on { $0.store.list(resource) } }

    /// The version the store is at.
    public var resourceVersion: UInt64 { get throws { try on { $0.store.version } } }

    /// Forgets what happened up to now: who wants to watch from before it gets 410.
    public func forgetHistory() throws {
        try on { core in
            core.store.advance()
            core.store.forget()
        }
    }

    /// Sends a bookmark on all watches that allow it, as it would be about once a minute.
    public func sendBookmarks(version: UInt64? = nil) throws {
        try on { $0.sendBookmarks(version: version) }
    }

    // MARK: Faults

    /// Lets the next requests of a sort go wrong, `times` of them after the first `skipping`.
    public func inject(_ fault: Fault, into pattern: RequestPattern, skipping skip: Int = 0, times: Int = 1) throws {
        try on { $0.inject(fault, pattern, skip: skip, times: times) }
    }

    /// Forgets what has been injected and not come true.
    public func clearFaults() throws { try on { $0.clearFaults() } }

    /// How many injected faults still wait for their requests.
    public var pendingFaults: Int { get throws { try on { $0.pendingFaults } } }

    /// Lets open watches of a collection, or of all, go wrong. Returns how many there were.
    @discardableResult
    public func disturb(_ resource: Resource? = nil, _ fault: Fault) throws -> Int {
        try on { $0.disturb(resource, fault) }
    }

    /// Ends all connections by RST.
    public func resetConnections() throws { try on { $0.resetConnections() } }

    /// Lets all connections go silent, and with `newOnes` also those to come: they are taken and nothing is said.
    public func silenceConnections(newOnes: Bool = false) throws {
        try on { core in
            core.freezeConnections()
            core.acceptsSilently = newOnes
        }
    }

    /// Lets new connections be served again.
    public func endSilence() throws { try on { $0.acceptsSilently = false } }

    /// Goes away: connections end, new ones are refused.
    public func stop() throws {
        let core = core
        try core.eventLoop.flatSubmit { core.value.hangUp() }.wait()
    }

    /// Comes back at the same address, with the same objects.
    public func restart() throws {
        let (address, port, core) = (address, port, core)
        let socket = try place { try ListeningSocket.open(address: address, port: port) }
        try core.eventLoop.flatSubmit { core.value.listen(on: socket) }.wait()
    }

    /// Goes away and comes back with these objects at this version, which may be lower: etcd was restored.
    public func restart(objects: [StoredObject], resourceVersion: UInt64) throws {
        try stop()
        try on { core in
            var store = ObjectStore(version: resourceVersion)
            store.load(objects)
            core.replaceStore(store)
        }
        try restart()
    }

    // MARK: Who may do what

    /// The users by their bearer tokens, from now on.
    public func setTokens(_ tokens: [String: String]) throws { try on { $0.tokens = tokens } }

    /// Changes how the server behaves; the protocols stay.
    public func change(_ change: @escaping @Sendable (inout Settings) -> Void) throws {
        try on { change(&$0.settings) }
    }

    /// A kubeconfig with one of these credentials.
    public func kubeconfig(_ credentials: Credentials = .token("token-1"), server: String? = nil) -> String {
        """
        apiVersion: v1
        kind: Config
        clusters:
        - name: stand-in
          cluster:
            server: \(server ?? url)
            certificate-authority-data: \(Data(certificates.authority.utf8).base64EncodedString())
        users:
        - name: proxy
          user: \(credentials.yaml)
        contexts:
        - name: default
          context: {cluster: stand-in, user: proxy}
        current-context: default

        """
    }

    /// What a client shows.
    public enum Credentials: Sendable {
        /// Nothing.
        case none
        /// A bearer token.
        case token(String)
        /// A bearer token from a file.
        case tokenFile(String)
        /// A client certificate.
        case certificate(Certificates.Pair)

        fileprivate var yaml: String {
            switch self {
            case .none: return "{}"
            case .token(let token): return "{token: \"\(token)\"}"
            case .tokenFile(let path): return "{tokenFile: \"\(path)\"}"
            case .certificate(let pair):
                let certificate = Data(pair.certificate.utf8).base64EncodedString()
                let key = Data(pair.key.utf8).base64EncodedString()
                return "{client-certificate-data: \(certificate), client-key-data: \(key)}"
            }
        }
    }

    // MARK: What happened

    /// All requests so far, in order.
    public var requests: [ReceivedRequest] { get throws { try on { $0.requests } } }

    /// How many watches of a collection, or of all, are open.
    public func openWatches(_ resource: Resource? = nil) throws -> Int { try on { $0.openWatches(resource) } }

    /// How many connections have been taken.
    public var connectionCount: Int { get throws { try on { $0.connectionCount } } }

    /// The Events that came.
    public var events: [JSON] { get throws { try on { $0.events } } }
}

/// The socket the server listens on, made by hand so that it can be made elsewhere.
private enum ListeningSocket {
    static func open(address: String, port: Int) throws -> CInt {
        let target = try SocketAddress(ipAddress: address, port: port)
        let descriptor = socket(
            address.contains(":") ? AF_INET6 : AF_INET, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw IOError(errnoCode: errno, reason: "socket") }
        var one: CInt = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<CInt>.size))
        let result = target.withSockAddr { bind(descriptor, $0, socklen_t($1)) }
        guard result == 0 else {
            let error = IOError(errnoCode: errno, reason: "bind \(address) \(port)")
            close(descriptor)
            throw error
        }
        return descriptor
    }

    static func port(of descriptor: CInt) throws -> Int {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard result == 0 else { throw IOError(errnoCode: errno, reason: "getsockname") }
        // The port is at the same place for both families.
        return withUnsafeBytes(of: storage) { Int($0[2]) << 8 | Int($0[3]) }
    }
}
