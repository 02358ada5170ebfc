internal import Dispatch

/// Runs an actor on a thread of its own: map writes, table scans and grace periods block, and the pool Swift's tasks
/// share has one thread per core.
final class QueueExecutor: SerialExecutor {
    private let queue: DispatchQueue

    init(label: String) {
        queue = DispatchQueue(label: label)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}
