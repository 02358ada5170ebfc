internal import BPF
internal import BenchABI
internal import CBPFObjects
internal import Dataplane
internal import NeedletailABI
internal import NetTypes

/// Where a program under test is called from.
enum Hook: String, Hashable, CaseIterable {
    /// XDP of programs that take packets in several buffers, as the datapath's do.
    case xdp
    /// XDP of programs that do not: the kernel tail-calls only between programs that agree on it.
    case linearXDP = "xdp_linear"
    /// tc.
    case tc

    /// What a program returns that lets the packet pass (`XDP_PASS`, `TC_ACT_UNSPEC`).
    var pass: Int32 { self == .tc ? -1 : 2 }

    /// What one returns that sends it out of a device: `XDP_TX`, and `TC_ACT_REDIRECT`.
    var send: Int32 { self == .tc ? 7 : 3 }
}

/// What a datapath cannot do without, and what it could do otherwise, for comparison. All run in XDP, parse, translate
/// the destination and send the packet back, but the first.
enum Floor: String, Hashable, CaseIterable {
    /// Swaps the MAC addresses and sends the packet back.
    case macSwap = "mac-swap"
    /// A backend by the tuple's slot in a Maglev table; no flow table.
    case stateless
    /// One lookup in an LRU hash of the datapath's layout and size.
    case lruHit = "lru-hit"
    /// One insertion into it, when it is full.
    case lruInsert = "lru-insert"
    /// One lookup in a table of cache lines of as many entries: three to a line, which a writer replaces within the line
    /// under a sequence number.
    case denseHit = "dense-hit"
    /// One insertion into it, when it is full.
    case denseInsert = "dense-insert"

    /// The dense table is made for IPv4 keys.
    func has(_ family: IPFamily) -> Bool { family == .v4 || (self != .denseHit && self != .denseInsert) }

    var programName: String { "floor_\(rawValue.map { $0 == "-" ? "_" : String($0) }.joined())" }
}

/// What a number of runs gave.
struct Runs: Sendable {
    /// Mean time of one with the harness, in whole nanoseconds rounded down, as the kernel gives them, or a mean of such.
    let nanoseconds: Double
    /// What the last one returned.
    let verdict: Int32
    /// The packet after it.
    let output: [UInt8]
}

/// The programs that call others from one hook.
private struct HookPrograms {
    let targets: BPFMap<UInt32, UInt32>
    let empty: Program
    let wrappers: [Shape: [IPFamily: Program]]
    /// The program that is the target now.
    var current: UInt32?

    init(_ hook: Hook, _ object: borrowing LoadedObject) throws(BPFError) {
        targets = try object.map("bench_\(hook.rawValue)")
        empty = try object.program("empty_\(hook.rawValue)")
        var wrappers: [Shape: [IPFamily: Program]] = [:]
        for shape in Shape.allCases {
            for family in IPFamily.allCases {
                wrappers[shape, default: [:]][family] = try object.program(
                    "wrap_\(hook.rawValue)_\(shape.rawValue)\(family.rawValue)")
            }
        }
        self.wrappers = wrappers
    }
}

/// The loaded programs of the harness: wrappers, empty programs and floors, with tables for the floors.
final class BenchPrograms {
    private let state: BPFMap<UInt32, nt_bench_case>
    private let lists: [IPFamily: BPFMap<UInt32, UInt32>]
    private var hooks: [Hook: HookPrograms] = [:]
    private let floors: [Floor: Program]
    /// Entries of the dense table.
    let denseEntries: Int
    /// Where programs are run, so that the datapath's questions to the routing table are about its routes.
    private let node: PacketNode?

    /// `tableEntries` are those of each family's floor table, `listEntries` those of each family's list of flows; without
    /// a node, programs are run in the caller's namespace, on packets of its loopback.
    init(
        tableEntries: UInt32, listEntries: UInt32 = 1, backends: Int = 10, node: PacketNode? = nil
    ) throws(BPFError) {
        var object = try BPFObject(
            image: UnsafeRawBufferPointer(start: cbpf_bench(), count: cbpf_bench_size()), name: "bench")
        var lines: UInt32 = 1
        while lines * NT_BENCH_DENSE_WAYS < tableEntries { lines *= 2 }
        for (map, entries) in [
            ("floor_flows4", tableEntries), ("floor_flows6", tableEntries), ("floor_dense", lines),
            ("bench_list4", listEntries), ("bench_list6", listEntries),
        ] {
            try object.setMaxEntries(entries, ofMap: map)
        }
        try object.setConstant("dense_mask", to: lines - 1)
        let loaded = try object.load()
        state = try loaded.map("bench_case")
        lists = [.v4: try loaded.map("bench_list4"), .v6: try loaded.map("bench_list6")]
        for hook in Hook.allCases { hooks[hook] = try HookPrograms(hook, loaded) }
        var floors: [Floor: Program] = [:]
        for floor in Floor.allCases { floors[floor] = try loaded.program(floor.programName) }
        self.floors = floors
        self.node = node
        denseEntries = Int(lines * NT_BENCH_DENSE_WAYS)
        try Self.fillTable(try loaded.map("floor_slots"), try loaded.map("floor_backends"), backends)
    }

    /// Backends of which every slot has one; which one is no matter.
    private static func fillTable(
        _ slots: BPFMap<UInt32, nt_slot_line>, _ table: BPFMap<UInt32, nt_backend>, _ backends: Int
    ) throws(BPFError) {
        for id in 1...UInt32(backends) {
            var backend = nt_backend()
            withUnsafeMutableBytes(of: &backend.addr) { $0.copyBytes(from: [192, 0, 2, UInt8(id & 0xFF)]) }
            backend.port = NetworkPort(hostOrder: 8080)
            try table.update(id, backend)
        }
        let perLine = NT_SLOTS_PER_LINE
        for line in 0..<(NT_BENCH_SLOTS + perLine - 1) / perLine {
            var wire = nt_slot_line()
            withUnsafeMutableBytes(of: &wire) { bytes in
                let ids = bytes.bindMemory(to: UInt32.self)
                for slot in ids.indices { ids[slot] = (line * perLine + UInt32(slot)) % UInt32(backends) + 1 }
            }
            try slots.update(line, wire)
        }
    }

    func empty(_ hook: Hook) throws(BenchmarkError) -> Program {
        guard let programs = hooks[hook] else { throw .preparationFailed("no programs for \(hook.rawValue)") }
        return programs.empty
    }

    func program(_ floor: Floor) throws(BenchmarkError) -> Program {
        guard let program = floors[floor] else { throw .preparationFailed("no program for \(floor.rawValue)") }
        return program
    }

    /// Sets which flows a walk of listed frames goes through: the low 16 bits of an address, and a port.
    func setList(_ family: IPFamily, _ flows: [(address: UInt16, port: UInt16)]) throws {
        for (index, flow) in flows.enumerated() {
            try lists[family]?.update(UInt32(index), UInt32(flow.address) << 16 | UInt32(flow.port))
        }
    }

    /// Runs `program` on `runs` packets; without a walk, on those that come next in the one before.
    ///
    /// - Parameter chunk: so many at a time, each time with a new packet in a larger buffer; for programs that use the
    ///   buffer up.
    func run(
        _ program: Program, on hook: Hook, _ frame: Frame, _ walk: Walk?, runs: Int, chunk: Int? = nil
    ) throws -> Runs {
        if let walk { try state.update(0, frame.benchCase(walk)) }
        try accept(program, on: hook)
        let wrapper = try wrapper(hook, frame)
        let padding = chunk == nil ? 0 : Self.roomy - frame.bytes.count
        let packet = frame.bytes + [UInt8](repeating: 0, count: padding)
        let place: DatapathProgram = hook == .tc ? .externalIngress : .externalXDP
        let context = node.map { place.context(device: Int32($0.device), packet: packet.count) } ?? []
        let body: @Sendable () throws -> Runs = {
            var done = 0
            var total = 0.0
            var last: TestRun?
            while done < runs {
                let count = min(chunk ?? runs, runs - done)
                let run = try wrapper.testRun(packet: packet, repeat: count, context: context)
                total += Double(run.durationPerRun) * Double(count)
                done += count
                last = run
            }
            return Runs(
                nanoseconds: total / Double(max(done, 1)), verdict: last?.signedVerdict ?? 0,
                output: last?.output ?? [])
        }
        return try node?.run(body) ?? body()
    }

    /// Fits into a page with what the kernel puts around it.
    private static let roomy = 3072

    /// Makes `program` the one that is run from a hook.
    ///
    /// - Throws: `BPFError` when the kernel does not tail-call it from there.
    func accept(_ program: Program, on hook: Hook) throws(BPFError) {
        guard let programs = hooks[hook], programs.current != program.id else { return }
        try programs.targets.update(NT_BENCH_TARGET, UInt32(program.fileDescriptor))
        hooks[hook]?.current = program.id
    }

    private func wrapper(_ hook: Hook, _ frame: Frame) throws(BenchmarkError) -> Program {
        guard let wrapper = hooks[hook]?.wrappers[frame.shape]?[frame.family] else {
            throw .preparationFailed("no wrapper for \(hook.rawValue)")
        }
        return wrapper
    }

    /// Runs a floor. `failures` are runs that did not find, or get into, the table what they should.
    func run(_ floor: Floor, _ frame: Frame, _ walk: Walk, runs: Int) throws -> (run: Runs, failures: Int) {
        let run = try run(program(floor), on: .xdp, frame, walk, runs: runs)
        return (run, Int(try state.lookup(0)?.failures ?? 0))
    }
}
