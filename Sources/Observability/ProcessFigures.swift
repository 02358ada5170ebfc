internal import Glibc

/// What the kernel says of this process (proc(5)). What cannot be read is absent.
public struct ProcessFigures: Sendable, Hashable {
    /// Processor time, user and system, in seconds.
    public var cpuSeconds: Double?
    /// Open file descriptors.
    public var openDescriptors: Int?
    /// How many may be open; infinite without a limit.
    public var maxDescriptors: Double?
    /// Address space, in bytes.
    public var virtualMemory: Double?
    /// How much of it there may be, in bytes; infinite without a limit.
    public var maxVirtualMemory: Double?
    /// Memory in use, in bytes.
    public var residentMemory: Double?
    /// When it started, in seconds since 1970.
    public var startTime: Double?
    /// Threads.
    public var threads: Int?

    /// Nothing known.
    public init() {}

    /// Of this process, now.
    public static func read() -> ProcessFigures {
        var figures = ProcessFigures()
        figures.readStatus(contents("/proc/self/stat"), bootTime: bootTime)
        // One of them is the descriptor by which they are read.
        figures.openDescriptors = entries("/proc/self/fd").map { max(0, $0 - 1) }
        figures.maxDescriptors = limit(RLIMIT_NOFILE)
        figures.maxVirtualMemory = limit(RLIMIT_AS)
        return figures
    }

    /// Takes the fields of `/proc/self/stat`.
    mutating func readStatus(_ status: String, bootTime: Double?) {
        // The second field is the program's name in parentheses, which may hold anything.
        guard let end = status.lastIndex(of: ")") else { return }
        let fields = status[status.index(after: end)...].split { $0 == " " || $0 == "\n" }
        // The first of these is the third of the file: field N is at N - 3.
        func field(_ number: Int) -> Double? { fields.count > number - 3 ? Double(fields[number - 3]) : nil }
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        let page = Double(sysconf(Int32(_SC_PAGESIZE)))
        if let user = field(14), let system = field(15) { cpuSeconds = (user + system) / ticks }
        threads = field(20).map { Int($0) }
        if let bootTime, let started = field(22) { startTime = bootTime + started / ticks }
        virtualMemory = field(23)
        residentMemory = field(24).map { $0 * page }
    }

    private static var bootTime: Double? {
        for line in contents("/proc/stat").split(separator: "\n") where line.hasPrefix("btime ") {
            return Double(line.dropFirst(6))
        }
        return nil
    }

    private static func limit(_ resource: __rlimit_resource) -> Double? {
        var limit = rlimit()
        guard getrlimit(Int32(resource.rawValue), &limit) == 0 else { return nil }
        return limit.rlim_cur == rlim_t.max ? .infinity : Double(limit.rlim_cur)
    }

    private static func entries(_ directory: String) -> Int? {
        guard let stream = opendir(directory) else { return nil }
        defer { closedir(stream) }
        var count = 0
        while let entry = readdir(stream) {
            // All but "." and "..".
            if entry.pointee.d_name.0 != CChar(UInt8(ascii: ".")) { count += 1 }
        }
        return count
    }

    /// A file of /proc; empty if it cannot be read.
    private static func contents(_ path: String) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            guard count > 0 else { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    func write(to text: inout MetricsText) {
        func add(_ family: MetricFamily, _ value: Double?) {
            if let value { text.add(family, .number(value)) }
        }
        add(Metrics.processCPU, cpuSeconds)
        add(Metrics.processOpenFDs, openDescriptors.map(Double.init))
        add(Metrics.processMaxFDs, maxDescriptors)
        add(Metrics.processVirtual, virtualMemory)
        // As Go's client writes it.
        add(Metrics.processVirtualMax, maxVirtualMemory.map { $0.isInfinite ? -1 : $0 })
        add(Metrics.processResident, residentMemory)
        add(Metrics.processStart, startTime)
        add(Metrics.processThreads, threads.map(Double.init))
    }
}
