internal import Dataplane
internal import Logging
internal import NetTypes
internal import Netlink
internal import Observability

/// The node's devices and addresses, and which devices carry the datapath.
struct Devices {
    private let configuration: AgentConfiguration
    private let attachments: Attachments
    private let logger: Logger
    /// What the programs know of the devices.
    private var table: DeviceTable
    private var interfaces: [UInt32: Interface] = [:]
    private var addresses: Set<InterfaceAddress> = []
    /// Devices with programs, and the name they had then.
    private var attached: [UInt32: (role: DeviceRole, programs: [Attachment])] = [:]
    /// Devices that could not be attached to, and why: to try again at the next change, and to say so once.
    private var failures: [UInt32: String] = [:]

    init(
        _ configuration: AgentConfiguration, _ attachments: Attachments, _ table: DeviceTable, _ logger: Logger
    ) {
        self.configuration = configuration
        self.attachments = attachments
        self.table = table
        self.logger = logger
    }

    /// Reads everything anew, and brings attachments in step.
    mutating func reload() throws {
        var socket = try NetlinkSocket()
        interfaces = Dictionary(uniqueKeysWithValues: try socket.listInterfaces().map { ($0.index, $0) })
        addresses = Set(try socket.listAddresses())
        for index in Attachments.interfaces(in: configuration.pins) where interfaces[UInt32(bitPattern: index)] == nil {
            detach(UInt32(bitPattern: index), reason: "the device is gone")
        }
        // Before a program runs there, and again with what has become of XDP.
        describe()
        for interface in interfaces.values.sorted(by: { $0.index < $1.index }) { update(interface) }
        describe()
    }

    /// Tells the programs of all devices that have a role. What is known already is not written again.
    private mutating func describe() {
        var records: [UInt32: DeviceRecord] = [:]
        for interface in interfaces.values {
            guard let role = role(of: interface) else { continue }
            let programs = attached[interface.index]?.programs ?? attachments.pinned(on: interface.index)
            records[interface.index] = DeviceRecord(
                role: role, takesFromXDP: attachments.takesFromXDP(interface, role: role, programs),
                addresses: primaryAddresses(of: interface.index))
        }
        do {
            try table.store(records)
        } catch {
            logger.error(
                "cannot tell the programs of the devices; it is tried again", metadata: ["reason": "\(error)"])
        }
    }

    /// A device's own address of each family: of the widest prefix, since those of single addresses come and go with
    /// whoever announces them.
    private func primaryAddresses(of index: UInt32) -> [IPFamily: IPAddress] {
        let own = addresses.filter {
            $0.interfaceIndex == index && $0.isUsable && !$0.address.isLinkLocal && !$0.address.isLoopback
                && $0.scope != .host && $0.scope != .link
        }
        return Dictionary(grouping: own, by: \.address.family).compactMapValues { candidates in
            candidates.min { a, b in
                (a.prefixLength, a.isSecondary ? 1 : 0, a.address) < (b.prefixLength, b.isSecondary ? 1 : 0, b.address)
            }?.address
        }
    }

    /// The node's own address of each family: that of an external device, rather one of the `preferred`, else of the
    /// first device.
    func nodeAddresses(preferring preferred: [IPAddress]) -> [IPFamily: IPAddress] {
        let external = interfaces.values.filter { role(of: $0) == .external }.sorted { $0.index < $1.index }
        let candidates = external.flatMap { primaryAddresses(of: $0.index).values }
        return Dictionary(grouping: candidates, by: \.family).compactMapValues { candidates in
            candidates.first { preferred.contains($0) } ?? candidates.first
        }
    }

    /// Takes in a change. Returns whether the node's addresses may be others now.
    mutating func apply(_ change: NetlinkMonitor.Change) -> Bool {
        defer { describe() }
        switch change {
        case .interfaceAppeared(let interface), .interfaceChanged(let interface):
            let renamed = interfaces.updateValue(interface, forKey: interface.index)?.name != interface.name
            if renamed { describe() }
            update(interface)
            return renamed
        case .interfaceVanished(let interface):
            interfaces[interface.index] = nil
            failures[interface.index] = nil
            detach(interface.index, reason: "the device is gone")
            return true
        case .addressAdded(let address):
            addresses = addresses.filter { !($0.isSame(as: address)) }
            return addresses.insert(address).inserted
        case .addressRemoved(let address):
            let before = addresses.count
            addresses = addresses.filter { !($0.isSame(as: address)) }
            return addresses.count != before
        }
    }

    /// Tries again where attaching has failed, and where somebody has taken our programs away.
    mutating func retry() {
        for (index, state) in attached.sorted(by: { $0.key < $1.key }) {
            let missing = state.programs.filter { !$0.isInPlace(configuration.pins) }
            guard !missing.isEmpty, let interface = interfaces[index] else { continue }
            logger.warning(
                "programs are not attached any more; they are put back",
                metadata: [
                    "device": "\(interface.name)",
                    "programs": "\(missing.map(\.program.name).joined(separator: ", "))",
                ])
            attached[index] = nil
            update(interface)
        }
        for index in failures.keys.sorted() {
            if let interface = interfaces[index] { update(interface) }
        }
        describe()
    }

    /// Addresses NodePorts are served on. `node` are those of the Node object, internal ones first.
    func nodePortAddresses(node: [IPAddress]) -> [IPAddress] {
        switch configuration.nodePortAddresses {
        case .primary:
            let own = nodeAddresses(preferring: [])
            return IPFamily.allCases.compactMap { family in node.first { $0.family == family } ?? own[family] }
        case .externalDevices:
            return ownAddresses { interfaces[$0.interfaceIndex].map { role(of: $0) == .external } ?? false }
        case .prefixes(let prefixes):
            return ownAddresses { own in
                let ofFamily = prefixes.filter { $0.family == own.address.family }
                return ofFamily.isEmpty || ofFamily.contains { $0.contains(own.address) }
            }
        }
    }

    private func ownAddresses(where isWanted: (InterfaceAddress) -> Bool) -> [IPAddress] {
        let served = addresses.filter {
            $0.isUsable && !$0.address.isLoopback && !$0.address.isLinkLocal && isWanted($0)
        }
        return Set(served.map(\.address)).sorted()
    }

    /// Devices that the configuration names and the node does not have.
    var missing: [String] {
        let names = Set(interfaces.values.map(\.name))
        let wanted = configuration.externalDevices.literalNames + configuration.workloadDevices.literalNames
        return wanted.filter { !names.contains($0) }
    }

    /// What the programs have been told of the devices, by index.
    var records: [UInt32: DeviceRecord] { table.records }

    /// Number of devices with programs, by role.
    func count(_ role: DeviceRole) -> Int { attached.values.count { $0.role == role } }

    /// How many devices carry the datapath, by role and hook.
    var figures: [MetricsSnapshot.Devices] {
        var counts: [[String]: Int] = [:]
        for (role, programs) in attached.values {
            for hook in Set(programs.map(\.mechanism.rawValue)) {
                counts[[role == .external ? "external" : "workload", hook], default: 0] += 1
            }
        }
        return counts.map { MetricsSnapshot.Devices(role: $0.key[0], hook: $0.key[1], count: $0.value) }
    }

    private func role(of interface: Interface) -> DeviceRole? {
        guard !interface.isLoopback else { return nil }
        if configuration.externalDevices.matches(interface.name) { return .external }
        if configuration.workloadDevices.matches(interface.name) { return .workload }
        return nil
    }

    private mutating func update(_ interface: Interface) {
        guard let role = role(of: interface) else {
            detach(interface.index, reason: "the configuration does not name it any more")
            return
        }
        guard attached[interface.index]?.role != role else { return }
        do {
            let outcome = try attachments.attach(interface, role: role)
            attached[interface.index] = (role, outcome.attached)
            failures[interface.index] = nil
            for fallback in outcome.fallbacks {
                logger.notice("fallback", metadata: ["device": "\(interface.name)", "reason": "\(fallback)"])
            }
            let programs = outcome.attached.map { "\($0.program.name) (\($0.mechanism.rawValue))" }
            logger.info(
                "attached",
                metadata: [
                    "device": "\(interface.name)", "role": "\(role.rawValue)",
                    "programs": "\(programs.joined(separator: ", "))",
                ])
        } catch {
            let reason = "\(error)"
            if failures.updateValue(reason, forKey: interface.index) != reason {
                logger.error(
                    "cannot attach; it is tried again",
                    metadata: ["device": "\(interface.name)", "reason": "\(reason)"])
            }
        }
    }

    private mutating func detach(_ index: UInt32, reason: String) {
        let pinned = Attachments.interfaces(in: configuration.pins).contains(Int32(bitPattern: index))
        guard attached.removeValue(forKey: index) != nil || pinned else { return }
        do {
            try attachments.detach(interface: Int32(bitPattern: index))
            logger.info(
                "detached",
                metadata: ["device": "\(interfaces[index]?.name ?? "#\(index)")", "reason": "\(reason)"])
        } catch {
            logger.error("cannot detach", metadata: ["device": "#\(index)", "reason": "\(error)"])
        }
    }
}

extension InterfaceAddress {
    /// Whether both are the same address of the same device, whatever has changed about it.
    fileprivate func isSame(as other: InterfaceAddress) -> Bool {
        interfaceIndex == other.interfaceIndex && address == other.address && prefixLength == other.prefixLength
    }
}
