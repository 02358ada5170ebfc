internal import CLinux
internal import Glibc
internal import Netlink

/// A program that runs in a network namespace, with its output read line by line.
///
/// Only the network is that of the namespace; files and mounts are those of this process. The program and what it
/// started are killed with the last reference to this object, and by the kernel if this process dies.
public final class ChildProcess: Sendable {
    /// Where a line was written.
    public enum Stream: Sendable, Hashable {
        /// Standard output.
        case output
        /// Standard error.
        case error
    }

    /// A line that the program wrote.
    public struct Line: Sendable, Hashable {
        /// When it was read.
        public let time: ContinuousClock.Instant
        /// Where it was written.
        public let stream: Stream
        /// The line without its end.
        public let text: String
    }

    /// How a process ended.
    public enum End: Sendable, Hashable {
        /// By itself, with this status.
        case exited(Int32)
        /// By a signal.
        case signaled(Int32)
    }

    private struct Output {
        var lines: [Line] = []
        var openStreams = 2
    }

    /// The process id.
    public let pid: Int32
    /// For messages: the program's path.
    public let program: String
    // Held: the kernel kills the program when the namespace's thread ends.
    private let namespace: NetworkNamespace
    private let descriptor: LinuxDescriptor
    private let output = Monitor(Output())

    /// Starts a program, looked up in PATH unless it has a slash. Its environment is this process's unless given.
    public init(
        _ program: String, _ arguments: [String] = [], in namespace: NetworkNamespace,
        environment: [String: String]? = nil
    ) throws {
        let path = try Self.find(program)
        let output = try Pipe()
        let error = try Pipe()
        let (outputEnd, errorEnd) = (output.writeEnd.raw, error.writeEnd.raw)
        let pid = try namespace.run {
            Self.withStrings([path] + arguments) { arguments in
                guard let environment else { return nt_spawn(path, arguments, nil, outputEnd, errorEnd) }
                return Self.withStrings(environment.map { "\($0)=\($1)" }) {
                    nt_spawn(path, arguments, $0, outputEnd, errorEnd)
                }
            }
        }
        guard pid > 0 else { throw LabError("start", path, .system(-pid)) }
        let descriptor = nt_process_descriptor(pid)
        guard descriptor >= 0 else {
            kill(-pid, SIGKILL)
            waitpid(pid, nil, 0)
            throw LabError("watch", path, .system(-descriptor))
        }
        self.pid = pid
        self.program = path
        self.namespace = namespace
        self.descriptor = LinuxDescriptor(owning: descriptor)
        try Self.read(output.closeWriteEnd(), .output, into: self.output)
        try Self.read(error.closeWriteEnd(), .error, into: self.output)
    }

    deinit {
        // Not reaped before: until then the id cannot be another's, neither as a process nor as a group.
        kill(-pid, SIGKILL)
        waitpid(pid, nil, 0)
    }

    /// All lines so far.
    public var lines: [Line] { output.withLock { $0.lines } }

    /// Waits for a line for which `predicate` holds, among those already written, too, except the first `skipping`.
    public func waitForLine(
        skipping: Int = 0, timeout: Duration = .seconds(5), where predicate: (String) -> Bool
    ) throws -> Line {
        var seen = skipping
        let found: Line?? = output.wait(atMost: timeout) { output in
            while seen < output.lines.count {
                seen += 1
                if predicate(output.lines[seen - 1].text) { return .some(output.lines[seen - 1]) }
            }
            return output.openStreams == 0 ? .some(nil) : nil
        }
        guard let found else { throw LabError("wait for a line of", describe(), .timedOut) }
        guard let found else { throw LabError("wait for a line of", describe(), .closed) }
        return found
    }

    /// Sends a signal to the process, not to what it started; nothing happens when it has ended.
    public func signal(_ number: Int32) throws {
        guard kill(pid, number) == 0 else { throw LabError.last("signal", program) }
    }

    /// Waits for the end of the process, and then for the end of its output.
    public func wait(timeout: Duration = .seconds(5)) throws -> End {
        var descriptors = [pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)]
        guard poll(&descriptors, 1, timeout.pollMilliseconds) > 0 else {
            throw LabError("wait for the end of", describe(), .timedOut)
        }
        var status: Int32 = 0
        let result = nt_process_end(pid, &status)
        guard result >= 0 else { throw LabError("wait for the end of", program, .system(-result)) }
        // What it started may hold its output open.
        _ = output.wait(atMost: .seconds(1)) { $0.openStreams == 0 ? true : nil }
        return result == 0 ? .exited(status) : .signaled(status)
    }

    /// For messages: the program and the last lines it wrote.
    private func describe() -> String {
        let tail = lines.suffix(10).map { "\n    \($0.text)" }.joined()
        return "\(program) (process \(pid))" + (tail.isEmpty ? "" : ", which wrote:\(tail)\n")
    }

    private static func read(
        _ pipe: consuming LinuxDescriptor, _ stream: Stream, into output: Monitor<Output>
    ) throws {
        let source = PipeReader(pipe)
        _ = try LabThread {
            source.forEachLine { text in
                let line = Line(time: .now, stream: stream, text: text)
                output.withLock { $0.lines.append(line) }
            }
            output.withLock { $0.openStreams -= 1 }
        }
    }

    private static func find(_ program: String) throws -> String {
        guard !program.contains("/") else { return program }
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/sbin:/usr/bin:/sbin:/bin"
        for directory in path.split(separator: ":") where access("\(directory)/\(program)", X_OK) == 0 {
            return "\(directory)/\(program)"
        }
        throw LabError("find", program, .other("not in PATH (\(path))"))
    }

    /// A null-terminated array of C strings.
    private static func withStrings<R>(_ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R) -> R {
        let pointers = strings.map { strdup($0) } + [nil]
        defer { pointers.forEach { free($0) } }
        return body(pointers)
    }
}

/// The two ends of a pipe.
private struct Pipe: ~Copyable {
    let readEnd: LinuxDescriptor
    let writeEnd: LinuxDescriptor

    init() throws(LabError) {
        var (reading, writing): (Int32, Int32) = (0, 0)
        let result = nt_pipe(&reading, &writing)
        guard result == 0 else { throw LabError("make", "pipe", .system(-result)) }
        readEnd = LinuxDescriptor(owning: reading)
        writeEnd = LinuxDescriptor(owning: writing)
    }

    /// Leaves the end to read from.
    consuming func closeWriteEnd() -> LinuxDescriptor { readEnd }
}

/// Reads a pipe to its end.
private final class PipeReader: Sendable {
    private let descriptor: LinuxDescriptor

    init(_ descriptor: consuming LinuxDescriptor) {
        self.descriptor = descriptor
    }

    /// Lines without their ends; the last one may lack it.
    func forEachLine(_ body: (String) -> Void) {
        var pending: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 14)
        while true {
            let count = Glibc.read(descriptor.raw, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { break }
            pending += chunk.prefix(count)
            while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                body(String(decoding: pending[..<end], as: UTF8.self))
                pending.removeSubrange(...end)
            }
        }
        if !pending.isEmpty { body(String(decoding: pending, as: UTF8.self)) }
    }
}
