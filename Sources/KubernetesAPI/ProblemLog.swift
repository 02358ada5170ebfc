internal import Logging
internal import ServiceModel
internal import Synchronization

/// Says what is wrong with the API server: once for each reason, again while it lasts, and once when all is well.
final class ProblemLog: Sendable {
    private struct State {
        /// When each reason was logged last.
        var logged: [SourceStatus.Failure: ContinuousClock.Instant] = [:]
        /// What fails now, and since when.
        var failing: [ObjectKind: ContinuousClock.Instant] = [:]
        /// Whether something was logged that is not over yet.
        var isTold = false
        var absent: Set<ObjectKind> = []
    }

    private let logger: Logger
    private let reminder: Duration
    private let server: String
    private let state = Mutex(State())

    init(_ logger: Logger, server: String, reminder: Duration) {
        self.logger = logger
        self.server = server
        self.reminder = reminder
    }

    /// List or watch of a kind has failed.
    func failed(_ kind: ObjectKind, _ error: RequestError) {
        let now = ContinuousClock.now
        let since = state.withLock { state -> ContinuousClock.Instant? in
            let since = state.failing[kind] ?? now
            state.failing[kind] = since
            if let last = state.logged[error.failure], now - last < reminder { return nil }
            state.logged[error.failure] = now
            state.isTold = true
            return since
        }
        guard let since else { return }
        logger.warning(
            "cannot follow the API server; what is known stays in force, and it is tried again",
            metadata: [
                "server": "\(server)", "kind": "\(kind.rawValue)", "reason": "\(error)",
                "since": "\((now - since).components.seconds) s",
            ])
    }

    /// A cluster does not have, or does not show, what it may do without.
    func absent(_ kind: ObjectKind, _ reason: String) {
        let isNew = state.withLock { $0.absent.insert(kind).inserted }
        guard isNew else { return }
        logger.info(
            "not offered by the API server; done without",
            metadata: ["kind": "\(kind.rawValue)", "reason": "\(reason)"])
    }

    /// List or watch of a kind is well.
    func recovered(_ kind: ObjectKind) {
        let isOver = state.withLock { state in
            state.failing[kind] = nil
            guard state.failing.isEmpty, state.isTold else { return false }
            state.isTold = false
            return true
        }
        if isOver { logger.info("in step with the API server again", metadata: ["server": "\(server)"]) }
    }
}
