internal import BPF
internal import CLinux
internal import Dataplane
internal import Maglev
internal import NetLab
internal import NetTypes
internal import Netlink
internal import Planning
internal import Resolver

/// Where Needletail's programs hang on a node under test.
struct NeedletailHooks: Sendable, Hashable {
    /// Whether XDP runs on external devices; tc does on all devices anyway.
    var xdp = false
    /// The directory of the cgroup whose sockets are led to backends when they connect, if any are.
    var cgroup: String?

    static let xdp = NeedletailHooks(xdp: true)
    static let tc = NeedletailHooks()

    static func sockets(_ cgroup: String) -> NeedletailHooks { NeedletailHooks(cgroup: cgroup) }

    /// What it is called in reports.
    var subject: String { cgroup != nil ? "needletail-sockets" : xdp ? "needletail-xdp" : "needletail-tc" }
}

/// Needletail on the node of a chain: its programs on the node's devices, by the same loader and the same code that
/// attaches them in the agent, and the chain's Services in its maps, by resolver and planner.
///
/// Pins are in a mount namespace of the node's thread and so seen by nobody else; what is attached goes with this object,
/// or with the process.
final class NeedletailNode: Sendable {
    /// Programs and maps.
    let datapath: Datapath
    private let node: Host

    /// A bpffs of its own is mounted there, in the thread's own mount namespace.
    private static let mountPoint = BPFFileSystem.standardPath
    private static let pins = PinDirectory("\(mountPoint)/needletail-bench")

    /// Installs it. `flows` is how many flows of each family the flow tables have room for.
    init(_ chain: Chain, _ hooks: NeedletailHooks, flows: Int) throws {
        let settings = try Self.settings(chain.services, hooks, flows: flows)
        let node = chain.node
        self.node = node
        datapath = try node.namespace.run {
            let result = nt_unshare_mounts()
            guard result == 0 else { throw LabError("make", "mount namespace", .system(-result)) }
            try BPFFileSystem.mount(at: Self.mountPoint)
            let pins = Self.pins
            try pins.create()
            return try Datapath.load(settings, pins: nil)
        }
        if let failure = datapath.socketFailure { throw BenchmarkError.preparationFailed(failure) }
        try program(chain.services, flows: flows)
        let datapath = datapath
        do {
            try node.namespace.run {
                try Self.attach(datapath, hooks)
                if let cgroup = hooks.cgroup { try SocketHooks(datapath, pins: Self.pins).attach(to: cgroup) }
            }
        } catch {
            remove()
            throw error
        }
    }

    deinit {
        remove()
    }

    /// What the programs have counted so far.
    func counters() throws -> CounterReading { try CounterReading(datapath.maps) }

    private func remove() {
        // All that is left goes with the node's thread, which is about to end.
        _ = try? node.namespace.run { try Attachments.removeAll(Self.pins) }
    }

    private static func settings(
        _ services: BenchServices, _ hooks: NeedletailHooks, flows: Int
    ) throws -> DatapathSettings {
        let families = IPFamily.allCases.count
        var settings = DatapathSettings()
        settings.maxFrontends = UInt32(services.count + 16)
        settings.maxSets = UInt32(families * services.count + 16)
        settings.maxSlots = try Self.slots(services)
        settings.maxBackends = UInt32(families * services.count * services.backends + 16)
        settings.maxServices = UInt32(services.count + 16)
        // Free entries are kept per processor, out of reach of the others.
        settings.maxTCPFlows = UInt32(flows + flows / 8 + 4096)
        settings.maxUDPFlows = 1024
        // Every flow is stored, however many come.
        settings.newFlowLimit = 0
        settings.natPorts = 1024...65_535
        settings.sockets = hooks.cgroup == nil ? .off : .host
        return settings
    }

    /// What the tables of all Services take, with one more of each.
    private static func slots(_ services: BenchServices) throws -> UInt32 {
        let table =
            16
            * SetRecord.lines(
                forSlots: MaglevSize.tableSize(forBackends: services.backends), backends: services.backends)
        return UInt32(table * (IPFamily.allCases.count * services.count + 16))
    }

    private func program(_ services: BenchServices, flows: Int) throws {
        var maps = KernelMaps(datapath.maps)
        let plan = try Planner.plan(from: try maps.read(), to: services.desiredState)
        guard plan.problems.isEmpty else {
            throw BenchmarkError.preparationFailed(plan.problems.map(\.description).joined(separator: "; "))
        }
        try maps.perform(plan.writes)
        // As the agent's collector does once the flows are there; by itself the datapath has marks for a few.
        try FlowTable(datapath.maps).fitMarks(toFlows: flows * IPFamily.allCases.count)
        let bounds = IPFamily.allCases.flatMap { family in
            [0, services.measured].map { services.clusterIP($0, family).address }
        }
        try datapath.maps.store(
            NodeState(
                addresses: Dictionary(
                    uniqueKeysWithValues: IPFamily.allCases.map { ($0, BenchServices.nodeAddress($0)) }),
                clusterIPs: bounds))
    }

    /// On the node's thread: all its devices, in their roles.
    private static func attach(_ datapath: Datapath, _ hooks: NeedletailHooks) throws {
        var options = AttachmentOptions()
        options.xdp = hooks.xdp ? .native : .off
        // The other end of each wire has NAPI, so what XDP sends arrives.
        options.forwarding = .always
        let attachments = Attachments(datapath, pins: pins, options: options)
        var socket = try NetlinkSocket()
        let addresses = try socket.listAddresses()
        var records: [UInt32: DeviceRecord] = [:]
        for device in try socket.listInterfaces() where !device.isLoopback {
            let role: DeviceRole = device.name.hasPrefix("eth") ? .external : .workload
            let own = addresses.filter { $0.interfaceIndex == device.index && !$0.address.isLinkLocal }
                .map { ($0.address.family, $0.address) }
            let attached = try attachments.attach(device, role: role).attached
            records[device.index] = DeviceRecord(
                role: role, takesFromXDP: attachments.takesFromXDP(device, role: role, attached),
                addresses: Dictionary(own) { first, _ in first })
        }
        var table = try DeviceTable(datapath.maps)
        try table.store(records)
    }
}
