internal import BPF
internal import Glibc

/// Where and when something was measured.
public struct Machine: Sendable, Hashable {
    /// The kernel's release.
    public let kernel: String
    /// The processor by its own name; empty where the kernel does not tell.
    public let processor: String
    /// Processors online.
    public let cores: Int
    /// UTC, as `2026-01-31T12:00:00Z`.
    public let date: String

    /// A machine as it was.
    public init(kernel: String, processor: String, cores: Int, date: String) {
        self.kernel = kernel
        self.processor = processor
        self.cores = cores
        self.date = date
    }

    /// This machine, now.
    public init() {
        kernel = SmallFile.read("/proc/sys/kernel/osrelease").map { String($0.prefix { $0 != "\n" }) } ?? ""
        processor = SmallFile.read("/proc/cpuinfo").flatMap { SmallFile.value(of: "model name", in: $0) } ?? ""
        cores = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        var now = time(nil)
        var parts = tm()
        gmtime_r(&now, &parts)
        date = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { buffer in
            guard let start = buffer.baseAddress else { return "" }
            let length = strftime(start, buffer.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
            return String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }
}

/// Memory of this process.
enum Memory {
    /// Kernel memory of all BPF maps it has open.
    static var maps: UInt64 { mapsByID.values.reduce(0, +) }

    /// Kernel memory of each BPF map it has open, by the kernel's id.
    static var mapsByID: [UInt32: UInt64] {
        guard let directory = opendir("/proc/self/fdinfo") else { return [:] }
        defer { closedir(directory) }
        var sizes: [UInt32: UInt64] = [:]
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let text = SmallFile.read("/proc/self/fdinfo/\(name)"),
                let map = SmallFile.value(of: "map_id", in: text).flatMap({ UInt32($0) }),
                let size = SmallFile.value(of: "memlock", in: text).flatMap({ UInt64($0) })
            else { continue }
            sizes[map] = size
        }
        return sizes
    }

    /// What is resident now, in bytes.
    static var resident: Int { resident(of: getpid()) }

    /// What of another process is resident now, in bytes.
    static func resident(of pid: pid_t) -> Int {
        let pages = SmallFile.read("/proc/\(pid)/statm")?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
        return (pages ?? 0) * sysconf(Int32(_SC_PAGESIZE))
    }

    /// The most that was resident.
    static var peak: UInt64 {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return UInt64(usage.ru_maxrss) * 1024
    }
}

/// Text files of procfs.
enum SmallFile {
    /// The first 4 KiB; `nil` if it cannot be read.
    static func read(_ path: String) -> String? {
        let number = open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { return nil }
        let descriptor = OwnedDescriptor(adopting: number)
        return withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
            let count = Glibc.read(descriptor.raw, buffer.baseAddress, buffer.count)
            return count < 0 ? nil : String(decoding: buffer[..<count], as: UTF8.self)
        }
    }

    /// What follows `label`, blanks and a colon at the beginning of a line.
    static func value(of label: String, in text: String) -> String? {
        for line in text.split(separator: "\n") where line.hasPrefix(label) {
            let rest = line.dropFirst(label.count).drop { $0 == " " || $0 == "\t" }
            guard rest.first == ":" else { continue }
            return String(rest.dropFirst().drop { $0 == " " || $0 == "\t" })
        }
        return nil
    }
}
