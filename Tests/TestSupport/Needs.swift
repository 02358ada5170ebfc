// A release build makes this target too, with the static runtime, which has no Testing.
#if canImport(Testing)
    internal import BPF
    internal import Glibc
    public import Testing

    /// Whether this kernel is one that has TCX, by its version: on Linux 6.6 and later a missing TCX is a failure to be
    /// seen, not a reason to leave a test out.
    public let kernelHasTCX = KernelFeatures.version >= KernelVersion(major: 6, minor: 6)

    extension Trait where Self == ConditionTrait {
        /// To load BPF programs (CAP_BPF, CAP_NET_ADMIN), mount a bpffs and make network namespaces (CAP_SYS_ADMIN).
        public static var needsRoot: Self {
            .enabled("needs root: loads BPF programs or makes network namespaces") { geteuid() == 0 }
        }

        /// For tests of TCX alone. Of a table of ways to attach, leave out the rows by ``kernelHasTCX`` instead.
        public static var needsTCX: Self {
            .enabled("needs Linux 6.6 (TCX)") { kernelHasTCX }
        }
    }
#endif
