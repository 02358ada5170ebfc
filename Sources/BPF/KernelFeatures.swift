internal import CLibbpf
internal import Glibc
internal import Synchronization
internal import SystemPackage

/// A kernel release, as far as it can be compared.
public struct KernelVersion: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The first number of the release.
    public let major: Int
    /// The second number of the release.
    public let minor: Int
    /// The third number of the release; 0 if it has none.
    public let patch: Int

    /// A version by its numbers.
    public init(major: Int, minor: Int, patch: Int = 0) {
        self.major = major
        self.minor = minor
        self.patch = patch
    }

    /// Reads the leading numbers of a release such as `6.1.0-18-amd64`; what is missing counts as 0.
    public init(release: String) {
        let numbers = release.split(separator: ".", maxSplits: 2).map { part in
            Int(part.prefix { $0.isASCII && $0.isNumber }) ?? 0
        }
        self.init(
            major: numbers.first ?? 0, minor: numbers.dropFirst().first ?? 0, patch: numbers.dropFirst(2).first ?? 0)
    }

    /// Orders by major, minor, patch.
    public static func < (left: KernelVersion, right: KernelVersion) -> Bool {
        (left.major, left.minor, left.patch) < (right.major, right.minor, right.patch)
    }

    /// The three numbers, with dots.
    public var description: String {
        "\(major).\(minor).\(patch)"
    }
}

/// What the running kernel can do.
public enum KernelFeatures {
    /// The release, from `uname(2)`. Distributions backport: prefer a probe where there is one.
    public static var version: KernelVersion {
        var name = utsname()
        return uname(&name) == 0 ? KernelVersion(release: String(fixed: name.release)) : KernelVersion(release: "")
    }

    /// Whether the kernel describes its own types (`/sys/kernel/btf/vmlinux`).
    public static var hasBTF: Bool {
        access("/sys/kernel/btf/vmlinux", R_OK) == 0
    }

    /// How many CPUs there may ever be; per-CPU values come in this number.
    public static func possibleCPUs() throws(BPFError) -> Int {
        Int(try check(libbpf_num_possible_cpus(), "libbpf_num_possible_cpus", "/sys/devices/system/cpu/possible"))
    }

    /// Whether programs can be attached by TCX (Linux 6.6), found out by trying on a device that does not exist.
    ///
    /// - Throws: when no program may be loaded at all, so that nothing was learned.
    public static func supportsTCX() throws(BPFError) -> Bool {
        if let known = tcx.withLock({ $0 }) { return known }
        let program = try trivialProgram(type: BPF_PROG_TYPE_SCHED_CLS)
        let result = bpf_link_create(program.raw, 0, bpf_attach_type(rawValue: UInt32(CLIBBPF_TCX_INGRESS)), nil)
        // A kernel that knows the attach type goes on to look for the device.
        let supported = result == -ENODEV
        tcx.withLock { $0 = supported }
        return supported
    }

    private static let tcx = Mutex<Bool?>(nil)

    /// A program that returns 0.
    private static func trivialProgram(type: bpf_prog_type) throws(BPFError) -> OwnedDescriptor {
        // r0 = 0; exit. An instruction is 8 bytes: opcode, registers, offset, immediate.
        let instructions: [UInt64] = [0xb7, 0x95]
        let (result, log) = capturingLog {
            instructions.withUnsafeBytes { bytes in
                bpf_prog_load(
                    type, "probe", "GPL", bytes.baseAddress?.assumingMemoryBound(to: bpf_insn.self),
                    instructions.count, nil)
            }
        }
        guard result >= 0 else {
            throw BPFError(errno: Errno(rawValue: -result), operation: "bpf_prog_load", subject: "probe", log: log)
        }
        return OwnedDescriptor(adopting: result)
    }
}
