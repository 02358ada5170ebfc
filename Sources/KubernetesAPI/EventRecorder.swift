internal import AsyncHTTPClient
internal import Glibc
internal import KubernetesWire
internal import Logging
internal import NIOHTTP1
public import ServiceModel
internal import Synchronization

/// Tells the cluster's users what happened, as `events.k8s.io/v1` Events, which `kubectl get events` shows, and
/// `kubectl describe node` for those of the node.
public struct EventRecorder: Sendable {
    /// How urgent an event is.
    public enum Severity: String, Sendable, Hashable {
        /// All is well.
        case normal = "Normal"
        /// Somebody should look at it.
        case warning = "Warning"
    }

    /// What an event is about.
    public enum Subject: Sendable, Hashable {
        /// This node.
        case node
        /// A Service.
        case service(ObjectName)
    }

    private let queue: EventQueue

    init(_ queue: EventQueue) { self.queue = queue }

    /// Puts an event into the queue. Returns at once; what is in the queue when the process ends is lost, and so is what
    /// a full queue or the cluster's refusal keeps out. An event that is equal to one of the last five minutes in
    /// all but its note is not sent.
    ///
    /// - Parameters:
    ///   - reason: Why, in one word that programs may look for, such as `FailedToStartServiceHealthcheck`.
    ///   - action: What was done or tried, in one word, such as `StartServiceHealthcheck`.
    ///   - note: What happened, for people; up to 1,024 bytes are sent.
    public func record(_ severity: Severity, _ subject: Subject, reason: String, action: String, note: String) {
        queue.put(.init(severity: severity, subject: subject, reason: reason, action: action), note: note)
    }
}

/// Events that are to be sent, one after the other.
final class EventQueue: Sendable {
    /// What makes an event equal to another one.
    struct Key: Sendable, Hashable {
        let severity: EventRecorder.Severity
        let subject: EventRecorder.Subject
        let reason: String
        let action: String
    }

    private struct Event: Sendable {
        let key: Key
        let note: String
        let time: WallTime
    }

    private struct State {
        var waiting: [Event] = []
        /// When each was sent last.
        var recorded: [Key: ContinuousClock.Instant] = [:]
        var isSending = false
        /// For names that differ.
        var count: UInt64 = 0
    }

    private static let capacity = 100
    private static let rememberedKeys = 1000
    private static let quietTime = Duration.seconds(300)
    private static let attempts = 3

    private let transport: Transport
    private let nodeName: String
    private let logger: Logger
    private let state = Mutex(State())

    init(_ transport: Transport, nodeName: String, logger: Logger) {
        self.transport = transport
        self.nodeName = nodeName
        self.logger = logger
    }

    func put(_ key: Key, note: String) {
        let now = ContinuousClock.now
        let begins = state.withLock { state in
            if let last = state.recorded[key], now - last < Self.quietTime { return false }
            guard state.waiting.count < Self.capacity else { return false }
            if state.recorded.count >= Self.rememberedKeys {
                state.recorded = state.recorded.filter { now - $0.value < Self.quietTime }
                guard state.recorded.count < Self.rememberedKeys else { return false }
            }
            state.recorded[key] = now
            state.waiting.append(Event(key: key, note: note, time: .now))
            defer { state.isSending = true }
            return !state.isSending
        }
        if begins { Task { await send() } }
    }

    /// Sends until there is nothing left.
    private func send() async {
        while true {
            let next = state.withLock { state -> (Event, UInt64)? in
                guard !state.waiting.isEmpty else {
                    state.isSending = false
                    return nil
                }
                state.count += 1
                return (state.waiting.removeFirst(), state.count)
            }
            guard let (event, number) = next else { return }
            await send(event, number)
        }
    }

    private func send(_ event: Event, _ number: UInt64) async {
        var backoff = Backoff(transport.timing)
        let request = request(event, number)
        for attempt in 1...Self.attempts {
            do {
                try await transport.exchange(
                    request, deadline: transport.timing.answer, silence: transport.timing.answer
                ) { answer in
                    for try await _ in answer.body {}
                }
                return
            } catch {
                let error = RequestError(error)
                logger.debug(
                    "an Event was not taken",
                    metadata: ["reason": "\(error)", "event": "\(event.key.reason)", "attempt": "\(attempt)"])
                switch error.failure {
                // The cluster will not have it, however often.
                case .forbidden, .absent, .status, .expired: return
                default: break
                }
                let pause = backoff.pause(at: .now, random: .random(in: 0...1))
                guard attempt < Self.attempts,
                    (try? await Task.sleep(for: max(pause, error.retryAfter ?? .zero))) != nil
                else { return }
            }
        }
    }

    private func request(_ event: Event, _ number: UInt64) -> APIRequest {
        let namespace: String
        let name: String
        let regarding: [(String, JSONText)]
        switch event.key.subject {
        case .node:
            // kubectl looks for events of a node by its name in place of the uid.
            (namespace, name) = ("default", nodeName)
            regarding = [("kind", .string("Node")), ("name", .string(nodeName)), ("uid", .string(nodeName))]
        case .service(let service):
            (namespace, name) = (service.namespace, service.name)
            regarding = [
                ("apiVersion", .string("v1")), ("kind", .string("Service")), ("namespace", .string(service.namespace)),
                ("name", .string(service.name)), ("uid", .string(service.description)),
            ]
        }
        let unique = String(event.time.nanoseconds &+ Int64(truncatingIfNeeded: number), radix: 16)
        let body = JSONText.object([
            ("apiVersion", .string("events.k8s.io/v1")), ("kind", .string("Event")),
            (
                "metadata",
                .object([
                    // A name may have 253 characters.
                    ("name", .string("\(name.prefix(220)).\(unique)")), ("namespace", .string(namespace)),
                ])
            ),
            ("eventTime", .string(event.time.text)), ("reportingController", .string("needletail")),
            ("reportingInstance", .string(String(nodeName.prefix(128)))), ("action", .string(event.key.action)),
            ("reason", .string(event.key.reason)), ("regarding", .object(regarding)),
            ("note", .string(Self.shortened(event.note, to: 1024))), ("type", .string(event.key.severity.rawValue)),
        ])
        return APIRequest(
            method: .POST,
            path: "/apis/events.k8s.io/v1/namespaces/\(PercentEncoding.encoded(namespace))/events",
            accept: WireFormat.json.listMediaType, body: body.text)
    }

    /// As much of a text as has so many bytes in UTF-8.
    static func shortened(_ text: String, to limit: Int) -> String {
        guard text.utf8.count > limit else { return text }
        var end = text.utf8.index(text.startIndex, offsetBy: limit)
        while end.samePosition(in: text.unicodeScalars) == nil { end = text.utf8.index(before: end) }
        return String(text[..<end])
    }
}

/// A time of day.
struct WallTime: Sendable {
    /// Since 1970, UTC.
    let nanoseconds: Int64

    static var now: WallTime {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return WallTime(nanoseconds: Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec))
    }

    /// As Kubernetes writes a MicroTime: `2026-01-31T12:00:00.000000Z`.
    var text: String {
        var seconds = time_t(nanoseconds / 1_000_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        let date = [
            padded(Int(parts.tm_year) + 1900, 4), padded(Int(parts.tm_mon) + 1, 2), padded(Int(parts.tm_mday), 2),
        ]
        let time = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { padded(Int($0), 2) }
        let fraction = padded(Int(nanoseconds % 1_000_000_000 / 1000), 6)
        return "\(date.joined(separator: "-"))T\(time.joined(separator: ":")).\(fraction)Z"
    }

    private func padded(_ number: Int, _ digits: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}
