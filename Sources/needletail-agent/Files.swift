import Glibc
import Logging

/// A file that could not be written.
struct OutputFailure: Error, CustomStringConvertible {
    let path: String
    let code: Int32

    var description: String { "cannot write \(path): \(String(cString: strerror(code)))" }
}

enum OutputFile {
    /// Writes a text, in place of what is there; `-` is standard output.
    static func write(_ text: String, to path: String) throws(OutputFailure) {
        if path == "-" { return print(text, terminator: "") }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw OutputFailure(path: path, code: errno) }
        defer { close(descriptor) }
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 || errno == EINTR else { throw OutputFailure(path: path, code: errno) }
            rest = rest.dropFirst(max(0, count))
        }
    }
}

/// The kernel's inclination to end this process when memory runs out.
enum OOMScore {
    /// Lowering it needs CAP_SYS_RESOURCE. The agent does without, and says so.
    static func adjust(_ score: Int, _ logger: Logger) {
        do {
            try OutputFile.write("\(score)", to: "/proc/self/oom_score_adj")
        } catch {
            logger.warning("the agent's OOM score stays as it is", metadata: ["reason": "\(error)"])
        }
    }
}
