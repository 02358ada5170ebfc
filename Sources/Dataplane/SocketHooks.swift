internal import BPF
internal import Glibc

/// A program of the datapath on a hook of a cgroup.
public enum SocketProgram: String, Sendable, Hashable, CaseIterable {
    /// `connect(2)` of IPv4 sockets.
    case connect4
    /// `connect(2)` of IPv6 sockets.
    case connect6
    /// `sendmsg(2)` of unconnected IPv4 UDP sockets.
    case sendmsg4
    /// `sendmsg(2)` of unconnected IPv6 UDP sockets.
    case sendmsg6
    /// `recvmsg(2)` of IPv4 UDP sockets.
    case recvmsg4
    /// `recvmsg(2)` of IPv6 UDP sockets.
    case recvmsg6
    /// `getpeername(2)` of IPv4 sockets.
    case getpeername4
    /// `getpeername(2)` of IPv6 sockets.
    case getpeername6
    /// `bind(2)` of IPv4 sockets.
    case postBind4 = "post_bind4"
    /// `bind(2)` of IPv6 sockets.
    case postBind6 = "post_bind6"

    /// Those that keep processes of the node from binding NodePorts.
    static let protecting: Set<SocketProgram> = [.postBind4, .postBind6]

    /// The name of the program in the BPF object.
    public var name: String { "socket_\(rawValue)" }

    /// What its pin is called.
    var pinName: String { "\(name)-cgroup" }

    init?(pinName: String) {
        guard let program = Self.allCases.first(where: { $0.pinName == pinName }) else { return nil }
        self = program
    }

    var attachType: CgroupAttachType {
        switch self {
        case .connect4: .connect4
        case .connect6: .connect6
        case .sendmsg4: .sendmsg4
        case .sendmsg6: .sendmsg6
        case .recvmsg4: .recvmsg4
        case .recvmsg6: .recvmsg6
        case .getpeername4: .getpeername4
        case .getpeername6: .getpeername6
        case .postBind4: .postBind4
        case .postBind6: .postBind6
        }
    }
}

extension DatapathSettings {
    /// The programs these settings ask for.
    public var socketPrograms: [SocketProgram] {
        SocketProgram.allCases.filter {
            SocketProgram.protecting.contains($0) ? protectsNodePorts : sockets != .off
        }
    }
}

/// Where the cgroup v2 hierarchy is mounted.
public enum CgroupMount {
    /// The directory of the hierarchy's root in this process's view; `nil` if it is not mounted.
    public static func find() -> String? {
        guard let file = fopen("/proc/self/mountinfo", "re") else { return nil }
        defer { fclose(file) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, file) > 0 {
            if let line, let directory = directory(ofMount: String(cString: line)) { return directory }
        }
        return nil
    }

    /// The mount point in a line of `mountinfo`, if it is one of cgroup v2 from its root (`proc_pid_mountinfo(5)`).
    static func directory(ofMount line: String) -> String? {
        let fields = line.split(whereSeparator: \.isWhitespace)
        // Optional fields end with a hyphen, and then comes the type.
        guard fields.count > 6, let separator = fields.dropFirst(6).firstIndex(of: "-"),
            fields[(separator + 1)...].first == "cgroup2", fields[3] == "/"
        else { return nil }
        return String(fields[4])
    }
}

/// Attaches the socket programs to a cgroup, by links that are pinned and so outlive the agent.
public struct SocketHooks: Sendable {
    private let programs: [SocketProgram: Program]
    private let pins: PinDirectory

    /// Works with the programs of a pinned datapath.
    public init(_ datapath: Datapath, pins: PinDirectory) {
        programs = datapath.socketPrograms
        self.pins = pins
    }

    /// What is attached by an agent of this pin directory.
    public static func all(in pins: PinDirectory) -> [SocketProgram] {
        let names = Set(pins.entries(in: "links"))
        return SocketProgram.allCases.filter { names.contains($0.pinName) }
    }

    /// Brings the attachments to what was loaded: programs that hang on the cgroup already are replaced in place, others
    /// attached, and what is left of an earlier agent that is not wanted now is detached.
    ///
    /// - Throws: `BPFError`, `DatapathError`; what was attached until then stays so.
    public func attach(to cgroup: String) throws {
        let id = try Self.id(of: cgroup)
        for program in Self.all(in: pins) where programs[program] == nil { try Self.detach(program, pins) }
        // In order: what finds the way back must be there before anything is led away.
        for program in SocketProgram.allCases.reversed() {
            guard let loaded = programs[program] else { continue }
            if let link = try? Link.open(pinnedAt: pins.link(program)), link.cgroupID == id {
                try link.replace(with: loaded)
                continue
            }
            // One at a time: the second of two would take the first one's work for the client's own.
            try Self.detach(program, pins)
            try loaded.attachCgroup(directory: cgroup, type: program.attachType).pin(at: pins.link(program))
        }
    }

    /// Whether all programs hang on the cgroup.
    public func areInPlace(on cgroup: String) -> Bool {
        guard let id = try? Self.id(of: cgroup) else { return false }
        return programs.keys.allSatisfy { Self.cgroup(of: $0, in: pins) == id }
    }

    /// Whether a pinned program hangs on a cgroup still: others may have detached it, or removed the cgroup.
    public static func isInPlace(_ program: SocketProgram, in pins: PinDirectory) -> Bool {
        cgroup(of: program, in: pins) != 0
    }

    /// Detaches all that agents of this pin directory attached.
    ///
    /// - Returns: how many there were.
    @discardableResult
    public static func detachAll(_ pins: PinDirectory) throws -> Int {
        let programs = all(in: pins)
        for program in programs { try detach(program, pins) }
        return programs.count
    }

    private static func cgroup(of program: SocketProgram, in pins: PinDirectory) -> UInt64 {
        (try? Link.open(pinnedAt: pins.link(program)))?.cgroupID ?? 0
    }

    private static func detach(_ program: SocketProgram, _ pins: PinDirectory) throws {
        // A link whose cgroup is gone cannot be detached any more, and need not be.
        if let link = try? Link.open(pinnedAt: pins.link(program)) { try? link.detach() }
        try BPFFileSystem.unpin(pins.link(program))
    }

    /// The kernel's number of a cgroup.
    private static func id(of cgroup: String) throws -> UInt64 {
        var status = stat()
        guard stat(cgroup, &status) == 0 else {
            throw DatapathError.unreadable(cgroup, String(cString: strerror(errno)))
        }
        return UInt64(status.st_ino)
    }
}
