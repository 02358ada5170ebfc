/// Pauses between attempts: doubling, with up to as much again at random, so that the nodes of a cluster do not all
/// come at once (client-go `tools/cache/reflector.go`).
struct Backoff: Sendable {
    private let first: Duration
    private let longest: Duration
    private let healthy: Duration
    private var next: Duration
    private var failed: ContinuousClock.Instant?

    init(_ timing: ClusterTiming) {
        first = timing.firstBackoff
        longest = timing.longestBackoff
        healthy = timing.healthy
        next = timing.firstBackoff
    }

    /// Whether nothing has failed of late.
    func isRested(at now: ContinuousClock.Instant) -> Bool { failed.map { now - $0 >= healthy } ?? true }

    /// The pause after a failure. `random` is from 0 to 1.
    mutating func pause(at now: ContinuousClock.Instant, random: Double) -> Duration {
        if isRested(at: now) { next = first }
        let pause = min(next, longest)
        next = min(pause * 2, longest)
        // What counts is the time from one attempt's end to the next one's, not the pause itself.
        failed = now + pause
        return pause + pause * random
    }
}
