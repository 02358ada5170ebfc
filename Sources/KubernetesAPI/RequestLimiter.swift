internal import Synchronization

/// So many requests in a second, and a burst of them at once: a token bucket, as client-go's.
final class RequestLimiter: Sendable {
    private struct State {
        var tokens: Double
        var filled: ContinuousClock.Instant
    }

    private let rate: Double
    private let burst: Double
    private let state: Mutex<State>

    /// Without a limit if one of the two is not positive.
    init(requestsPerSecond: Double, burst: Int) {
        rate = requestsPerSecond
        self.burst = Double(burst)
        state = Mutex(State(tokens: Double(burst), filled: .now))
    }

    /// Takes the next turn, and says how long to wait for it.
    func turn(at now: ContinuousClock.Instant) -> Duration {
        guard rate > 0, burst > 0 else { return .zero }
        return state.withLock { state in
            let passed = (now - state.filled) / .seconds(1)
            state.tokens = min(burst, state.tokens + max(0, passed) * rate)
            state.filled = max(now, state.filled)
            state.tokens -= 1
            return state.tokens >= 0 ? .zero : .seconds(-state.tokens / rate)
        }
    }

    /// Waits for a turn.
    func wait() async throws {
        let duration = turn(at: .now)
        if duration > .zero { try await Task.sleep(for: duration) }
    }
}
