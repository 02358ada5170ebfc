import BPF
import Dispatch
import Foundation
import NetLab
import NetTypes
import Synchronization
import Testing

extension Trait where Self == ConditionTrait {
    static func needs(_ program: String) -> Self {
        .enabled(if: paths(of: program) != nil, "needs the program \(program)")
    }
}

/// Where a program of the system is.
func paths(of program: String) -> String? {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
}

/// Something that did not come true in time.
struct NotInTime: Error, CustomStringConvertible {
    let description: String
}

/// Asks until the answer is yes. What is thrown meanwhile counts as no; the last of it is part of the failure.
func eventually(
    _ what: @autoclosure () -> String, within limit: Duration = .seconds(10), _ isTrue: () throws -> Bool
) throws {
    let deadline = ContinuousClock.now + limit
    var last: (any Error)?
    repeat {
        do {
            if try isTrue() { return }
            last = nil
        } catch {
            last = error
        }
        usleep(10_000)
    } while .now < deadline
    throw NotInTime(description: "not within \(limit): \(what())" + (last.map { "; \($0)" } ?? ""))
}

/// A directory that goes with this object, and with it what is mounted below.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/needletail-topology-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw POSIXError(.EIO) }
        path = String(cString: made)
    }

    func subdirectory(_ name: String) throws -> String {
        let path = "\(path)/\(name)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        return path
    }

    deinit {
        let mounts = (try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)) ?? ""
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ")
            if fields.count > 1, fields[1].hasPrefix(path + "/") { try? BPFFileSystem.unmount(at: String(fields[1])) }
        }
        try? FileManager.default.removeItem(atPath: path)
    }
}

/// Lets time pass.
func pause(_ duration: Duration) {
    usleep(UInt32(duration / .microseconds(1)))
}
