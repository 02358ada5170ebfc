import NIOCore

/// A watch that is open.
final class WatchStream {
    let resource: Resource
    let selector: Selector
    private let form: WireForm
    private let exchange: Exchange
    /// Changes up to this version are not sent.
    private let start: UInt64
    /// Where the initial events end, while they have not.
    private var initialEnd: UInt64?
    private let allowsBookmarks: Bool
    private var isDuplicating = false
    private var held: [[UInt8]] = []
    private var holding = 0

    init(
        _ exchange: Exchange, _ resource: Resource, _ selector: Selector, _ form: WireForm, start: UInt64,
        initialEnd: UInt64?, allowsBookmarks: Bool
    ) {
        self.exchange = exchange
        self.resource = resource
        self.selector = selector
        self.form = form
        self.start = start
        self.initialEnd = initialEnd
        self.allowsBookmarks = allowsBookmarks
    }

    private func frame(_ type: String, _ value: JSON) -> [UInt8] {
        form.frame(type, apiVersion: resource.apiVersion, kind: resource.kind, resource.schema, value)
    }

    /// The objects that are there.
    func sendInitial(_ objects: [StoredObject]) {
        exchange.write(Array(objects.map { frame("ADDED", $0.json) }.joined()))
    }

    /// Ends the initial events once the store has the version the client asks for.
    func endInitialIfDue(at version: UInt64) {
        guard let initialEnd, version >= initialEnd else { return }
        self.initialEnd = nil
        exchange.write(frame("BOOKMARK", resource.bookmark(resourceVersion: version, endsInitialEvents: true)))
    }

    func send(_ change: ObjectStore.Change) {
        guard change.resource == resource, change.version > start, let (type, object) = change.event(selector) else {
            return
        }
        let bytes = frame(type, object.json)
        guard holding > 0 else { return exchange.write(isDuplicating ? bytes + bytes : bytes) }
        held.append(bytes)
        guard held.count >= holding else { return }
        exchange.write(Array(held.reversed().joined()))
        held = []
        holding = 0
    }

    func sendBookmark(_ version: UInt64) {
        guard allowsBookmarks, initialEnd == nil, version > start, holding == 0 else { return }
        exchange.write(frame("BOOKMARK", resource.bookmark(resourceVersion: version, endsInitialEvents: false)))
    }

    func end() { exchange.end() }

    func disturb(_ fault: Fault, _ store: ObjectStore) {
        switch fault {
        case .duplicates: isDuplicating = true
        case .reversal(let count): holding = count
        case .replay:
            for change in store.history {
                if change.resource == resource, let (type, object) = change.event(selector) {
                    exchange.write(frame(type, object.json))
                }
            }
        case .expired:
            fail(Status(code: 410, reason: "Expired", message: "too old resource version: \(start) (\(store.version))"))
        case .streamError(let code, let reason):
            fail(Status(code: code, reason: reason, message: "a fault of the test"))
        default: exchange.arm(fault)
        }
    }

    func fail(_ status: Status) {
        exchange.write(form.frame("ERROR", apiVersion: "v1", kind: "Status", .status, status.json))
        exchange.end()
    }
}

/// What the API server answers with where something failed.
struct Status: Sendable {
    var code: Int
    var reason: String
    var message: String
    var details: JSON?

    var json: JSON {
        .compact([
            "metadata": [:], "status": "Failure", "message": .string(message),
            "reason": reason.isEmpty ? nil : .string(reason), "details": details, "code": .int(Int64(code)),
        ])
    }
}
