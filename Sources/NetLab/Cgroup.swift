internal import CLinux
internal import Glibc
internal import Netlink

/// A cgroup (v2) for a test, so that what is attached to it concerns the test's own sockets alone.
///
/// It is a threaded one: threads of a process may be in it while the others are not. A socket belongs to the cgroup its
/// thread was in when it was made.
public final class Cgroup: Sendable {
    /// Its directory.
    public let path: String
    private let parent: String

    /// Makes a cgroup below another, such as the root of the hierarchy.
    public init(below parent: String, name: String) throws {
        self.parent = parent
        path = "\(parent)/\(name)-\(getpid())-\(nt_thread_id())"
        guard mkdir(path, 0o755) == 0 else { throw LabError.last("make cgroup", path) }
        do {
            try Self.write("threaded", to: "\(path)/cgroup.type")
        } catch {
            rmdir(path)
            throw error
        }
    }

    deinit {
        // A process that was killed is in it for moments more.
        for _ in 0..<200 {
            for thread in Self.lines(of: "\(path)/cgroup.threads") {
                try? Self.write(thread, to: "\(parent)/cgroup.threads")
            }
            if rmdir(path) == 0 || errno == ENOENT { return }
            usleep(10_000)
        }
    }

    /// Moves a namespace's thread here: sockets of its hosts that are made from now on belong here, and processes that are
    /// started there.
    public func add(_ namespace: NetworkNamespace) throws {
        let path = path
        try namespace.run { try Self.write("\(nt_thread_id())", to: "\(path)/cgroup.threads") }
    }

    private static func write(_ text: String, to path: String) throws {
        let file = open(path, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { throw LabError.last("open", path) }
        let descriptor = LinuxDescriptor(owning: file)
        guard Glibc.write(descriptor.raw, text, text.utf8.count) >= 0 else {
            throw LabError.last("write \(text) to", path)
        }
    }

    private static func lines(of path: String) -> [String] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        let descriptor = LinuxDescriptor(owning: file)
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = read(descriptor.raw, &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self).split(separator: "\n").map(String.init)
    }
}
