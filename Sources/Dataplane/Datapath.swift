public import BPF
internal import CBPFObjects
public import NeedletailABI

/// The loaded programs and their maps.
public struct Datapath: Sendable {
    /// Where maps and links are pinned; `nil` for a datapath that ends with the process.
    public let pins: PinDirectory?
    /// The maps.
    public let maps: DatapathMaps
    /// The programs.
    public let programs: [DatapathProgram: Program]
    /// The programs of the socket hooks, as far as the settings ask for them and the kernel takes them.
    public let socketPrograms: [SocketProgram: Program]
    /// The sockets these have led to backends; `nil` without them.
    public let ledSockets: LedSockets?
    /// Why the socket hooks that the settings ask for could not be loaded; `nil` if they were.
    public let socketFailure: String?
    /// Whether maps of an earlier agent were taken over.
    public let adopted: Bool

    /// The oldest kernel that is supported.
    public static let oldestKernel = KernelVersion(major: 6, minor: 1)

    /// Loads the programs. With `pins`, maps pinned there are taken over with all they hold, and new ones are pinned.
    ///
    /// Attached programs go on with the same maps until ``Attachments`` replaces them.
    /// - Throws: ``DatapathError`` for state that cannot be adopted and kernels that are too old, `BPFError` with the
    ///   kernel's own log otherwise. Nothing that is attached or pinned is changed then.
    public static func load(_ settings: DatapathSettings, pins: PinDirectory?) throws -> Datapath {
        let hooks = settings.socketPrograms
        guard !hooks.isEmpty else { return try load(settings, [], socketFailure: nil, pins: pins) }
        do {
            return try load(settings, hooks, socketFailure: nil, pins: pins)
        } catch let failure as BPFError {
            // Perhaps the kernel has no cgroup hooks: all else works without. If it does not, that is the failure.
            do {
                return try load(settings, [], socketFailure: failure.description, pins: pins)
            } catch {
                throw failure
            }
        }
    }

    private static func load(
        _ settings: DatapathSettings, _ hooks: [SocketProgram], socketFailure: String?, pins: PinDirectory?
    ) throws -> Datapath {
        var object = try open()
        try select(hooks, in: &object)
        try size(&object, settings, tracing: false, pins)
        let reused = try pins.map { try reuse($0, in: &object) } ?? []
        let loaded = try load(object)
        let maps = try DatapathMaps(loaded)
        if !reused.contains("nt_meta") {
            // Before it is pinned, so that no pin is ever of unknown version.
            var meta = nt_meta()
            meta.abi_version = NT_ABI_VERSION
            try maps.store(meta)
            // The flow tables are new too: nobody can reply yet.
            let silent: BPFMap<UInt32, UInt64> = try loaded.map("nt_silent")
            try silent.withMapped(elements: 0..<Int(NT_SILENT_WORDS), writable: true) {
                _ = $0.initializeMemory(as: UInt8.self, repeating: 0xFF)
            }
        }
        // Until the collector knows how many there are.
        if !reused.isSuperset(of: ["nt_marking", "nt_marks"]) { try FlowTable(maps).fitMarks(toFlows: 1 << 14) }
        if let pins {
            try pins.create()
            // The map whose presence means that all are there comes last.
            for name in mapNames.sorted(by: { ($0 == "nt_meta" ? 1 : 0, $0) < ($1 == "nt_meta" ? 1 : 0, $1) })
            where !reused.contains(name) {
                if dispensableMaps.contains(name) { try BPFFileSystem.unpin(pins.map(name)) }
                try loaded.pinMap(name, at: pins.map(name))
            }
        }
        var programs: [DatapathProgram: Program] = [:]
        for program in DatapathProgram.attachable { programs[program] = try loaded.program(program.name) }
        var socketPrograms: [SocketProgram: Program] = [:]
        for hook in hooks { socketPrograms[hook] = try loaded.program(hook.name) }
        return Datapath(
            pins: pins, maps: maps, programs: programs, socketPrograms: socketPrograms,
            ledSockets: hooks.contains(.connect4)
                ? LedSockets(
                    storage: try loaded.socketStorage("nt_connections"),
                    iterator: try loaded.program(socketIterator)) : nil,
            socketFailure: socketFailure, adopted: !reused.isEmpty)
    }

    /// Lists the sockets that the hooks have led to backends.
    static let socketIterator = "list_sockets"

    /// Leaves out the socket programs that are not wanted.
    private static func select(_ hooks: [SocketProgram], in object: inout BPFObject) throws(BPFError) {
        for hook in SocketProgram.allCases {
            try object.setAutoload(hooks.contains(hook), program: hook.name)
        }
        try object.setAutoload(hooks.contains(.connect4), program: socketIterator)
    }

    /// Loads the programs once more, so that they change nothing but their record of what they did, and pins them for
    /// ``TraceProgram``. They share the maps that are pinned.
    ///
    /// - Throws: `BPFError`. The datapath forwards all the same.
    public static func pinTraceTwins(_ settings: DatapathSettings, pins: PinDirectory) throws {
        var object = try open()
        try size(&object, settings, tracing: true, pins)
        for name in mapNames { try object.reuseMap(name, pinnedAt: pins.map(name)) }
        for program in object.programNames where !DatapathProgram.attachable.contains(where: { $0.name == program }) {
            try object.setAutoload(false, program: program)
        }
        let loaded = try object.load()
        try pins.create()
        for program in DatapathProgram.attachable {
            let twin = try loaded.program(program.name)
            try BPFFileSystem.unpin(pins.trace(program))
            try twin.pin(at: pins.trace(program))
        }
    }

    /// Opens the datapath's object without loading it: for its type information.
    public static func open() throws(BPFError) -> BPFObject {
        try BPFObject(
            image: UnsafeRawBufferPointer(start: cbpf_datapath(), count: cbpf_datapath_size()), name: "needletail")
    }

    static let mapNames = [
        "nt_addresses4", "nt_addresses6", "nt_affinity", "nt_answers", "nt_backends", "nt_connections", "nt_counters",
        "nt_datagrams", "nt_devices", "nt_event_ctl", "nt_events", "nt_fragments", "nt_frontends4", "nt_frontends6",
        "nt_marking", "nt_marks", "nt_meta", "nt_node",
        "nt_ranges4", "nt_ranges6", "nt_services", "nt_silent", "nt_sets", "nt_slots", "nt_stats", "nt_tcp_flows4",
        "nt_tcp_flows6", "nt_trace", "nt_udp_flows4", "nt_udp_flows6",
    ]

    /// Those that hold nothing that the programs could not do without: a new one takes the place of one that is missing
    /// or of another size.
    private static let dispensableMaps: Set = ["nt_marking", "nt_marks", "nt_silent"]

    private static func reuse(_ pins: PinDirectory, in object: inout BPFObject) throws -> Set<String> {
        guard pins.exists("nt_meta") else {
            // It is pinned last and removed first: what is there without it was left by one that was stopped midway,
            // and is used by nobody.
            for name in pins.entries(in: "maps") { try BPFFileSystem.unpin(pins.map(name)) }
            return []
        }
        do {
            let meta: BPFMap<UInt32, nt_meta>
            do {
                meta = try .open(pinnedAt: pins.map("nt_meta"))
            } catch {
                guard error.code == .layoutMismatch else { throw error }
                throw DatapathError.foreignState(pins.root, error.description)
            }
            let version = try meta.lookup(0)?.abi_version
            guard version == NT_ABI_VERSION else {
                throw DatapathError.foreignState(
                    pins.root, "layout version \(version ?? 0), this agent's is \(NT_ABI_VERSION)")
            }
        }
        var reused: Set<String> = []
        // All of them: one setting can be the size of several maps.
        var differences: [String] = []
        for name in mapNames {
            guard pins.exists(name) else {
                if dispensableMaps.contains(name) { continue }
                throw DatapathError.foreignState(pins.root, "map \(name) is missing")
            }
            do {
                try object.reuseMap(name, pinnedAt: pins.map(name))
            } catch {
                guard error.code == .incompatibleMap else { throw error }
                if dispensableMaps.contains(name) { continue }
                differences.append("\(name): \(error.detail)")
            }
            reused.insert(name)
        }
        guard differences.isEmpty else {
            throw DatapathError.foreignState(pins.root, differences.joined(separator: "; "))
        }
        return reused
    }

    /// Sets all that is fixed when the programs are loaded.
    private static func size(
        _ object: inout BPFObject, _ settings: DatapathSettings, tracing: Bool, _ pins: PinDirectory?
    ) throws {
        let flows = try flowSizes(settings, pins)
        // Two entries to a flow; both families' tables are hardly ever full.
        let lines = FlowCapacity.markLines(flows: flows.reduce(0) { $0 + UInt64($1.entries) } / 4)
        for (map, entries) in settings.sizes + flows + [("nt_marks", lines)] {
            try object.setMaxEntries(entries, ofMap: map)
        }
        try object.setConstant("nt_config", to: settings.config(tracing: tracing))
    }

    /// The flow tables' sizes in entries, two to a flow. What is pinned is good enough for who does not name a size: an
    /// agent must not refuse to start because the machine's memory has changed.
    private static func flowSizes(
        _ settings: DatapathSettings, _ pins: PinDirectory?
    ) throws -> [(map: String, entries: UInt32)] {
        let memory = FlowCapacity.memory
        let wanted = [
            ("nt_tcp_flows", settings.maxTCPFlows, FlowCapacity.tcp(memory: memory)),
            ("nt_udp_flows", settings.maxUDPFlows, FlowCapacity.udp(memory: memory)),
        ]
        return try wanted.flatMap { table, flows, automatic in
            try ["4", "6"].map { family in
                let map = table + family
                if flows == nil, let pins, pins.exists("nt_meta"), pins.exists(map) {
                    return (map, try MapInfo(pinnedAt: pins.map(map)).maxEntries)
                }
                return (map, (flows ?? automatic) * 2)
            }
        }
    }

    private static func load(_ object: consuming BPFObject) throws -> LoadedObject {
        do {
            return try object.load()
        } catch {
            throw explain(error, version: KernelFeatures.version, hasBTF: KernelFeatures.hasBTF)
        }
    }

    /// What to report for programs that the kernel would not load: what it lacks, where that is the likely reason.
    static func explain(_ error: BPFError, version: KernelVersion, hasBTF: Bool) -> any Error {
        if version < oldestKernel {
            return DatapathError.unsupportedKernel(
                "Needletail needs Linux \(oldestKernel) or newer, this is \(version): \(error)")
        }
        if !hasBTF {
            // The verifier checks global functions (parse_xdp, parse_skb) by types it looks up in the kernel's BTF.
            return DatapathError.unsupportedKernel(
                """
                Needletail needs a kernel that describes its types (built with CONFIG_DEBUG_INFO_BTF), and there is no \
                /sys/kernel/btf/vmlinux to read: \(error)
                """)
        }
        return error
    }
}
