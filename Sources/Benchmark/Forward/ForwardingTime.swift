internal import CLinux
internal import Glibc

/// Processor time that forwarding takes: that of the thread that sends, in which most of it happens, and that of the
/// kernel's threads to which soft interrupts are left when they become too many.
///
/// A kernel that accounts interrupts apart (`CONFIG_IRQ_TIME_ACCOUNTING`) takes what they cost out of a thread's time; on
/// such a one the rates stand and these figures are too small.
struct ForwardingTime {
    /// `schedstat` of every ksoftirqd that can be seen.
    private let softInterrupts: [String]

    init() {
        var paths: [String] = []
        if let directory = opendir("/proc") {
            defer { closedir(directory) }
            while let entry = readdir(directory) {
                let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
                guard UInt32(name) != nil, SmallFile.read("/proc/\(name)/comm")?.hasPrefix("ksoftirqd/") == true,
                    SmallFile.read("/proc/\(name)/schedstat") != nil
                else { continue }
                paths.append("/proc/\(name)/schedstat")
            }
        }
        softInterrupts = paths
    }

    /// Whether the kernel's own threads are in the sum.
    var isComplete: Bool { !softInterrupts.isEmpty }

    /// Nanoseconds of the calling thread and of all ksoftirqd so far.
    var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        let kernel = softInterrupts.reduce(UInt64(0)) { sum, path in
            // Nanoseconds on a processor come first (`Documentation/scheduler/sched-stats.rst`).
            sum + (SmallFile.read(path)?.split(separator: " ").first.flatMap { UInt64($0) } ?? 0)
        }
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec) + kernel
    }
}
