internal import AsyncHTTPClient
internal import KubernetesWire
internal import NIOCore
internal import ServiceModel
internal import Synchronization

/// Follows a collection of the API server by list and watch (client-go `tools/cache/reflector.go`; KEP-3157 for the list
/// that is streamed by a watch).
actor Reflector {
    /// What it has learned at one time.
    struct Delivery: Sendable {
        var kind: ObjectKind
        var events: [CatalogEvent]
        /// When the first byte of it was there.
        var received: ContinuousClock.Instant
        /// Whether all objects are known, now and from now on.
        var isSynced: Bool
    }

    /// What others may look at while it runs.
    final class Record: Sendable {
        let status = Mutex(SourceStatus.Kind())
    }

    /// What to do next.
    private enum Step {
        /// Read everything: as of this version or later. Empty: the most recent, wherever the server has to look for it;
        /// `nil`: whatever it has at hand.
        case list(ResourceVersion?)
        case watch
    }

    private let watched: WatchedKind
    private let format: WireFormat
    private let transport: Transport
    private let timing: ClusterTiming
    private let problems: ProblemLog
    private let deliver: @Sendable (Delivery) -> Void
    private let record: Record

    private var known = KnownObjects()
    private var step = Step.list(nil)
    private var backoff: Backoff
    /// Whether the server streams lists.
    private var canStream = true
    /// Whether the next list is not to be streamed, for the last one came to nothing.
    private var avoidsStream = false
    private var isSynced = false
    /// Whether the watch that runs, or ran last, has told anything.
    private var hasTold = false
    /// How many watches in a row told what cannot be read.
    private var malformed = 0

    init(
        _ watched: WatchedKind, _ transport: Transport, format: WireFormat, _ record: Record, problems: ProblemLog,
        deliver: @escaping @Sendable (Delivery) -> Void
    ) {
        self.watched = watched
        self.format = format
        self.transport = transport
        self.record = record
        self.problems = problems
        self.deliver = deliver
        timing = transport.timing
        backoff = Backoff(transport.timing)
    }

    /// Runs until its task is cancelled.
    func run() async {
        while !Task.isCancelled {
            do {
                switch step {
                case .list(let version):
                    if canStream, !avoidsStream {
                        try await stream(from: version)
                    } else {
                        try await list(from: version)
                    }
                case .watch: try await watch()
                }
            } catch {
                guard !Task.isCancelled, let pause = settle(RequestError(error)) else { continue }
                try? await Task.sleep(for: pause)
            }
        }
    }

    // MARK: Requests

    /// A list by a watch that begins with all objects, and goes on as a watch.
    private func stream(from version: ResourceVersion?) async throws {
        note {
            $0.phase = .connecting
            $0.lists += 1
            $0.watches += 1
        }
        let request = watchRequest([
            ("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"),
            ("resourceVersion", version?.text ?? ""),
        ])
        try await transport.exchange(request, deadline: timing.list, silence: timing.listPause) { answer in
            try await self.follow(answer, KnownObjects.Listing())
        }
    }

    /// A watch from the version that is known.
    private func watch() async throws {
        note {
            $0.phase = .connecting
            $0.watches += 1
        }
        let request = watchRequest([("resourceVersion", known.version?.text ?? "")])
        let begun = ContinuousClock.now
        try await transport.exchange(request, deadline: nil, silence: timing.silence) { answer in
            try await self.follow(answer, nil)
        }
        malformed = 0
        guard hasTold || ContinuousClock.now - begun >= timing.shortWatch else {
            throw RequestError(.shortWatch, "the watch ended at once, with nothing told")
        }
    }

    private func watchRequest(_ parameters: [(String, String)]) -> APIRequest {
        let common = [
            ("watch", "true"), ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", "\(Int.random(in: timing.watchSeconds))"),
        ]
        return APIRequest(
            path: watched.path(common + parameters), accept: format.watchMediaType, isLimited: false)
    }

    /// A list in one answer, or in as many as the server likes.
    private func list(from version: ResourceVersion?) async throws {
        note {
            $0.phase = .connecting
            $0.lists += 1
        }
        var listing = KnownObjects.Listing()
        var received: ContinuousClock.Instant?
        // The watch cache's state, as old as it may be, is what a first list is content with.
        var parameters = [("resourceVersion", version?.text ?? "0")]
        if let version, !version.text.isEmpty { parameters.append(("resourceVersionMatch", "NotOlderThan")) }
        while true {
            let request = APIRequest(
                path: watched.path(parameters), accept: format.listMediaType, acceptsCompression: true)
            let part = try await transport.exchange(request, deadline: timing.list, silence: timing.listPause) {
                [listing] answer in
                try await self.read(answer, listing)
            }
            listing = part.listing
            received = received ?? part.received
            guard part.end.continueToken.isEmpty else {
                parameters = [("continue", part.end.continueToken)]
                continue
            }
            complete(listing, part.end.resourceVersion, received ?? .now)
            return
        }
    }

    // MARK: Answers

    private struct ListPart: Sendable {
        var listing: KnownObjects.Listing
        var end: ListMetadata
        var received: ContinuousClock.Instant
    }

    private func read(_ answer: APIAnswer, _ begun: KnownObjects.Listing) async throws -> ListPart {
        note { $0.phase = .listing }
        var listing = begun
        var received: ContinuousClock.Instant?
        var reader = ListReader(kind: watched.kind, format: answer.format)
        for try await chunk in answer.body {
            let now = heard(answer)
            received = received ?? now
            reader.append(chunk.readableBytesSpan)
            while let object = try reader.next() { listing.add(object, to: known) }
        }
        return ListPart(listing: listing, end: try reader.finish(), received: received ?? .now)
    }

    /// Reads a watch to its end. `begun` is the list that it begins with, if it does.
    private func follow(_ answer: APIAnswer, _ begun: KnownObjects.Listing?) async throws {
        var listing = begun
        note { $0.phase = listing == nil ? .watching : .listing }
        if listing == nil { well() }
        var reader = WatchReader(kind: watched.kind, format: answer.format)
        hasTold = false
        // When the first byte came of what has not been told yet.
        var received: ContinuousClock.Instant?
        for try await chunk in answer.body {
            let now = heard(answer)
            let first = received ?? now
            received = first
            reader.append(chunk.readableBytesSpan)
            var events: [CatalogEvent] = []
            // What came before an error is good.
            let failure: (any Error)?
            do {
                while let event = try reader.next() {
                    hasTold = true
                    if listing != nil {
                        guard let version = try initial(event, &listing) else { continue }
                        complete(listing ?? .init(), version, first)
                        answer.watchdog.goOn(silence: timing.silence)
                        listing = nil
                    } else if let change = try live(event) {
                        events.append(change)
                    }
                }
                failure = nil
            } catch {
                failure = error
            }
            if !events.isEmpty { tell(events, first) }
            if let failure { throw failure }
            if listing == nil, !reader.isInsideEvent { received = nil }
        }
        guard !reader.isInsideEvent else { throw RequestError(.malformed, "the watch ended in the middle of an event") }
        guard listing == nil else { throw RequestError(.malformed, "the streamed list ended before it was complete") }
    }

    /// An event of a list that is streamed. Returns the list's version when it is complete.
    private func initial(
        _ event: WatchEvent, _ listing: inout KnownObjects.Listing?
    ) throws -> ResourceVersion? {
        switch event {
        case .upsert(let object): listing?.add(object, to: known)
        case .delete(let object): listing?.remove(object)
        case .bookmark(let version, let isEnd):
            if isEnd { return version }
        case .failure(let status): throw RequestError(status)
        }
        return nil
    }

    /// An event of a watch.
    private func live(_ event: WatchEvent) throws -> CatalogEvent? {
        if case .failure(let status) = event { throw RequestError(status) }
        let outcome = known.take(event)
        if case .bookmark = event { note { $0.bookmarks += 1 } }
        switch outcome {
        case .tell(let change): return change
        case .stale:
            note { $0.stale += 1 }
            return nil
        case .nothing: return nil
        case .wentBack:
            // etcd has been restored: only a list tells what there is.
            step = .list(ResourceVersion(""))
            throw RequestError(.expired, "the server is behind what it has told before")
        }
    }

    // MARK: Results

    private func complete(
        _ listing: KnownObjects.Listing, _ version: ResourceVersion, _ received: ContinuousClock.Instant
    ) {
        let events = known.replace(with: listing, version: version, kind: watched.kind)
        step = .watch
        avoidsStream = false
        isSynced = true
        note {
            $0.phase = .watching
            if $0.synced == nil { $0.synced = .now }
        }
        well()
        tell(events, received)
    }

    private func tell(_ events: [CatalogEvent], _ received: ContinuousClock.Instant) {
        let deletions = events.count { if case .delete = $0 { true } else { false } }
        note {
            $0.objects = known.count
            $0.upserts += events.count - deletions
            $0.deletions += deletions
            if !events.isEmpty { $0.event = .now }
        }
        deliver(Delivery(kind: watched.kind, events: events, received: received, isSynced: isSynced))
    }

    private func heard(_ answer: APIAnswer) -> ContinuousClock.Instant {
        let now = answer.watchdog.heard()
        note { $0.heard = now }
        return now
    }

    private func well() { problems.recovered(watched.kind) }

    private func note(_ change: (inout SourceStatus.Kind) -> Void) {
        record.status.withLock {
            change(&$0)
            $0.resourceVersion = known.version ?? ResourceVersion("")
        }
    }

    // MARK: Failures

    /// Decides what to do after a failure. Returns how long to wait before; `nil`: not at all.
    private func settle(_ error: RequestError) -> Duration? {
        let now = ContinuousClock.now
        let wasWatch = isSettled
        let wasRested = backoff.isRested(at: now)
        note { $0.failures[error.failure, default: 0] += 1 }
        let isRemedied = wasWatch ? remedyWatch(error) : remedyList(error)
        if watched.isOptional, error.failure == .absent || error.failure == .forbidden {
            problems.absent(watched.kind, error.description)
            return wait(timing.absent, error, now)
        }
        let pause = backoff.pause(at: now, random: .random(in: 0...1))
        // A list has few remedies, each tried once. Versions may expire again and again, which is not to be at once.
        if isRemedied, wasRested || !wasWatch { return nil }
        problems.failed(watched.kind, error)
        return wait(max(pause, error.retryAfter ?? .zero), error, now)
    }

    private func wait(_ pause: Duration, _ error: RequestError, _ now: ContinuousClock.Instant) -> Duration {
        note { $0.phase = .waiting(until: now + pause, reason: error.description) }
        return pause
    }

    /// Whether it was a watch that failed, or a list that was complete and had become one.
    private var isSettled: Bool { if case .watch = step { true } else { false } }

    /// After a failed list: whether there is something else to try at once.
    private func remedyList(_ error: RequestError) -> Bool {
        guard case .list(let version) = step else { return false }
        let mostRecent = ResourceVersion("")
        switch error.failure {
        case .status where canStream && !avoidsStream && [400, 422].contains(error.status?.code):
            canStream = false
            return true
        case .silence, .timeout, .malformed:
            // A server that does not know `sendInitialEvents` sends the objects and never says that these are all.
            let isBegun = record.status.withLock { $0.phase == .listing }
            avoidsStream = isBegun && canStream && !avoidsStream
            // One that is behind the version may keep silent until it is there.
            if error.failure != .malformed, version != nil { step = .list(mostRecent) }
            return false
        case _ where (error.failure == .expired || error.isVersionTooLarge) && version != mostRecent:
            step = .list(mostRecent)
            return true
        default: return false
        }
    }

    /// After a failed watch: sets what to do where it is not the same again, and whether that is to be done at once.
    private func remedyWatch(_ error: RequestError) -> Bool {
        malformed = error.failure == .malformed ? malformed + 1 : 0
        switch error.failure {
        case .expired: step = .list(known.version)
        // Silent from its beginning: a server that is behind the version may wait for it, for ever.
        case .silence where !hasTold: step = .list(ResourceVersion(""))
        // What cannot be read may be the event and not the connection.
        case .malformed where malformed > 1: step = .list(known.version)
        default: return false
        }
        return error.failure == .expired
    }
}
