// A release build makes this target too, with the static runtime, which has no Testing.
#if canImport(Testing)
    internal import Dispatch
    public import Testing

    /// Runs each test on a thread of its own, few at a time.
    ///
    /// These tests block: on sockets, on processes, on the kernel. Swift's pool has a thread per core, and other tests need
    /// it: those that wait for a server in the same process would wait for as long as others compute.
    public struct OwnThread: TestTrait, SuiteTrait, TestScoping {
        private static let places = Places(3)

        /// Each test, not each suite.
        public var isRecursive: Bool { true }

        /// Waits for a place, and runs the test on a thread made for it.
        public func provideScope(
            for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
        ) async throws {
            await Self.places.enter()
            let executor = QueueExecutor(label: "test.\(test.name)")
            let result: Result<Void, any Error>
            do {
                result = .success(try await withTaskExecutorPreference(executor) { try await function() })
            } catch {
                result = .failure(error)
            }
            await Self.places.leave()
            try result.get()
        }
    }

    extension Trait where Self == OwnThread {
        /// On a thread of its own, three at a time.
        public static var ownThread: Self { Self() }
    }

    /// A semaphore that suspends instead of blocking.
    private actor Places {
        private var free: Int
        private var waiting: [CheckedContinuation<Void, Never>] = []

        init(_ count: Int) { free = count }

        func enter() async {
            if free > 0 {
                free -= 1
            } else {
                await withCheckedContinuation { waiting.append($0) }
            }
        }

        func leave() {
            if waiting.isEmpty {
                free += 1
            } else {
                waiting.removeFirst().resume()
            }
        }
    }

    private final class QueueExecutor: TaskExecutor {
        private let queue: DispatchQueue

        init(label: String) { queue = DispatchQueue(label: label) }

        func enqueue(_ job: consuming ExecutorJob) {
            let job = UnownedJob(job)
            queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
        }
    }
#endif
