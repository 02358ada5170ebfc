import Glibc

/// Signals that ask the demo to end, received where the story pauses instead of by handlers: whatever they interrupt is
/// in a state that can be cleaned up.
///
/// SIGPIPE is among them: a reader of the output that goes away must not keep the demo from cleaning up.
struct Interrupts {
    private var signals = sigset_t()

    /// Holds the signals back, in this thread and all that it starts. Programs that it starts get them as usual.
    init() {
        sigemptyset(&signals)
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE] { sigaddset(&signals, signal) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)
    }

    /// Waits; throws as soon as a signal is there.
    func pause(_ duration: Duration = .zero) throws(DemoError) {
        let deadline = ContinuousClock.now + duration
        var signals = signals
        repeat {
            let (seconds, attoseconds) = max(.zero, deadline - .now).components
            var limit = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
            let signal = sigtimedwait(&signals, nil, &limit)
            if signal > 0 { throw .interrupted(signal) }
        } while .now < deadline
    }
}
