internal import CLibbpf
internal import Glibc

/// The end of whatever runs now in the kernel on behalf of BPF.
public enum GracePeriod {
    /// Returns when every XDP, tc and cgroup program that was running at the time of the call has ended: what it may
    /// have read from a map can then be reused. Takes some 10 to 30 ms.
    ///
    /// `MEMBARRIER_CMD_GLOBAL` is `synchronize_rcu()` (kernel/sched/membarrier.c), and these programs run inside RCU
    /// read-side sections. A kernel with `nohz_full` refuses it; a second is then far longer than a program may run.
    public static func wait() {
        if clibbpf_membarrier_global() != 0 { sleep(1) }
    }
}
