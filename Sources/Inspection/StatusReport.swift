internal import BPF
internal import Dataplane
internal import NeedletailABI
internal import NetTypes
internal import Planning

/// The state of the node's datapath, and of the agent that programs it.
public struct StatusReport: Report {
    /// The agent, or the last one there was.
    public struct Agent: Encodable, Sendable {
        /// Whether one runs now.
        public let running: Bool
        /// Its process; absent before the first agent said so.
        public let pid: UInt32?
        /// Its release.
        public let version: String
        /// The node it works for.
        public let node: String
        /// When it started, UTC.
        public let started: String?
        /// When it last brought the maps to the desired state, UTC.
        public let lastSync: String?
        /// Seconds since then.
        public let lastSyncAge: Int?
        /// How often it has.
        public let syncs: UInt64
        /// How often it could not.
        public let syncFailures: UInt64
    }

    /// A program on a device.
    public struct AttachmentView: Encodable, Sendable {
        /// The device's name; absent when there is none of this index.
        public let device: String?
        /// The device's index.
        public let interface: Int32
        /// The program.
        public let program: String
        /// How it hangs there: `native`, `generic`, `tcx` or `clsact`.
        public let mechanism: String
        /// Whether the device still exists, as seen from the caller's network namespace.
        public let present: Bool
        /// Whether the program hangs on it: others may have detached it.
        public let attached: Bool

        fileprivate var note: String {
            attached ? "" : present ? "not attached" : "not attached: the device is gone"
        }
    }

    /// A program on a hook of the cgroup.
    public struct SocketHookView: Encodable, Sendable {
        /// The program.
        public let program: String
        /// Whether it hangs on the cgroup: others may have detached it.
        public let attached: Bool
    }

    /// How much there is of everything.
    public struct Totals: Encodable, Sendable {
        /// IPv4 frontends, retired ones too.
        public let frontends4: Int
        /// IPv6 frontends, retired ones too.
        public let frontends6: Int
        /// Frontends that start no new flows.
        public let retired: Int
        /// Service ports.
        public let servicePorts: Int
        /// Backend sets.
        public let sets: Int
        /// Slots of all sets together.
        public let slots: Int
        /// Backends by state.
        public let backends: [String: Int]
        /// IPv4 flow table.
        public let flows4: FlowTotals
        /// IPv6 flow table.
        public let flows6: FlowTotals
    }

    /// How full a flow table is.
    public struct FlowTotals: Encodable, Sendable {
        /// Entries, two to a flow.
        public let entries: Int
        /// Entries there is room for.
        public let size: Int
    }

    /// Where maps and links are pinned.
    public let pinDirectory: String
    /// The layout version of the maps.
    public let abiVersion: UInt32
    /// The agent.
    public let agent: Agent
    /// The kernel's release.
    public let kernel: String
    /// Programs on devices, by device.
    public let attachments: [AttachmentView]
    /// Programs that lead sockets to backends when they connect.
    public let socketHooks: [SocketHookView]
    /// How much there is.
    public let totals: Totals
    /// What was counted for all service ports together.
    public let traffic: TrafficView<UInt64>
    /// All counters.
    public let counters: [CounterView]

    /// The agent, the devices, the totals and the counters that are not zero; all counters, by program, when wide.
    public func text(_ detail: Detail) -> String {
        [fields, attachmentTable(detail), CounterView.table(counters, detail)].joined(separator: "\n")
    }

    private var fields: String {
        var list = FieldList()
        list.add("Agent", agentText)
        list.add("Last sync", syncText)
        list.add("Datapath", "pinned under \(pinDirectory), layout version \(abiVersion), Linux \(kernel)")
        list.add("Frontends", "\(totals.frontends4) IPv4, \(totals.frontends6) IPv6, \(totals.retired) of them retired")
        list.add(
            "Services", "\(Quantity.count(totals.servicePorts, "port")), \(Quantity.count(totals.sets, "backend set"))")
        let states = [BackendStateName.active, .terminating, .gone].map(\.rawValue)
        list.add("Backends", states.map { "\(totals.backends[$0] ?? 0) \($0)" }.joined(separator: ", "))
        list.add("Sockets", socketText)
        for (family, flows) in [("IPv4", totals.flows4), ("IPv6", totals.flows6)] {
            let full = Quantity.percent(Quantity.percentage(flows.entries, of: flows.size))
            list.add("Flows \(family)", "\(flows.entries) of \(flows.size) entries (\(full)), two to a flow")
        }
        list.add("Traffic", traffic.text)
        return list.render()
    }

    private var socketText: String {
        let missing = socketHooks.filter { !$0.attached }
        guard !socketHooks.isEmpty else { return "no hooks; the node's own processes do not reach ClusterIPs" }
        let hooks = Quantity.count(socketHooks.count, "hook")
        guard !missing.isEmpty else { return "\(hooks) on the cgroup" }
        return "\(hooks), not attached: \(missing.map(\.program).joined(separator: ", "))"
    }

    private var agentText: String {
        let version = agent.version.isEmpty ? "version unknown" : "version \(agent.version)"
        let node = agent.node.isEmpty ? "" : ", node \(agent.node)"
        let process = agent.pid.map { "pid \($0), " } ?? ""
        if agent.running { return "running (\(process)\(version)\(node))" }
        return agent.pid == nil
            ? "not running; forwarding goes on" : "not running (last: \(process)\(version)\(node)); forwarding goes on"
    }

    private var syncText: String {
        let counts = "\(Quantity.count(Int(clamping: agent.syncs), "sync")), \(agent.syncFailures) failed"
        guard let when = agent.lastSync, let age = agent.lastSyncAge else { return "never (\(counts))" }
        return "\(Quantity.duration(age)) ago, \(when) (\(counts))"
    }

    private func attachmentTable(_ detail: Detail) -> String {
        guard !attachments.isEmpty else { return "No device carries the datapath.\n" }
        var table = TextTable(
            [.left("DEVICE"), .right("INDEX"), .left("PROGRAM"), .left("HOW"), .left("NOTE")], detail)
        for attachment in attachments {
            table.add([
                attachment.present ? attachment.device ?? "?" : "?", "\(attachment.interface)", attachment.program,
                attachment.mechanism, attachment.note,
            ])
        }
        return table.render()
    }
}

extension Inspector {
    /// The state of the datapath and of the agent.
    public func status() throws -> StatusReport {
        let image = try snapshot().image
        let node = try maps.nodeRecord()
        let lastSync = Moment(node.last_sync)
        let usage = Dictionary(uniqueKeysWithValues: try maps.usage().map { ($0.name, $0) })
        func flows(_ map: String) -> StatusReport.FlowTotals {
            // TCP and UDP have tables of their own.
            let tables = ["nt_tcp_\(map)", "nt_udp_\(map)"].compactMap { usage[$0] }
            return StatusReport.FlowTotals(
                entries: tables.reduce(0) { $0 + $1.used }, size: tables.reduce(0) { $0 + $1.size })
        }
        return StatusReport(
            pinDirectory: pins.root, abiVersion: node.abi_version,
            agent: StatusReport.Agent(
                running: AgentLock.isHeld(pins), pid: node.agent_pid == 0 ? nil : node.agent_pid,
                version: FixedText.load(node.agent_version), node: FixedText.load(node.node_name),
                started: Moment(node.agent_started)?.text, lastSync: lastSync?.text, lastSyncAge: lastSync?.age,
                syncs: node.syncs, syncFailures: node.sync_failures),
            kernel: "\(KernelFeatures.version)", attachments: attachments(),
            socketHooks: SocketHooks.all(in: pins).map {
                StatusReport.SocketHookView(program: $0.name, attached: SocketHooks.isInPlace($0, in: pins))
            },
            totals: StatusReport.Totals(
                frontends4: image.frontends.keys.count { $0.address.family == .v4 },
                frontends6: image.frontends.keys.count { $0.address.family == .v6 },
                retired: image.frontends.values.count { $0.flags.contains(.retired) },
                servicePorts: image.services.count, sets: image.sets.count,
                slots: image.sets.values.reduce(0) { $0 + Int($1.slots) },
                backends: image.backends.values.reduce(into: ["active": 0, "terminating": 0, "gone": 0]) {
                    $0[BackendStateName($1).rawValue, default: 0] += 1
                },
                flows4: flows("flows4"), flows6: flows("flows6")),
            traffic: TrafficView(
                total: try ServiceStatistics.read(maps, ids: image.services.keys).values.reduce(ServiceStatistics(), +)),
            counters: CounterView.all(try CounterReading(maps)))
    }

    private func attachments() -> [StatusReport.AttachmentView] {
        Attachments.all(in: pins).map { attachment in
            StatusReport.AttachmentView(
                device: attachment.deviceName, interface: attachment.interface, program: attachment.program.name,
                mechanism: attachment.mechanism.rawValue, present: attachment.hasDevice(in: pins),
                attached: attachment.isInPlace(pins))
        }
    }
}
