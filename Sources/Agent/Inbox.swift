internal import Synchronization

/// What has arrived since the consumer last looked. Filling it wakes the consumer, which takes everything at once: a
/// burst of changes costs one pass, not one each.
final class Inbox<Element: Sendable>: Sendable {
    private let waiting = Mutex<[Element]>([])
    private let wakeup: AsyncStream<Void>.Continuation
    private let wakeups: AsyncStream<Void>

    init() {
        (wakeups, wakeup) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func put(_ element: Element) {
        waiting.withLock { $0.append(element) }
        wakeup.yield()
    }

    func finish() {
        wakeup.finish()
    }

    /// Calls `body` with what has arrived, for as long as the inbox is open. For one consumer.
    func forEachBatch(_ body: ([Element]) async throws -> Void) async rethrows {
        for await _ in wakeups {
            let batch = waiting.withLock { elements in
                defer { elements.removeAll(keepingCapacity: true) }
                return elements
            }
            if !batch.isEmpty { try await body(batch) }
        }
    }
}
