internal import Dataplane
internal import Logging

/// Keeps the socket hooks on the node's cgroup. Where that cannot be the agent goes on: pods' packets are translated all
/// the same.
struct HookKeeper {
    private let configuration: AgentConfiguration
    private let hooks: SocketHooks
    private let logger: Logger
    private let cgroup: String?
    private let isWanted: Bool
    private let loadFailure: String?
    private var reported: String?

    init(_ configuration: AgentConfiguration, _ datapath: Datapath, _ logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        hooks = SocketHooks(datapath, pins: configuration.pins)
        cgroup = configuration.cgroup ?? CgroupMount.find()
        isWanted = !configuration.datapath.socketPrograms.isEmpty
        loadFailure = datapath.socketFailure
    }

    /// Attaches what the settings ask for, in the place of what hangs there, and detaches what they do not.
    mutating func attach() {
        guard isWanted, loadFailure == nil, let cgroup else {
            do {
                try SocketHooks.detachAll(configuration.pins)
            } catch {
                logger.error("cannot detach the socket hooks", metadata: ["reason": "\(error)"])
            }
            if isWanted { report(loadFailure ?? "no cgroup v2 hierarchy is mounted") }
            return
        }
        do {
            try hooks.attach(to: cgroup)
            reported = nil
            logger.info(
                "attached the socket hooks",
                metadata: [
                    "cgroup": "\(cgroup)", "sockets": "\(configuration.datapath.sockets.rawValue)",
                    "programs": "\(configuration.datapath.socketPrograms.map(\.rawValue).joined(separator: ", "))",
                ])
        } catch {
            report("\(error)")
        }
    }

    /// Attaches again what somebody has taken away, or what could not be attached before.
    mutating func retry() {
        guard isWanted, loadFailure == nil, let cgroup, !hooks.areInPlace(on: cgroup) else { return }
        if reported == nil {
            logger.warning(
                "socket hooks are not attached any more; they are put back", metadata: ["cgroup": "\(cgroup)"])
        }
        attach()
    }

    private mutating func report(_ reason: String) {
        guard reported != reason else { return }
        reported = reason
        logger.warning(
            "no socket hooks: processes of the node itself do not reach ClusterIPs; pods do",
            metadata: ["reason": "\(reason)"])
    }
}
