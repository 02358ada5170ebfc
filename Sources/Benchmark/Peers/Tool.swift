internal import BPF
internal import CLinux
internal import Glibc
internal import NetLab

/// A program of the system's, run to its end in a network namespace.
///
/// It is started by `posix_spawn`, which does not copy this process: what a run takes does not grow with the memory of
/// the benchmark, as it would by `fork`.
struct Tool: Sendable {
    /// How a run ended.
    struct Run: Sendable {
        /// From before the start to after the end, in milliseconds.
        let wall: Double
        /// Processor time of the program, in milliseconds.
        let processor: Double
        /// What it wrote to standard output.
        let output: [UInt8]

        /// The same as text.
        var text: String { String(decoding: output, as: UTF8.self) }
    }

    /// The program's file.
    let path: String

    /// That file.
    init(path: String) {
        self.path = path
    }

    /// Looks in PATH and in the places of system programs.
    ///
    /// - Throws: ``PeerError/unavailable(_:)`` when there is none.
    init(_ name: String) throws(PeerError) {
        let path = getenv("PATH").map { String(cString: $0) } ?? ""
        for directory in path.split(separator: ":") + ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
        where access("\(directory)/\(name)", X_OK) == 0 {
            self.path = "\(directory)/\(name)"
            return
        }
        throw .unavailable("the program \(name) is not installed")
    }

    /// The file's name.
    var name: Substring { path.split(separator: "/").last ?? "" }

    /// Runs it; the input is its standard input.
    ///
    /// - Parameter limit: after which it is killed.
    /// - Throws: ``PeerError/tooSlow(_:)``, or ``PeerError/failed(_:)`` with what it wrote to standard error.
    func run(
        _ arguments: [String], input: String = "", in namespace: NetLab.NetworkNamespace,
        limit: Duration = .seconds(120)
    ) throws(PeerError) -> Run {
        let result: Result<Run, PeerError>
        do {
            result = try namespace.run { Result { () throws(PeerError) in try runHere(arguments, input, limit) } }
        } catch {
            throw .failed("\(name) cannot be run in \(namespace.name): \(error)")
        }
        return try result.get()
    }

    private func runHere(_ arguments: [String], _ input: String, _ limit: Duration) throws(PeerError) -> Run {
        let (inputFile, outputFile, errorFile) = (try Scratch(input), try Scratch(), try Scratch())
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (number, file) in [inputFile, outputFile, errorFile].enumerated() {
            posix_spawn_file_actions_adddup2(&actions, file.descriptor, Int32(number))
        }
        let words = ([path] + arguments).map { strdup($0) } + [nil]
        let variables = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"]
        let environment = variables.map { strdup($0) } + [nil]
        defer { for word in words + environment { free(word) } }
        var pid: pid_t = 0
        let started = ContinuousClock.now
        let code = posix_spawn(&pid, path, &actions, nil, words, environment)
        guard code == 0 else { throw failure(arguments, "could not be started: \(String(cString: strerror(code)))") }
        let isInTime = Self.waits(for: pid, atMost: limit)
        if !isInTime { kill(pid, SIGKILL) }
        var (status, usage): (Int32, rusage) = (0, rusage())
        while wait4(pid, &status, 0, &usage) < 0 && errno == EINTR {}
        let wall = ContinuousClock.now - started
        guard isInTime else { throw .tooSlow("\(line(arguments)) did not end within \(limit)") }
        guard status == 0 else {
            let said = String(decoding: errorFile.contents().prefix(1000), as: UTF8.self)
            let lines = said.split(separator: "\n").prefix(3).joined(separator: "; ")
            throw failure(arguments, lines.isEmpty ? "ended with status \(status)" : lines)
        }
        return Run(
            wall: wall.milliseconds, processor: usage.ru_utime.milliseconds + usage.ru_stime.milliseconds,
            output: outputFile.contents())
    }

    private func failure(_ arguments: [String], _ what: String) -> PeerError {
        .failed("\(line(arguments)): \(what)")
    }

    private func line(_ arguments: [String]) -> String { ([String(name)] + arguments).joined(separator: " ") }

    /// Whether the process ended in time. It is not reaped.
    private static func waits(for pid: pid_t, atMost limit: Duration) -> Bool {
        let process = nt_process_descriptor(pid)
        guard process >= 0 else { return false }
        let descriptor = OwnedDescriptor(adopting: process)
        let deadline = ContinuousClock.now + limit
        while true {
            var watched = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
            let left = max(0, (deadline - .now).milliseconds)
            let result = poll(&watched, 1, Int32(min(left, 1e9)))
            if result > 0 { return true }
            if result == 0, ContinuousClock.now >= deadline { return false }
            if result < 0, errno != EINTR { return false }
        }
    }
}

/// A file without a name.
private final class Scratch {
    private let owned: OwnedDescriptor
    var descriptor: Int32 { owned.raw }

    init(_ text: String = "") throws(PeerError) {
        var template = Array("/tmp/needletail-bench-XXXXXX".utf8CString)
        let file = mkstemp(&template)
        guard file >= 0 else { throw .failed("no file can be made in /tmp: \(String(cString: strerror(errno)))") }
        owned = OwnedDescriptor(adopting: file)
        unlink(template)
        _ = fcntl(file, F_SETFD, FD_CLOEXEC)
        var text = text
        let isWritten = text.withUTF8 { bytes in
            var done = 0
            while done < bytes.count {
                let count = write(file, bytes.baseAddress.map { $0 + done }, bytes.count - done)
                guard count > 0 else { return false }
                done += count
            }
            return true
        }
        guard isWritten, lseek(file, 0, SEEK_SET) == 0 else {
            throw .failed("a file in /tmp cannot be written: \(String(cString: strerror(errno)))")
        }
    }

    func contents() -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = pread(descriptor, &chunk, chunk.count, off_t(bytes.count))
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
        }
    }
}

extension timeval {
    fileprivate var milliseconds: Double { Double(tv_sec) * 1000 + Double(tv_usec) / 1000 }
}

extension Duration {
    /// As a fraction.
    var milliseconds: Double { Double(components.seconds) * 1000 + Double(components.attoseconds) / 1e15 }
    /// As a fraction.
    var microseconds: Double { milliseconds * 1000 }
}
