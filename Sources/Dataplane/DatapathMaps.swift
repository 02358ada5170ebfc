public import BPF
public import NeedletailABI
internal import NetTypes
public import Planning

/// The datapath's maps, with their types.
///
/// The agent gets them from the object it loads, every other program from their pins.
public struct DatapathMaps: Sendable {
    let frontends4: BPFMap<nt_frontend_key4, nt_frontend>
    let frontends6: BPFMap<nt_frontend_key6, nt_frontend>
    let sets: BPFMap<UInt32, nt_set>
    let slots: BPFMap<UInt32, nt_slot_line>
    let backends: BPFMap<UInt32, nt_backend>
    let services: BPFMap<ServiceID, nt_service_info>
    let flows4: FlowMaps<nt_flow_key4, nt_flow4>
    let flows6: FlowMaps<nt_flow_key6, nt_flow6>
    let marks: BPFMap<UInt32, nt_mark_line>
    let marking: BPFMap<UInt32, nt_marking>
    let affinity: BPFMap<nt_affinity_key, nt_affinity>
    let fragments: BPFMap<nt_fragment_key, nt_fragment>
    let ranges4: BPFMap<nt_range_key4, UInt32>
    let ranges6: BPFMap<nt_range_key6, UInt32>
    let addresses4: BPFMap<nt_address_key4, nt_address>
    let addresses6: BPFMap<nt_address_key6, nt_address>
    let devices: BPFMap<UInt32, nt_device>
    let node: BPFMap<UInt32, nt_node>
    /// The value is the programs' own, of two words.
    let answers: BPFMap<nt_addr, UInt64>
    let counters: PerCPUMap<UInt32, nt_counters>
    let statistics: PerCPUMap<ServiceID, nt_service_stats>
    let eventControl: BPFMap<UInt32, nt_event_control>
    let trace: BPFMap<UInt32, nt_trace>
    let meta: BPFMap<UInt32, nt_meta>
    /// Sizes as the kernel has them.
    public let capacity: MapCapacity

    init(_ object: borrowing LoadedObject) throws(BPFError) {
        frontends4 = try object.map("nt_frontends4")
        frontends6 = try object.map("nt_frontends6")
        sets = try object.map("nt_sets")
        slots = try object.map("nt_slots")
        backends = try object.map("nt_backends")
        services = try object.map("nt_services")
        flows4 = FlowMaps(tcp: try object.map("nt_tcp_flows4"), udp: try object.map("nt_udp_flows4"))
        flows6 = FlowMaps(tcp: try object.map("nt_tcp_flows6"), udp: try object.map("nt_udp_flows6"))
        marks = try object.map("nt_marks")
        marking = try object.map("nt_marking")
        affinity = try object.map("nt_affinity")
        fragments = try object.map("nt_fragments")
        ranges4 = try object.map("nt_ranges4")
        ranges6 = try object.map("nt_ranges6")
        addresses4 = try object.map("nt_addresses4")
        addresses6 = try object.map("nt_addresses6")
        devices = try object.map("nt_devices")
        node = try object.map("nt_node")
        answers = try object.map("nt_answers")
        counters = try object.perCPUMap("nt_counters")
        statistics = try object.perCPUMap("nt_stats")
        eventControl = try object.map("nt_event_ctl")
        trace = try object.map("nt_trace")
        meta = try object.map("nt_meta")
        capacity = MapCapacity(
            frontends4.info, sets.info, slots.info, backends.info, services.info, ranges4.info)
    }

    /// Opens the pinned maps.
    ///
    /// - Throws: ``DatapathError/notRunning(_:)`` when there are none, ``DatapathError/incomplete(_:_:)`` when some are
    ///   missing, ``DatapathError/unreadable(_:_:)`` when this process may not look,
    ///   ``DatapathError/foreignState(_:_:)`` when an agent of another version made them.
    public init(pinnedIn pins: PinDirectory) throws {
        guard try pins.isPresent(), pins.exists("nt_meta") else { throw DatapathError.notRunning(pins.root) }
        do {
            meta = try .open(pinnedAt: pins.map("nt_meta"))
            if let version = try meta.lookup(0)?.abi_version, version != NT_ABI_VERSION {
                throw DatapathError.foreignState(
                    pins.root, "layout version \(version), this program's is \(NT_ABI_VERSION)")
            }
            frontends4 = try .open(pinnedAt: pins.map("nt_frontends4"))
            frontends6 = try .open(pinnedAt: pins.map("nt_frontends6"))
            sets = try .open(pinnedAt: pins.map("nt_sets"))
            slots = try .open(pinnedAt: pins.map("nt_slots"))
            backends = try .open(pinnedAt: pins.map("nt_backends"))
            services = try .open(pinnedAt: pins.map("nt_services"))
            flows4 = try FlowMaps(
                tcp: .open(pinnedAt: pins.map("nt_tcp_flows4")), udp: .open(pinnedAt: pins.map("nt_udp_flows4")))
            flows6 = try FlowMaps(
                tcp: .open(pinnedAt: pins.map("nt_tcp_flows6")), udp: .open(pinnedAt: pins.map("nt_udp_flows6")))
            marks = try .open(pinnedAt: pins.map("nt_marks"))
            marking = try .open(pinnedAt: pins.map("nt_marking"))
            affinity = try .open(pinnedAt: pins.map("nt_affinity"))
            fragments = try .open(pinnedAt: pins.map("nt_fragments"))
            ranges4 = try .open(pinnedAt: pins.map("nt_ranges4"))
            ranges6 = try .open(pinnedAt: pins.map("nt_ranges6"))
            addresses4 = try .open(pinnedAt: pins.map("nt_addresses4"))
            addresses6 = try .open(pinnedAt: pins.map("nt_addresses6"))
            devices = try .open(pinnedAt: pins.map("nt_devices"))
            node = try .open(pinnedAt: pins.map("nt_node"))
            answers = try .open(pinnedAt: pins.map("nt_answers"))
            counters = try .open(pinnedAt: pins.map("nt_counters"))
            statistics = try .open(pinnedAt: pins.map("nt_stats"))
            eventControl = try .open(pinnedAt: pins.map("nt_event_ctl"))
            trace = try .open(pinnedAt: pins.map("nt_trace"))
            capacity = MapCapacity(
                frontends4.info, sets.info, slots.info, backends.info, services.info, ranges4.info)
        } catch let error as BPFError where error.code == .layoutMismatch {
            throw DatapathError.foreignState(pins.root, error.description)
        } catch let error as BPFError where error.code == .notFound {
            let missing = Datapath.mapNames.filter { !pins.exists($0) }
            throw missing.isEmpty ? error : DatapathError.incomplete(pins.root, missing)
        }
    }

    /// What the agent wrote about itself.
    public func nodeRecord() throws(BPFError) -> nt_meta {
        try meta.lookup(0) ?? nt_meta()
    }

    /// Replaces what the agent wrote about itself.
    public func store(_ record: nt_meta) throws(BPFError) {
        try meta.update(0, record)
    }
}

/// The flow tables of a family.
struct FlowMaps<Key: BitwiseCopyable, Value: BitwiseCopyable>: Sendable {
    let tcp: BPFMap<Key, Value>
    let udp: BPFMap<Key, Value>

    var all: [BPFMap<Key, Value>] { [tcp, udp] }

    /// The one that flows of the protocol are in.
    subscript(transport: TransportProtocol) -> BPFMap<Key, Value> { transport == .udp ? udp : tcp }
}

extension MapCapacity {
    fileprivate init(
        _ frontends: MapInfo, _ sets: MapInfo, _ lines: MapInfo, _ backends: MapInfo, _ services: MapInfo,
        _ ranges: MapInfo
    ) {
        self.init(
            frontends: Int(frontends.maxEntries), sets: Int(sets.maxEntries), lines: Int(lines.maxEntries),
            backends: Int(backends.maxEntries), services: Int(services.maxEntries),
            ranges: Int(ranges.maxEntries))
    }
}

/// What keeps the datapath from being loaded, adopted or read.
public enum DatapathError: Error, Sendable, CustomStringConvertible {
    /// Nothing is pinned under this directory.
    case notRunning(String)
    /// This directory cannot be read; the system's reason.
    case unreadable(String, String)
    /// What is pinned there was made by another version, or other settings; the difference.
    case foreignState(String, String)
    /// Maps that every agent pins are missing from this directory; their names.
    case incomplete(String, [String])
    /// Another agent holds the lock on this directory.
    case locked(String)
    /// Another agent runs in this network namespace, with whatever directory.
    case nodeLocked
    /// The kernel cannot run the datapath; what is missing.
    case unsupportedKernel(String)
    /// There is no such device, or it is of a kind that cannot be balanced; why.
    case unusableDevice(String, String)
    /// A map holds what no agent writes; which, and what.
    case corruptMap(String, String)
    /// The programs that explain packets are not pinned under this directory.
    case noTrace(String)
    /// Another process reads the events of this directory's programs.
    case watched(String)

    /// What is wrong and what to do.
    public var description: String {
        switch self {
        case .notRunning(let path):
            "no datapath is pinned under \(path): start needletail-agent, or name its directory with --pin-directory"
        case .unreadable(let path, let reason):
            "cannot read \(path): \(reason). It is for root alone: run this as root"
        case .foreignState(let path, let difference):
            """
            the datapath pinned under \(path) cannot be adopted: \(difference). Use the version and settings it was \
            made with, or run `needletail-agent cleanup` first, which ends connections through it
            """
        case .incomplete(let path, let missing):
            """
            the datapath pinned under \(path) is incomplete, \(missing.joined(separator: ", ")) is missing: stop the \
            agent, run `needletail-agent cleanup`, which ends connections through the node, and start it again
            """
        case .locked(let path):
            "another needletail-agent is running with \(path): stop it first"
        case .nodeLocked:
            "another needletail-agent is running on this node (in this network namespace): stop it first"
        case .noTrace(let path):
            "no programs to trace with are pinned under \(path): the agent is starting, or its log says why it has none"
        case .watched(let path):
            "another process reads the events of the datapath pinned under \(path); one can at a time"
        case .unsupportedKernel(let what): what
        case .unusableDevice(let name, let why): "device \(name): \(why)"
        case .corruptMap(let map, let what):
            "map \(map) holds what no agent writes: \(what). `needletail-agent cleanup` removes it"
        }
    }
}
