public import Logging
public import ServiceLifecycle
internal import Synchronization

/// Waits until the agent is to begin anew, with another configuration or as another program: on SIGHUP, or when the
/// configuration file has changed. A configuration that is not valid is reported, and the agent goes on as it is.
///
/// The whole process is replaced, which costs nothing: the datapath goes on by itself, and everything that depends on
/// the configuration is what a start makes of it.
public final class RestartService: ServiceLifecycle.Service {
    private let reasons: AsyncStream<String>
    private let validate: @Sendable () throws -> Void
    private let logger: Logger
    private let requested = Mutex(false)

    /// - Parameters:
    ///   - reasons: why to restart, each time there is a reason.
    ///   - validate: throws what is wrong with the configuration that a new process would read.
    ///   - logger: where it is told.
    public init(reasons: AsyncStream<String>, validate: @escaping @Sendable () throws -> Void, logger: Logger) {
        self.reasons = reasons
        self.validate = validate
        self.logger = logger
    }

    /// Whether the process is to be replaced, once the services have ended.
    public var isRequested: Bool { requested.withLock { $0 } }

    /// Returns when there is to be a restart, or the group shuts down.
    public func run() async throws {
        for await reason in reasons.cancelOnGracefulShutdown() {
            do {
                try validate()
            } catch {
                logger.error(
                    "the configuration is not valid; the agent goes on with the one it has",
                    metadata: ["why": "\(reason)", "reason": "\(error)"])
                continue
            }
            logger.notice("restarting in place", metadata: ["why": "\(reason)"])
            requested.withLock { $0 = true }
            return
        }
    }
}
