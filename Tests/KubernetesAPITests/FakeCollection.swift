import KubernetesWire
import Logging
import ServiceModel
import Synchronization

@testable import KubernetesAPI

/// What a server says to the requests for one collection, one after the other. When there is nothing left, watches stay
/// open and silent.
final class FakeCollection: Sendable {
    typealias Reply = LoopbackServer.Reply

    private let replies: Mutex<[Reply]>
    private let asked = Mutex<[[String: String]]>([])

    init(_ replies: [Reply]) { self.replies = Mutex(replies) }

    /// The queries so far.
    var queries: [[String: String]] { asked.withLock { $0 } }

    /// One of them; `nil` if there were not so many.
    func query(_ index: Int) -> [String: String]? {
        let queries = queries
        return queries.indices.contains(index) ? queries[index] : nil
    }

    func reply(_ query: [String: String]) -> Reply {
        asked.withLock { $0.append(query) }
        return replies.withLock { $0.isEmpty ? .open([]) : $0.removeFirst() }
    }
}

extension LoopbackServer.Reply {
    /// A watch that sends this and ends.
    static func watch(_ events: [String]) -> Self { pieces(events.map { .text($0) }, ends: true) }

    /// A watch that sends this and stays open.
    static func open(_ events: [String]) -> Self { pieces(events.map { .text($0) }, ends: false) }

    static func pieces(_ pieces: [LoopbackServer.Piece], ends: Bool) -> Self {
        let (stream, continuation) = AsyncStream.makeStream(of: LoopbackServer.Piece.self)
        for piece in pieces { continuation.yield(piece) }
        if ends { continuation.finish() } else { Forever.hold(continuation) }
        return .stream("application/json", stream)
    }

    static func status(
        _ code: Int, reason: String = "", message: String = "", cause: String? = nil, headers: [String: String] = [:]
    ) -> Self {
        let causes = cause.map { #","details":{"causes":[{"reason":"\#($0)"}]}"# } ?? ""
        return .answer(
            code, headers,
            #"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"\#(message)","#
                + #""reason":"\#(reason)"\#(causes),"code":\#(code)}"#)
    }

    /// A list of Services.
    static func list(_ version: Int, _ services: [String], continues: String = "") -> Self {
        .answer(
            200, [:],
            #"{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"\#(version)","#
                + #""continue":"\#(continues)"},"items":[\#(services.joined(separator: ","))]}"#)
    }
}

/// Streams that nobody ends.
private enum Forever {
    private static let held = Mutex<[AsyncStream<LoopbackServer.Piece>.Continuation]>([])

    static func hold(_ continuation: AsyncStream<LoopbackServer.Piece>.Continuation) {
        held.withLock { $0.append(continuation) }
    }
}

enum Wire {
    /// A Service; `port` tells states of it apart.
    static func service(_ name: String, _ version: Int, port: Int = 80) -> String {
        #"{"kind":"Service","apiVersion":"v1","metadata":{"name":"\#(name)","namespace":"shop","#
            + #""resourceVersion":"\#(version)"},"spec":{"clusterIP":"198.18.0.1","clusterIPs":["198.18.0.1"],"#
            + #""ipFamilies":["IPv4"],"type":"ClusterIP","ports":[{"protocol":"TCP","port":\#(port)}]}}"#
    }

    static func slice(_ name: String, _ version: Int) -> String {
        #"{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":"\#(name)","#
            + #""namespace":"shop","resourceVersion":"\#(version)","labels":{"kubernetes.io/service-name":"web"}},"#
            + #""addressType":"IPv4","endpoints":[{"addresses":["198.18.1.1"],"conditions":{"ready":true}}],"#
            + #""ports":[{"name":"","protocol":"TCP","port":8080}]}"#
    }

    static func node(_ name: String, _ version: Int) -> String {
        #"{"kind":"Node","apiVersion":"v1","metadata":{"name":"\#(name)","resourceVersion":"\#(version)"},"#
            + #""status":{"addresses":[{"type":"InternalIP","address":"198.18.2.1"}]}}"#
    }

    static func added(_ object: String) -> String { #"{"type":"ADDED","object":\#(object)}"# + "\n" }
    static func modified(_ object: String) -> String { #"{"type":"MODIFIED","object":\#(object)}"# + "\n" }
    static func deleted(_ object: String) -> String { #"{"type":"DELETED","object":\#(object)}"# + "\n" }

    static func bookmark(_ version: Int, kind: String = "Service", ends: Bool = false) -> String {
        let annotations = ends ? #","annotations":{"k8s.io/initial-events-end":"true"}"# : ""
        return #"{"type":"BOOKMARK","object":{"kind":"\#(kind)","apiVersion":"v1","metadata":{"#
            + #""resourceVersion":"\#(version)"\#(annotations)}}}"# + "\n"
    }

    static func expired(_ message: String = "too old resource version: 1 (317)") -> String {
        #"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#
            + #""message":"\#(message)","reason":"Expired","code":410}}"# + "\n"
    }
}

extension ClusterTiming {
    /// Short pauses, as no test waits for long ones; long limits, as the machine may be slow.
    static var quick: ClusterTiming {
        var timing = ClusterTiming()
        timing.firstBackoff = .milliseconds(10)
        timing.longestBackoff = .milliseconds(50)
        timing.shortWatch = .zero
        return timing
    }
}

extension Transport {
    static func to(
        _ server: LoopbackServer, _ authorization: ClusterAccess.Authorization = .none, timing: ClusterTiming = .quick
    ) -> Transport {
        var access = ClusterAccess(server: ServerURL(isSecure: false, host: "127.0.0.1", port: server.port))
        access.authorization = authorization
        return Transport(
            access, ClusterSettings(requestsPerSecond: 1000, burst: 1000), version: "1.2.3", timing: timing)
    }
}
