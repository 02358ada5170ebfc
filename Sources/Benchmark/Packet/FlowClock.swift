internal import Glibc
internal import NeedletailABI

/// The datapath's clock. A flow's entries are written to at most once in a tick of 0.54 s, so whether a packet is its
/// flow's first in the tick decides what it costs.
enum FlowClock {
    /// Nanoseconds of the coarse monotonic clock, as the programs read it.
    static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC_COARSE, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    static var tick: UInt64 { now >> UInt64(NT_TICK_SHIFT) }

    private static let length = UInt64(1) << UInt64(NT_TICK_SHIFT)

    /// Sleeps until a tick after `last` has begun and `needed` nanoseconds of it are left, or all of it when more is
    /// needed than a tick has.
    static func wait(after last: UInt64, needed: Double) {
        while true {
            let now = now
            let elapsed = now & (length - 1)
            if now >> UInt64(NT_TICK_SHIFT) > last, Double(length - elapsed) >= needed || elapsed < 20_000_000 {
                return
            }
            usleep(UInt32((length - elapsed) / 1000) + 1000)
        }
    }
}
