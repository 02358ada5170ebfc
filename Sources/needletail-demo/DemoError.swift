import Glibc

/// Why the demo ends before its end.
enum DemoError: Error, CustomStringConvertible {
    /// A signal asked for it.
    case interrupted(Int32)
    /// The kernel refuses a namespace; errno.
    case namespace(Int32)
    /// A file or directory of the demo's own could not be made or written: what was tried, and errno.
    case files(String, Int32)
    /// A program that the demo runs is not there.
    case missingProgram(String)
    /// The agent ended by itself, or never got ready: what happened, and its last lines.
    case agent(String, log: [String])
    /// No connection reached this backend in so many attempts.
    case unreached(String, attempts: Int)

    var description: String {
        switch self {
        case .interrupted(let signal): "stopped by \(String(cString: strsignal(signal)))"
        case .namespace(let code):
            "make a mount namespace: \(String(cString: strerror(code))): being root is not enough where capabilities are "
                + "taken away; run it on the machine itself or in a privileged container"
        case .files(let what, let code): "\(what): \(String(cString: strerror(code)))"
        case .missingProgram(let path):
            "there is no program \(path): build it with `make demo`, or name another one with --agent"
        case .agent(let what, let log):
            "the agent \(what)" + (log.isEmpty ? "; it wrote nothing" : "; its last lines:")
                + log.map { "\n    \($0)" }.joined()
        case .unreached(let server, let attempts):
            "no connection reached \(server) in \(attempts) attempts, though it is one of the backends"
        }
    }
}
