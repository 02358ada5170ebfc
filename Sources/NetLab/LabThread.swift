internal import Glibc

/// A thread outside Swift's concurrency pool, so it may block. It starts in the network namespace of the thread that
/// makes it.
package struct LabThread: Sendable {
    private final class Start: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    private let isFinished = Monitor(false)

    /// Starts the thread.
    package init(_ body: @escaping @Sendable () -> Void) throws(LabError) {
        let isFinished = isFinished
        let start = Unmanaged.passRetained(
            Start {
                body()
                isFinished.withLock { $0 = true }
            })
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, start.toOpaque())
        guard result == 0 else {
            start.release()
            throw LabError("start", "thread", .system(result))
        }
        pthread_detach(thread)
    }

    /// Waits for the end; `false` when the time is up first.
    @discardableResult
    package func join(atMost limit: Duration) -> Bool {
        isFinished.wait(atMost: limit) { $0 ? true : nil } ?? false
    }
}

/// Runs blocking code on a thread of its own and waits for it without blocking a thread of the concurrency pool.
public func offPool<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    try await withCheckedThrowingContinuation { continuation in
        do {
            _ = try LabThread { continuation.resume(with: Result { try body() }) }
        } catch {
            continuation.resume(throwing: error)
        }
    }
}
