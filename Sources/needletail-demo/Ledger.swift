import NetTypes
import Synchronization

/// A kind of request: from where, over which family, how.
struct Stream: Hashable, Sendable {
    enum Kind: Hashable, Sendable {
        /// HTTP over a connection of its own.
        case http
        /// A datagram from a socket of its own.
        case datagram
        /// A line on a TCP connection that stays open.
        case connection
        /// A datagram of a socket that is kept.
        case flow
    }

    let place: Place
    let family: IPFamily
    let kind: Kind

    var transport: TransportProtocol { kind == .http || kind == .connection ? .tcp : .udp }

    static var newcomers: [Stream] {
        Place.allCases.flatMap { place in
            IPFamily.allCases.flatMap { family in
                [Kind.http, .datagram].map { Stream(place: place, family: family, kind: $0) }
            }
        }
    }
}

/// What clients saw, kept by many threads.
final class Ledger: Sendable {
    /// A connection or UDP flow that is kept.
    struct Kept: Sendable {
        let stream: Stream
        /// Who answered first.
        let firstServer: String
        /// Who answered last.
        var server: String
        /// Requests begun after the mark and answered.
        var answeredSinceMark = 0
        /// Why it is not usable any more.
        var failure: String?
    }

    struct State: Sendable {
        var requests = 0
        var failures: [String] = []
        var failureCount = 0
        var kept: [Kept] = []
        /// Of requests that were begun after the mark: who answered them.
        var answers: [Stream: [String: Int]] = [:]
        var requestsSinceMark = 0
        var failuresSinceMark = 0
        fileprivate var epoch = 0

        /// Answers to requests that made a connection or flow of their own, by backend.
        var newcomers: [String: Int] {
            Stream.newcomers.reduce(into: [:]) { sum, stream in
                for (server, count) in answers[stream] ?? [:] { sum[server, default: 0] += count }
            }
        }

        func kept(_ kind: Stream.Kind, firstOn server: String? = nil) -> [Kept] {
            kept.filter { $0.stream.kind == kind && (server == nil || $0.firstServer == server) }
        }

        var brokenConnections: Int { kept(.connection).count { $0.failure != nil } }
    }

    private let state = Mutex(State())

    var now: State { state.withLock { $0 } }

    /// What comes back to ``answered(_:by:begun:)``: requests count for the time between marks in which they began.
    var epoch: Int { state.withLock { $0.epoch } }

    /// Begins a new period.
    func mark() {
        state.withLock {
            $0.epoch += 1
            $0.answers = [:]
            $0.requestsSinceMark = 0
            $0.failuresSinceMark = 0
            for i in $0.kept.indices { $0.kept[i].answeredSinceMark = 0 }
        }
    }

    func answered(_ stream: Stream, by server: String, begun epoch: Int) {
        state.withLock {
            $0.requests += 1
            guard epoch == $0.epoch else { return }
            $0.requestsSinceMark += 1
            $0.answers[stream, default: [:]][server, default: 0] += 1
        }
    }

    func failed(_ stream: Stream, _ reason: String) {
        state.withLock { Self.count("\(stream.place.rawValue), IPv\(stream.family.rawValue): \(reason)", &$0) }
    }

    /// Puts a connection or flow that has been answered once on record, and returns its number.
    func keep(_ stream: Stream, on server: String) -> Int {
        state.withLock {
            $0.requests += 1
            $0.kept.append(Kept(stream: stream, firstServer: server, server: server))
            return $0.kept.count - 1
        }
    }

    func keptAnswered(_ number: Int, by server: String, begun epoch: Int) {
        state.withLock {
            $0.requests += 1
            $0.kept[number].server = server
            guard epoch == $0.epoch else { return }
            $0.requestsSinceMark += 1
            $0.kept[number].answeredSinceMark += 1
        }
    }

    func keptFailed(_ number: Int, _ reason: String) {
        state.withLock {
            $0.kept[number].failure = reason
            Self.count("kept, to \($0.kept[number].server): \(reason)", &$0)
        }
    }

    private static func count(_ reason: String, _ state: inout State) {
        state.failureCount += 1
        state.failuresSinceMark += 1
        if state.failures.count < 10 { state.failures.append(reason) }
    }
}
