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
        var object = try open()
        for (map, entries) in settings.sizes { try object.setMaxEntries(entries, ofMap: map) }
        try object.setConstant("nt_config", to: settings.config)
        let reused = try pins.map { try reuse($0, in: &object) } ?? []
        let loaded = try load(object)
        let maps = try DatapathMaps(loaded)
        if !reused.contains("nt_meta") {
            // Before it is pinned, so that no pin is ever of unknown version.
            var meta = nt_meta()
            meta.abi_version = NT_ABI_VERSION
            try maps.store(meta)
        }
        if let pins {
            try pins.create()
            // The map whose presence means that all are there comes last.
            for name in mapNames.sorted(by: { ($0 == "nt_meta" ? 1 : 0, $0) < ($1 == "nt_meta" ? 1 : 0, $1) })
            where !reused.contains(name) {
                try loaded.pinMap(name, at: pins.map(name))
            }
        }
        var programs: [DatapathProgram: Program] = [:]
        for program in DatapathProgram.allCases { programs[program] = try loaded.program(program.name) }
        return Datapath(pins: pins, maps: maps, programs: programs, adopted: !reused.isEmpty)
    }

    /// Opens the datapath's object without loading it: for its type information.
    public static func open() throws(BPFError) -> BPFObject {
        try BPFObject(
            image: UnsafeRawBufferPointer(start: cbpf_datapath(), count: cbpf_datapath_size()), name: "needletail")
    }

    static let mapNames = [
        "nt_backends", "nt_counters", "nt_flows4", "nt_flows6", "nt_frontends4", "nt_frontends6", "nt_meta",
        "nt_services", "nt_sets", "nt_slots",
    ]

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
        for name in mapNames {
            guard pins.exists(name) else {
                throw DatapathError.foreignState(pins.root, "map \(name) is missing")
            }
            do {
                try object.reuseMap(name, pinnedAt: pins.map(name))
            } catch {
                guard error.code == .incompatibleMap else { throw error }
                throw DatapathError.foreignState(pins.root, "\(name): \(error.detail)")
            }
            reused.insert(name)
        }
        return reused
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

extension DatapathSettings {
    var config: nt_config {
        nt_config(
            remap_port_first: remapPorts.lowerBound, remap_port_last: remapPorts.upperBound,
            udp_idle: UInt32(clamping: (Int128(timeouts.udpEstablished) * 1_000_000_000) >> Int128(NT_TICK_SHIFT)))
    }
}
