internal import BPF
internal import Dataplane
internal import Logging
internal import Planning

/// Ends connected UDP sockets whose backend is gone. On a thread of its own: with many sockets in many namespaces it
/// takes its time, during which changes of endpoints must not wait.
actor SocketCleaner {
    private let sockets: LedSockets
    private let logger: Logger
    private let executor = QueueExecutor(label: "needletail.sockets")
    /// The last pass found something to end: a socket that was just connecting may have been missed.
    private var isUnfinished = false
    private var reported: String?

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(_ sockets: LedSockets, _ logger: Logger) {
        self.sockets = sockets
        self.logger = logger
    }

    /// Looks through all sockets, for those whose frontend or backend is gone, and those of these flows.
    func pass(_ flows: EndedFlows) {
        // After it no hook is left that chose by what the maps said before.
        GracePeriod.wait()
        do {
            let outcome = try sockets.end {
                flows.contains(FlowOwner(service: $0.service, backend: $0.backend))
            }
            isUnfinished = outcome.ended + outcome.failed > 0
            report(outcome.failure)
            if outcome.ended > 0 {
                logger.info("ended UDP sockets whose backend is gone", metadata: ["sockets": "\(outcome.ended)"])
            }
        } catch {
            isUnfinished = true
            report("\(error)")
        }
    }

    /// Looks again if the last time something was found; not for the flows of then, which may have begun anew.
    func passAgain() {
        if isUnfinished { pass(.of([])) }
    }

    private func report(_ failure: String?) {
        if let failure, failure != reported {
            logger.warning(
                "cannot end UDP sockets whose backend is gone; it is tried again", metadata: ["reason": "\(failure)"])
        }
        reported = failure
    }
}
