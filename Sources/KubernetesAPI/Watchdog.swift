internal import Synchronization

/// Ends a request that keeps silent, or takes too long.
final class Watchdog: Sendable {
    private struct State {
        var heard: ContinuousClock.Instant
        /// How long the next byte may take.
        var patience: Duration
        /// How long the body may pause.
        var silence: Duration
        var deadline: ContinuousClock.Instant?
        var hasAnswer = false
    }

    private let interval: Duration
    private let state: Mutex<State>

    /// - Parameters:
    ///   - interval: How often to look, at least.
    ///   - answer: How long the head of the answer may take.
    ///   - silence: How long the body may pause.
    ///   - deadline: How long the whole may take.
    init(interval: Duration, answer: Duration, silence: Duration, deadline: Duration?) {
        self.interval = interval
        let now = ContinuousClock.now
        state = Mutex(State(heard: now, patience: answer, silence: silence, deadline: deadline.map { now + $0 }))
    }

    /// A byte came. Returns when.
    @discardableResult func heard() -> ContinuousClock.Instant {
        let now = ContinuousClock.now
        state.withLock {
            $0.heard = now
            $0.patience = $0.silence
            $0.hasAnswer = true
        }
        return now
    }

    /// What had to be there in time is. From now on it may go on for ever, as long as it does not pause longer.
    func goOn(silence: Duration) {
        state.withLock {
            $0.silence = silence
            $0.patience = silence
            $0.deadline = nil
        }
    }

    /// Returns only by throwing: what the request has to be ended for, or `CancellationError`.
    func watch() async throws {
        while true {
            let (state, now) = (state.withLock { $0 }, ContinuousClock.now)
            let silent = state.heard + state.patience
            if let deadline = state.deadline, now >= deadline {
                throw RequestError(.timeout, "the answer was not complete in time")
            }
            if now >= silent {
                throw state.hasAnswer
                    ? RequestError(.silence, "silent for \(state.patience): the connection is taken for dead")
                    : RequestError(.timeout, "no answer in time")
            }
            // What the head of the answer, or the end of a list, changes may be sooner than what was to be waited for.
            try await Task.sleep(until: min(silent, now + interval, state.deadline ?? silent), clock: .continuous)
        }
    }
}
