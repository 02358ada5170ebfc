public import BPF
internal import Glibc
internal import NeedletailABI
internal import SystemPackage

/// The directory of a bpffs that keeps the datapath while no process does.
///
///     ROOT/maps/nt_frontends4 ...          the maps
///     ROOT/links/external_xdp-native-4 ... attachments, by program, mechanism and interface index
///     ROOT/links/socket_connect4-cgroup .. socket hooks
///     ROOT/trace/external_xdp ...          the programs once more, as they are run to explain a packet
public struct PinDirectory: Sendable, Hashable {
    /// Where the agent pins unless told otherwise.
    public static let standard = "/sys/fs/bpf/needletail"

    /// The directory.
    public let root: String

    /// Names a directory; it need not exist.
    public init(_ root: String = PinDirectory.standard) {
        self.root = FilePath(root).lexicallyNormalized().string
    }

    /// The path of a pinned map.
    public func map(_ name: String) -> String { "\(root)/maps/\(name)" }

    /// The path of an attachment's pin: a link, or for clsact a program.
    func link(_ attachment: Attachment) -> String { "\(root)/links/\(attachment.pinName)" }

    /// The path of a socket hook's link.
    func link(_ program: SocketProgram) -> String { "\(root)/links/\(program.pinName)" }

    /// The path of a program that is run to explain a packet.
    func trace(_ program: DatapathProgram) -> String { "\(root)/trace/\(program.name)" }

    /// Whether a map is pinned.
    public func exists(_ map: String) -> Bool { access(self.map(map), F_OK) == 0 }

    /// Whether there is such a directory.
    ///
    /// - Throws: ``DatapathError/unreadable(_:_:)`` when this process may not know.
    public func isPresent() throws -> Bool {
        let result = access(root, R_OK | X_OK)
        let failure = Errno(rawValue: errno)
        if result == 0 { return true }
        guard failure == .noSuchFileOrDirectory else { throw DatapathError.unreadable(root, "\(failure)") }
        return false
    }

    /// Names of what is pinned in a subdirectory, in order.
    public func entries(in subdirectory: String) -> [String] {
        guard let directory = opendir("\(root)/\(subdirectory)") else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Mounts a bpffs if there is none, and makes the directories.
    public func create() throws(BPFError) {
        try BPFFileSystem.ensureMounted(containing: root)
        for directory in ["maps", "links", "trace"] {
            try BPFFileSystem.ensureMounted(containing: "\(root)/\(directory)")
        }
    }

    /// Removes all that an agent pinned here, and the directories. Attachments end with their links.
    public func remove() throws(BPFError) {
        // First, so that what is left when this is stopped midway is taken for what it is.
        try BPFFileSystem.unpin(map("nt_meta"))
        for subdirectory in ["links", "trace", "maps"] {
            for name in entries(in: subdirectory) { try BPFFileSystem.unpin("\(root)/\(subdirectory)/\(name)") }
            rmdir("\(root)/\(subdirectory)")
        }
        rmdir(root)
    }
}

/// Held by the one agent of a pin directory for as long as it lives; the kernel lets go of it with the process.
public struct AgentLock: ~Copyable, Sendable {
    private let descriptor: OwnedDescriptor

    /// Takes the lock on the directory itself. Programs that only look at it hold it for moments, so a short wait
    /// tells them from an agent.
    ///
    /// - Throws: ``DatapathError/locked(_:)``, ``DatapathError/notRunning(_:)`` if there is no such directory,
    ///   ``DatapathError/unreadable(_:_:)`` if it may not be read.
    public init(_ pins: PinDirectory) throws {
        let opened = open(pins.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        let failure = Errno(rawValue: errno)
        guard opened >= 0 else {
            guard failure != .noSuchFileOrDirectory else { throw DatapathError.notRunning(pins.root) }
            throw DatapathError.unreadable(pins.root, "\(failure)")
        }
        let directory = OwnedDescriptor(adopting: opened)
        var attempts = 20
        while flock(directory.raw, LOCK_EX | LOCK_NB) != 0 {
            attempts -= 1
            guard attempts > 0 else { throw DatapathError.locked(pins.root) }
            usleep(10_000)
        }
        descriptor = directory
    }

    /// Lets go of it before the process ends.
    public consuming func release() {}

    /// Whether some agent holds the lock.
    public static func isHeld(_ pins: PinDirectory) -> Bool {
        let opened = open(pins.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard opened >= 0 else { return false }
        let descriptor = OwnedDescriptor(adopting: opened)
        return flock(descriptor.raw, LOCK_SH | LOCK_NB) != 0
    }
}
