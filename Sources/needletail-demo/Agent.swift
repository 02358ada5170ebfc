import BPF
import Dataplane
import Glibc
import NeedletailABI
import NetLab

/// The real agent, as a process of the node's.
final class Agent {
    private let program: String
    private let workspace: Workspace
    private let network: Network
    private let interrupts: Interrupts
    private var process: ChildProcess?

    /// Names the program; ``start()`` starts it.
    init(_ program: String, _ workspace: Workspace, _ network: Network, _ interrupts: Interrupts) {
        self.program = program
        self.workspace = workspace
        self.network = network
        self.interrupts = interrupts
    }

    private var pins: PinDirectory { PinDirectory(workspace.pins) }

    /// Its process id, while it runs.
    var pid: Int32? { process?.pid }

    /// What it is started with.
    var arguments: [String] {
        [
            "--manifests", workspace.manifests, "--node-name", Manifest.nodeName,
            "--external-devices", "eth*", "--workload-devices", "nt*", "--pin-directory", workspace.pins,
            // The cgroup hierarchy is the whole machine's.
            "--sockets", "off",
        ]
    }

    /// Starts it and waits until the maps are in step with the manifests.
    func start() throws {
        guard access(program, X_OK) == 0 else { throw DemoError.missingProgram(program) }
        let process = try ChildProcess(program, arguments, in: network.topology.node.namespace)
        self.process = process
        try wait("get ready") { $0.agent_pid == UInt32(process.pid) && $0.syncs > 0 }
    }

    /// The maps, which are there with the agent or without it.
    func maps() throws -> DatapathMaps { try DatapathMaps(pinnedIn: pins) }

    /// What is attached to which device.
    var attachments: [Attachment] { Attachments.all(in: pins) }

    /// Makes a change and waits until the agent has brought it to the maps.
    ///
    /// - Returns: milliseconds from the change to the maps.
    func apply(_ change: () throws -> Void) throws -> Double {
        let syncs = try maps().nodeRecord().syncs
        let begun = Self.realTime()
        try change()
        try wait("take in a change") { $0.syncs > syncs }
        let done = try maps().nodeRecord().last_sync
        return Double(done - min(begun, done)) / 1_000_000
    }

    /// Ends it at once, without giving it a chance to do anything about it.
    func kill() throws {
        guard let process else { return }
        try process.signal(SIGKILL)
        _ = try process.wait()
        self.process = nil
    }

    /// Throws when it has ended, though nobody asked it to.
    func check() throws(DemoError) {
        guard let process, let end = try? process.wait(timeout: .zero) else { return }
        self.process = nil
        let how =
            switch end {
            case .exited(let status): "exited with status \(status)"
            case .signaled(let signal): "was ended by \(String(cString: strsignal(signal)))"
            }
        throw .agent(how, log: process.lastLines)
    }

    /// Ends it in good order, and removes what it pinned and attached.
    ///
    /// - Returns: what `needletail-agent cleanup` says; `nil` when there is nothing to clean up.
    func stop() throws -> String? {
        if let process {
            self.process = nil
            try process.signal(SIGTERM)
            if (try? process.wait()) == nil {
                try process.signal(SIGKILL)
                _ = try process.wait()
            }
        }
        guard !workspace.pinned.isEmpty else { return nil }
        let cleanup = try ChildProcess(
            program, ["cleanup", "--pin-directory", workspace.pins], in: network.topology.node.namespace)
        let end = try cleanup.wait(timeout: .seconds(20))
        guard end == .exited(0) else { throw DemoError.agent("failed to clean up: \(end)", log: cleanup.lastLines) }
        return cleanup.lines.last?.text ?? ""
    }

    private func wait(_ what: String, until holds: (nt_meta) -> Bool) throws {
        let deadline = ContinuousClock.now + .seconds(20)
        while .now < deadline {
            if let record = try? maps().nodeRecord(), holds(record) { return }
            try check()
            try interrupts.pause(.milliseconds(2))
        }
        throw DemoError.agent("did not \(what) within 20 seconds", log: process?.lastLines ?? [])
    }

    /// The clock of `nt_meta`, in nanoseconds.
    private static func realTime() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

extension ChildProcess {
    fileprivate var lastLines: [String] { lines.suffix(12).map(\.text) }
}
