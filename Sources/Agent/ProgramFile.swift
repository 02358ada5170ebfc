internal import Glibc

/// The program that runs, as a file: what is there when the process is replaced, an upgrade perhaps.
public struct ProgramFile: Sendable {
    /// Why the process could not be replaced.
    public struct Failure: Error, CustomStringConvertible {
        /// The file.
        public let path: String
        /// The system's number for it.
        public let errno: Int32

        /// Says what to do.
        public var description: String {
            "cannot start \(path) in this process's place: \(String(cString: strerror(errno)))"
        }
    }

    /// The path, as it was when this value was made; `nil` when /proc does not tell.
    public let path: String?

    /// The running program's file. To be asked for at the start: later the file may have been replaced, and the kernel
    /// then says `(deleted)`.
    public init() {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let length = readlink("/proc/self/exe", &buffer, buffer.count)
        path = length > 0 ? String(decoding: buffer[..<length], as: UTF8.self) : nil
    }

    /// Starts the file anew in this process's place: same process id, arguments and environment. Descriptors that are
    /// to be closed on exec are, which are all of this program's. Returns only by throwing.
    public func replaceProcess(arguments: [String]) throws(Failure) {
        guard let path else { throw Failure(path: "/proc/self/exe", errno: ENOENT) }
        // Threads of the pool block all signals; the new program would inherit that, and be deaf to SIGTERM.
        var none = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, nil)
        var pointers = arguments.map { strdup($0) } + [nil]
        var code: Int32
        var attempts = 0
        repeat {
            if attempts > 0 { usleep(100_000) }
            execv(path, &pointers)
            code = errno
            attempts += 1
            // Somebody is still writing it, or has it open for writing: an upgrade that is just ending.
        } while code == ETXTBSY && attempts < 50
        for pointer in pointers { free(pointer) }
        throw Failure(path: path, errno: code)
    }
}
