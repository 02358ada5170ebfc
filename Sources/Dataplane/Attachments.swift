internal import BPF
public import NeedletailABI
public import Netlink

/// What a device is to the datapath.
public enum DeviceRole: String, Sendable, Hashable, CaseIterable {
    /// Leads out of the node.
    case external
    /// The host's end of a workload's veth.
    case workload

    /// The tc programs of the role.
    var programs: [(DatapathProgram, TrafficDirection)] {
        switch self {
        case .external: [(.externalIngress, .ingress), (.externalEgress, .egress)]
        case .workload: [(.workloadIngress, .ingress), (.workloadEgress, .egress)]
        }
    }
}

/// How a program hangs on a device.
public enum Mechanism: String, Sendable, Hashable, CaseIterable {
    /// XDP in the driver.
    case native
    /// XDP in the stack.
    case generic
    /// tc by a TCX link (Linux 6.6).
    case tcx
    /// tc by a filter of the clsact qdisc.
    case clsact
}

/// A program on a device.
public struct Attachment: Sendable, Hashable {
    /// The program.
    public var program: DatapathProgram
    /// The device's index.
    public var interface: Int32
    /// How it hangs there.
    public var mechanism: Mechanism

    /// What its pin is called.
    var pinName: String { "\(program.name)-\(mechanism.rawValue)-\(interface)" }

    init(_ program: DatapathProgram, _ interface: Int32, _ mechanism: Mechanism) {
        self.program = program
        self.interface = interface
        self.mechanism = mechanism
    }

    init?(pinName: String) {
        let parts = pinName.split(separator: "-")
        guard parts.count == 3, let program = DatapathProgram.attachable.first(where: { $0.name == parts[0] }),
            let mechanism = Mechanism(rawValue: String(parts[1])), let interface = Int32(parts[2])
        else { return nil }
        self.init(program, interface, mechanism)
    }
}

/// Which ways of attaching may be used.
public struct AttachmentOptions: Sendable, Hashable {
    /// Whether and where XDP runs on external devices.
    public enum XDP: String, Sendable, Hashable, CaseIterable {
        /// In the driver, or in the stack where the driver cannot.
        case auto
        /// In the driver only.
        case native
        /// In the stack only.
        case generic
        /// Not at all; tc does the same.
        case off
    }

    /// How tc programs are attached.
    public enum TC: String, Sendable, Hashable, CaseIterable {
        /// By TCX, or clsact on kernels before 6.6.
        case auto
        /// By TCX only.
        case tcx
        /// By clsact only.
        case clsact
    }

    /// Whether XDP may send packets out of an external device, instead of leaving them to tc.
    public enum Forwarding: String, Sendable, Hashable, CaseIterable {
        /// Where our own program is in the driver, and the device is no veth: those lose what XDP sends to them unless
        /// their peer runs XDP too.
        case auto
        /// Out of all of them.
        case always
        /// Out of none.
        case never
    }

    /// XDP on external devices.
    public var xdp: XDP = .auto
    /// XDP's way out of external devices.
    public var forwarding: Forwarding = .auto
    /// tc on all devices.
    public var tc: TC = .auto

    /// Automatic choices.
    public init() {}
}

/// Attaches the datapath's programs to devices, and keeps the attachments pinned so that they outlive the agent.
public struct Attachments: Sendable {
    private let programs: [DatapathProgram: Program]
    private let pins: PinDirectory
    private let options: AttachmentOptions

    /// Works with the programs of a pinned datapath.
    public init(_ datapath: Datapath, pins: PinDirectory, options: AttachmentOptions) {
        programs = datapath.programs
        self.pins = pins
        self.options = options
    }

    /// The clsact filter's coordinates: out of the way of what others choose.
    static let filterHandle: UInt32 = 0x4e54
    static let filterPriority: UInt32 = 0x4e54

    /// What came of attaching to a device.
    public struct Outcome: Sendable {
        /// The programs that are there now.
        public var attached: [Attachment] = []
        /// Ways that did not work and what was done instead.
        public var fallbacks: [String] = []
    }

    /// Brings the device's attachments to what its role asks for. What hangs there already is replaced in place: no
    /// packet goes without a program.
    ///
    /// - Throws: ``DatapathError/unusableDevice(_:_:)`` or `BPFError`; other devices are not concerned.
    public func attach(_ device: Interface, role: DeviceRole) throws -> Outcome {
        guard device.hardwareType == .ethernet else {
            throw DatapathError.unusableDevice(
                device.name, "only Ethernet devices can be balanced (hardware type \(device.hardwareType.rawValue))")
        }
        let index = Int32(bitPattern: device.index)
        var outcome = Outcome()
        for (program, direction) in role.programs {
            outcome.attached.append(try attachTC(program, direction, index, &outcome.fallbacks))
        }
        if role == .external, let xdp = try attachXDP(index, &outcome.fallbacks) { outcome.attached.append(xdp) }
        for stale in pinned(on: index) where !outcome.attached.contains(stale) { try detach(stale) }
        return outcome
    }

    /// Detaches everything from a device, which may be gone.
    public func detach(interface: Int32) throws {
        for attachment in pinned(on: interface) { try detach(attachment) }
    }

    /// The indices of all devices that have attachments.
    public static func interfaces(in pins: PinDirectory) -> Set<Int32> {
        Set(pins.entries(in: "links").compactMap { $0.split(separator: "-").last.flatMap { Int32($0) } })
    }

    /// What is attached by an agent of this pin directory, device by device.
    public static func all(in pins: PinDirectory) -> [Attachment] {
        pins.entries(in: "links").compactMap(Attachment.init(pinName:))
            .sorted { ($0.interface, $0.program.rawValue) < ($1.interface, $1.program.rawValue) }
    }

    /// Whether XDP may send packets out of a device, which has these programs.
    public func takesFromXDP(_ device: Interface, role: DeviceRole, _ attached: [Attachment]) -> Bool {
        guard role == .external else { return false }
        return switch options.forwarding {
        case .always: true
        case .never: false
        case .auto:
            device.kind != "veth"
                && attached.contains { $0.program == .externalXDP && $0.mechanism == .native }
        }
    }

    /// What an earlier agent, or this one, has attached to a device.
    public func pinned(on interface: UInt32) -> [Attachment] { pinned(on: Int32(bitPattern: interface)) }

    private func pinned(on interface: Int32) -> [Attachment] {
        Self.all(in: pins).filter { $0.interface == interface }
    }

    private func program(_ program: DatapathProgram) throws -> Program {
        guard let loaded = programs[program] else { throw DatapathError.notRunning(pins.root) }
        return loaded
    }

    // MARK: XDP

    private func attachXDP(_ interface: Int32, _ fallbacks: inout [String]) throws -> Attachment? {
        switch options.xdp {
        case .off: return nil
        case .native: return try link(Attachment(.externalXDP, interface, .native))
        case .generic: return try link(Attachment(.externalXDP, interface, .generic))
        case .auto:
            let generic = Attachment(.externalXDP, interface, .generic)
            // Found out by an earlier agent; trying again would take XDP off for a moment.
            if pinned(on: interface).contains(generic) { return try link(generic) }
            do {
                return try link(Attachment(.externalXDP, interface, .native))
            } catch let error as BPFError {
                fallbacks.append("no native XDP, trying generic: \(error)")
            }
            do {
                return try link(generic)
            } catch let error as BPFError {
                fallbacks.append("no XDP, tc alone: \(error)")
                return nil
            }
        }
    }

    // MARK: tc

    private func attachTC(
        _ program: DatapathProgram, _ direction: TrafficDirection, _ interface: Int32, _ fallbacks: inout [String]
    ) throws -> Attachment {
        if options.tc != .clsact {
            do {
                return try link(Attachment(program, interface, .tcx), direction)
            } catch let error as BPFError where options.tc == .auto && error.code == .unsupported {
                fallbacks.append("no TCX, using clsact: \(error)")
            }
        }
        return try filter(Attachment(program, interface, .clsact), direction)
    }

    private func filter(_ attachment: Attachment, _ direction: TrafficDirection) throws -> Attachment {
        let program = try program(attachment.program)
        // A filter needs no pin to stay. The pin says what is ours when it comes to removing it, and is there first.
        // The qdisc is left behind: by then others may have filters on it, and without any it does nothing.
        try BPFFileSystem.unpin(pins.link(attachment))
        try program.pin(at: pins.link(attachment))
        try program.attachClsact(
            interface: attachment.interface, direction: direction, handle: Self.filterHandle,
            priority: Self.filterPriority)
        return attachment
    }

    // MARK: links

    /// Replaces the program of the pinned link, or makes the link.
    private func link(_ attachment: Attachment, _ direction: TrafficDirection? = nil) throws -> Attachment {
        let program = try program(attachment.program)
        if try adopt(attachment, program) { return attachment }
        let link: Link
        switch attachment.mechanism {
        case .native, .generic:
            // A device has room for one XDP link: one of the other mode must go first. tc covers the moment between.
            for other in pinned(on: attachment.interface)
            where other.program == .externalXDP && other.mechanism != attachment.mechanism {
                try detach(other)
            }
            link = try program.attachXDP(
                interface: attachment.interface, mode: attachment.mechanism == .native ? .native : .generic)
        case .tcx, .clsact:
            link = try program.attachTCX(interface: attachment.interface, direction: direction ?? .ingress)
        }
        try link.pin(at: pins.link(attachment))
        return attachment
    }

    private func adopt(_ attachment: Attachment, _ program: Program) throws -> Bool {
        let link: Link
        do {
            link = try Link.open(pinnedAt: pins.link(attachment))
        } catch {
            guard error.code == .notFound else { throw error }
            return false
        }
        // An index can be another device's by now; the link of the one that went is dead.
        guard link.interface == attachment.interface else {
            try BPFFileSystem.unpin(pins.link(attachment))
            return false
        }
        try link.replace(with: program)
        return true
    }

    private func detach(_ attachment: Attachment) throws {
        if attachment.mechanism == .clsact {
            for direction in TrafficDirection.allCases
            where attachment.program.direction == direction {
                try Program.detachClsact(
                    interface: attachment.interface, direction: direction, handle: Self.filterHandle,
                    priority: Self.filterPriority)
            }
        } else if let link = try? Link.open(pinnedAt: pins.link(attachment)) {
            // The link of a device that is gone cannot be detached any more, and need not be.
            try? link.detach()
        }
        try BPFFileSystem.unpin(pins.link(attachment))
    }

    /// Removes all attachments, maps and directories that agents of this pin directory made.
    ///
    /// - Returns: how many attachments there were.
    public static func removeAll(_ pins: PinDirectory) throws -> Int {
        let cleaner = Attachments(programs: [:], pins: pins)
        let count = all(in: pins).count + SocketHooks.all(in: pins).count
        var failure: (any Error)?
        for interface in interfaces(in: pins).sorted() {
            do {
                try cleaner.detach(interface: interface)
            } catch {
                // The others must not stay because of this one.
                failure = failure ?? error
            }
        }
        do {
            try SocketHooks.detachAll(pins)
        } catch {
            failure = failure ?? error
        }
        if let failure { throw failure }
        try pins.remove()
        return count
    }

    private init(programs: [DatapathProgram: Program], pins: PinDirectory) {
        self.programs = programs
        self.pins = pins
        options = AttachmentOptions()
    }
}

extension DatapathProgram {
    /// The side of a device a tc program belongs to; `nil` for others.
    var direction: TrafficDirection? {
        switch self {
        case .externalXDP, .socket: nil
        case .externalIngress, .workloadIngress: .ingress
        case .externalEgress, .workloadEgress: .egress
        }
    }
}
