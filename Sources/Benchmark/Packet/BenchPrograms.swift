internal import BPF
internal import BenchABI
internal import CBPFObjects
internal import NeedletailABI
internal import NetTypes

/// Where a program under test is called from.
enum Hook: String, CaseIterable {
    case xdp
    case tc

    /// What a program returns that lets the packet pass (`XDP_PASS`, `TC_ACT_UNSPEC`).
    var pass: Int32 { self == .xdp ? 2 : -1 }
}

/// What a datapath cannot do without, for comparison. All run in XDP.
public enum Floor: String, Sendable, CaseIterable {
    /// Swaps the MAC addresses and sends the packet back.
    case macSwap = "mac-swap"
    /// Parses, looks the flow up in an LRU hash of the datapath's layout and size, translates the destination, and
    /// sends the packet back.
    case lruHit = "lru-hit"
    /// The same with one insertion into the hash instead.
    case lruInsert = "lru-insert"
}

/// The programs that call others from one hook.
private struct HookPrograms {
    let targets: BPFMap<UInt32, UInt32>
    let empty: Program
    let wrapper4: Program
    let wrapper6: Program
    /// The program that is the target now.
    var current: UInt32?

    init(_ hook: Hook, _ object: borrowing LoadedObject) throws(BPFError) {
        targets = try object.map("bench_\(hook.rawValue)")
        empty = try object.program("empty_\(hook.rawValue)")
        wrapper4 = try object.program("wrap_\(hook.rawValue)4")
        wrapper6 = try object.program("wrap_\(hook.rawValue)6")
    }
}

/// The loaded programs of the harness: wrappers, empty programs and floors, with one table for the floors.
final class BenchPrograms {
    private let state: BPFMap<UInt32, nt_bench_case>
    private var xdp: HookPrograms
    private var tc: HookPrograms
    private let macSwap: Program
    private let lruHit: Program
    private let lruInsert: Program

    /// What a floor returns (`XDP_TX`).
    static let transmit: UInt32 = 3

    /// `tableEntries` are those of each family's floor table.
    init(tableEntries: UInt32) throws(BPFError) {
        var object = try BPFObject(
            image: UnsafeRawBufferPointer(start: cbpf_bench(), count: cbpf_bench_size()), name: "bench")
        try object.setMaxEntries(tableEntries, ofMap: "floor_flows4")
        try object.setMaxEntries(tableEntries, ofMap: "floor_flows6")
        let loaded = try object.load()
        state = try loaded.map("bench_case")
        xdp = try HookPrograms(.xdp, loaded)
        tc = try HookPrograms(.tc, loaded)
        macSwap = try loaded.program("floor_mac_swap")
        lruHit = try loaded.program("floor_lru_hit")
        lruInsert = try loaded.program("floor_lru_insert")
    }

    func empty(_ hook: Hook) -> Program { hook == .xdp ? xdp.empty : tc.empty }

    func program(_ floor: Floor) -> Program {
        switch floor {
        case .macSwap: macSwap
        case .lruHit: lruHit
        case .lruInsert: lruInsert
        }
    }

    /// Runs `program` on `runs` packets; without a walk, on those that come next in the one before.
    func run(_ program: Program, on hook: Hook, _ frame: Frame, _ walk: Walk?, runs: Int) throws(BPFError) -> TestRun {
        if let walk { try state.update(0, frame.benchCase(walk)) }
        let wrapper =
            switch hook {
            case .xdp: try Self.aim(&xdp, at: program, frame.clients.family)
            case .tc: try Self.aim(&tc, at: program, frame.clients.family)
            }
        return try wrapper.testRun(packet: frame.bytes, repeat: runs)
    }

    private static func aim(
        _ hook: inout HookPrograms, at program: Program, _ family: IPFamily
    ) throws(BPFError) -> Program {
        if hook.current != program.id {
            try hook.targets.update(NT_BENCH_TARGET, UInt32(program.fileDescriptor))
            hook.current = program.id
        }
        return family == .v4 ? hook.wrapper4 : hook.wrapper6
    }

    /// Runs a floor. The problem is `nil` when each run found, or got into, the table what it should.
    func run(
        _ floor: Floor, _ frame: Frame, _ walk: Walk, runs: Int
    ) throws(BPFError) -> (run: TestRun, problem: String?) {
        let result = try run(program(floor), on: .xdp, frame, walk, runs: runs)
        let failures = try state.lookup(0)?.failures ?? 0
        guard failures > 0 || result.verdict != Self.transmit else { return (result, nil) }
        return (result, "\(floor.rawValue): \(failures) of \(runs) runs failed, verdict \(result.verdict)")
    }
}
