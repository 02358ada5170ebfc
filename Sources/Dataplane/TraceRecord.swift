public import NeedletailABI
public import Planning

/// The way out of this node that a program chose for a packet.
public struct PacketPath: Sendable, Hashable {
    /// The device it leaves by.
    public let interface: Int32
    /// The longest packet that fits, in bytes from the IP header on; `nil` when it is not known.
    public let mtu: Int?
    /// Addresses of the link header, 6 bytes each.
    public struct Link: Sendable, Hashable {
        /// Our device's.
        public let source: [UInt8]
        /// The neighbour's.
        public let destination: [UInt8]
    }

    /// The link header's addresses; `nil` when the neighbour is not known.
    public let link: Link?
    /// Whether XDP may send packets out of the device.
    public let takesFromXDP: Bool

    init?(_ wire: nt_path) {
        guard wire.ifindex != 0 else { return nil }
        interface = Int32(bitPattern: wire.ifindex)
        mtu = wire.mtu == 0 ? nil : Int(wire.mtu)
        let flags = UInt32(wire.flags)
        link =
            flags & NT_PATH_NEIGHBOUR == 0
            ? nil
            : Link(
                source: withUnsafeBytes(of: wire.source) { Array($0) },
                destination: withUnsafeBytes(of: wire.destination) { Array($0) })
        takesFromXDP = flags & NT_PATH_XDP != 0
    }
}

/// What a program that was run to explain a packet noted (`nt_trace`).
public struct TraceRecord: Sendable, Hashable {
    /// What is known.
    public struct Notes: OptionSet, Sendable, Hashable {
        /// The bits of `nt_trace.flags`.
        public let rawValue: UInt32
        /// From the bits of `nt_trace.flags`.
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// The frontend was found.
        public static let frontend = Notes(rawValue: NT_TRACE_FRONTEND)
        /// A flow was found and decided.
        public static let flow = Notes(rawValue: NT_TRACE_FLOW)
        /// A flow was found that cannot be used any more.
        public static let unusableFlow = Notes(rawValue: NT_TRACE_FLOW_UNUSABLE)
        /// The client's last backend was taken.
        public static let affinity = Notes(rawValue: NT_TRACE_AFFINITY)
        /// A slot of the Maglev table was taken.
        public static let slot = Notes(rawValue: NT_TRACE_SLOT)
        /// The client is the backend.
        public static let hairpin = Notes(rawValue: NT_TRACE_HAIRPIN)
        /// The source becomes this node's.
        public static let masquerade = Notes(rawValue: NT_TRACE_MASQUERADE)
        /// The backend is on this node.
        public static let local = Notes(rawValue: NT_TRACE_LOCAL)
        /// It is a reply of a flow.
        public static let reply = Notes(rawValue: NT_TRACE_REVERSE)
    }

    /// A place in a Maglev table.
    public struct Slot: Sendable, Hashable {
        /// Which one.
        public let index: Int
        /// How many there are.
        public let count: Int
    }

    /// What is known.
    public let notes: Notes
    /// The service port; `nil` for none.
    public let service: ServiceID?
    /// The scope it was found to be of.
    public let scope: Scope
    /// The set that new flows are spread over; `nil` for none.
    public let set: SetID?
    /// The slot that was taken; `nil` when none was.
    public let slot: Slot?
    /// The backend; `nil` for none.
    public let backend: BackendID?
    /// Kind and state of the frontend.
    public let frontendFlags: FrontendFlags
    /// State of the flow.
    public let flowFlags: FlowEntry.Flags
    /// The way out; `nil` when none was looked up, or there is none.
    public let path: PacketPath?
    /// What the routing table said (`BPF_FIB_LKUP_RET_...`); 0 also when it was not asked.
    public let routing: Int32

    /// From the record.
    public init(_ wire: nt_trace) {
        notes = Notes(rawValue: wire.flags)
        service = wire.service.rawValue == 0 ? nil : wire.service
        scope = wire.scope == Scope.internal.rawValue ? .internal : .external
        set = wire.set.rawValue == 0 ? nil : wire.set
        slot = wire.flags & NT_TRACE_SLOT == 0 ? nil : Slot(index: Int(wire.slot), count: Int(wire.slots))
        backend = wire.backend.rawValue == 0 ? nil : wire.backend
        frontendFlags = FrontendFlags(rawValue: wire.frontend_flags)
        flowFlags = FlowEntry.Flags(rawValue: wire.flow_flags)
        path = wire.flags & NT_TRACE_PATH == 0 ? nil : PacketPath(wire.path)
        routing = wire.fib
    }
}

extension TraceProgram {
    /// Runs it on a frame that comes by (or, at egress, leaves by) a device of the calling thread's network namespace;
    /// 0 for none, which the kernel takes for loopback.
    public func run(_ packet: [UInt8], device: Int32) throws -> Outcome {
        try run(packet, context: device == 0 ? [] : original.context(device: device, packet: packet.count))
    }
}

extension DatapathProgram {
    /// The context of a test run (`struct xdp_md`, `struct __sk_buff`) of a packet on a device.
    public func context(device: Int32, packet size: Int) -> [UInt8] {
        // In words: the kernel refuses values in other fields than these.
        var words: [UInt32]
        if self == .externalXDP {
            words = [UInt32](repeating: 0, count: 6)
            words[1] = UInt32(size)
            words[3] = UInt32(bitPattern: device)
        } else {
            words = [UInt32](repeating: 0, count: 48)
            words[10] = UInt32(bitPattern: device)
        }
        return words.withUnsafeBytes { Array($0) }
    }
}
