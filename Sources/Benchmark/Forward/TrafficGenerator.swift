internal import BPF
internal import BenchABI
internal import CBPFObjects
internal import Glibc
internal import NetLab
internal import NetTypes
internal import Netlink
internal import PacketKit

/// What a generated packet is.
enum GeneratedKind {
    /// Data of a flow that has been opened: an ACK with some payload.
    case data
    /// A SYN of a flow that has been, or is to be, opened.
    case open
    /// A SYN of a flow that has never been.
    case newFlow
}

/// Sends packets through a chain, from the client's device on, and counts what arrives at the backend.
///
/// The packets are live frames (``Program/sendLive(frame:count:)``) that a program makes the next flow's, all headers of
/// each, and redirects into the client's veth, so that they come to the node's device as from a wire. At the backend a tc
/// program counts and drops them.
final class TrafficGenerator {
    /// What came of sending.
    struct Outcome {
        /// Frames sent.
        var sent = 0
        /// Frames that arrived at the backend, with its port as their destination.
        var delivered = 0
        /// Answers that arrived at the client.
        var answered = 0
        /// Processor time of everything, in nanoseconds.
        var processorTime: UInt64 = 0
        /// Wall time of a frame in nanoseconds, without that of other threads.
        var wallTime: Double = 0

        /// Processor time of a frame in nanoseconds.
        var perFrame: Double { Double(processorTime) / Double(max(1, sent)) }
    }

    private let chain: Chain
    private let state: BPFMap<UInt32, nt_generator>
    private let answering: BPFMap<UInt32, UInt32>
    private let sinks: PerCPUMap<UInt32, UInt64>
    private let programs: [IPFamily: Program]
    private let time = ForwardingTime()
    /// Index of the client's device.
    private let device: UInt32
    private let gateway: [UInt8]
    private let own: [UInt8]
    /// Where each walk goes on.
    private var next: [IPFamily: UInt64] = [:]
    private var nextNew: [IPFamily: UInt64] = [:]

    /// Ports of flows that are opened begin here; 2^14 of them may follow (``FlowCount/most``).
    private static let firstPort: UInt16 = 1024
    /// Those of flows that are new each time.
    private static let firstNewPort: UInt16 = 1024 + 1 << 14
    /// Coordinates of the filters; the devices are ours alone.
    private static let filter: (handle: UInt32, priority: UInt32) = (1, 1)

    /// Whether the time of the kernel's threads is in ``Outcome/processorTime``.
    var seesKernelThreads: Bool { time.isComplete }

    /// Loads the programs and attaches those that count to both ends of the chain.
    init(_ chain: Chain) throws {
        self.chain = chain
        var object = try BPFObject(
            image: UnsafeRawBufferPointer(start: cbpf_generate(), count: cbpf_generate_size()), name: "generate")
        try object.setConstant("backend_port", to: BenchServices.backendPort)
        let loaded = try object.load()
        state = try loaded.map("generator")
        answering = try loaded.map("answering")
        sinks = try loaded.perCPUMap("sink")
        programs = [.v4: try loaded.program("generate4"), .v6: try loaded.program("generate6")]
        let client = try chain.client.device(Chain.endDevice)
        device = client.index
        own = client.hardwareAddress?.bytes ?? []
        gateway = try chain.node.device(Chain.clientDevice).hardwareAddress?.bytes ?? []
        for (host, name) in [(chain.client, "take_at_client"), (chain.backend, "take_at_backend")] {
            let program = try loaded.program(name)
            let index = Int32(bitPattern: try host.device(Chain.endDevice).index)
            try host.namespace.run {
                _ = try program.attachClsact(
                    interface: index, direction: .ingress, handle: Self.filter.handle, priority: Self.filter.priority)
            }
        }
    }

    /// Opens flows 0 to `flows` - 1 of a family: a SYN of each, which the backend answers, and then data of each.
    ///
    /// - Throws: ``BenchmarkError/preparationFailed(_:)`` when packets go astray again and again.
    func open(_ flows: FlowCount, to destination: TransportEndpoint) throws {
        try answering.update(0, 1)
        defer { try? answering.update(0, 0) }
        try sendAll(.open, flows, to: destination, answered: true)
        try answering.update(0, 0)
        try sendAll(.data, flows, to: destination, answered: false)
    }

    /// Sends a packet of each flow, a few thousand at a time: more at once, and a node that is slow leaves some of them to
    /// a kernel thread that comes too late. What went astray is sent again.
    private func sendAll(
        _ kind: GeneratedKind, _ flows: FlowCount, to destination: TransportEndpoint, answered: Bool
    ) throws {
        var start = 0
        while start < flows.count {
            let count = min(flows.count - start, Self.piece)
            var outcome = Outcome()
            var attempt = 0
            repeat {
                guard attempt < Self.attempts else {
                    throw BenchmarkError.preparationFailed(
                        """
                        of \(count) of \(flows) flows to \(destination), \(outcome.delivered) packets arrived and \
                        \(outcome.answered) answers
                        """)
                }
                next[destination.address.family] = UInt64(start)
                outcome = try send(kind, flows, to: destination, count: count, answered: answered)
                attempt += 1
            } while outcome.delivered < count || (answered && outcome.answered < count)
            start += count
        }
    }

    /// Sends so many packets, one of a flow after the other in no order that a cache could foresee.
    ///
    /// - Parameter answered: whether answers are waited for too.
    func send(
        _ kind: GeneratedKind, _ flows: FlowCount, to destination: TransportEndpoint, count: Int, answered: Bool = false
    ) throws -> Outcome {
        let family = destination.address.family
        let before = (try total(NT_SINK_BACKEND), try total(NT_SINK_CLIENT))
        var outcome = try run(kind, flows, destination, count: count, device: device)
        outcome.sent = count
        // What is left to the kernel's own threads takes its time.
        let deadline = ContinuousClock.now + .seconds(1)
        repeat {
            outcome.delivered = Int(try total(NT_SINK_BACKEND) - before.0)
            outcome.answered = Int(try total(NT_SINK_CLIENT) - before.1)
            if outcome.delivered >= count, !answered || outcome.answered >= count { break }
            usleep(1000)
        } while ContinuousClock.now < deadline
        if kind == .newFlow {
            nextNew[family, default: 0] += UInt64(count)
        } else {
            next[family, default: 0] += UInt64(count)
        }
        return outcome
    }

    /// Sends data of the flows whose turn is next, as far as there are others, and gives them their turn once more: since
    /// the last slice others have had the machine, and all flows been idle for seconds.
    func warm(_ flows: FlowCount, to destination: TransportEndpoint, count: Int) throws {
        let turns = min(count, flows.count)
        _ = try send(.data, flows, to: destination, count: turns)
        next[destination.address.family, default: 0] -= UInt64(turns)
    }

    /// Makes so many packets and sends them nowhere: what the generator itself costs.
    func idle(_ flows: FlowCount, to destination: TransportEndpoint, count: Int) throws -> Outcome {
        try run(.data, flows, destination, count: count, device: 0)
    }

    private static let attempts = 5
    private static let piece = 8192

    private func run(
        _ kind: GeneratedKind, _ flows: FlowCount, _ destination: TransportEndpoint, count: Int, device: UInt32
    ) throws -> Outcome {
        let family = destination.address.family
        guard let program = programs[family] else { throw BenchmarkError.preparationFailed("no generator") }
        let frame = frame(kind, to: destination)
        var wire = nt_generator()
        wire.next = (kind == .newFlow ? nextNew[family] : next[family]) ?? 0
        wire.stride = 0x9E37_79B9_7F4A_7C15
        wire.mask = UInt64((kind == .newFlow ? FlowCount.most : flows.count) - 1)
        wire.device = device
        withUnsafeMutableBytes(of: &wire.frame) { $0.copyBytes(from: frame) }
        try state.update(0, wire)
        let time = time
        let (wall, processor) = try chain.client.namespace.run {
            let begun = time.now
            let wall = try program.sendLive(frame: frame, count: count)
            return (wall, time.now - begun)
        }
        return Outcome(sent: count, processorTime: processor, wallTime: Double(wall))
    }

    private func total(_ which: UInt32) throws -> UInt64 {
        try sinks.lookup(which)?.reduce(0, +) ?? 0
    }

    /// The packet of flow 0.
    private func frame(_ kind: GeneratedKind, to destination: TransportEndpoint) -> [UInt8] {
        let family = destination.address.family
        let isSYN = kind != .data
        let source = TransportEndpoint(
            Chain.generatedClients(family), kind == .newFlow ? Self.firstNewPort : Self.firstPort, .tcp)
        let length = Int(family == .v4 ? NT_GENERATED_FRAME4 : NT_GENERATED_FRAME6)
        let headers = 14 + (family == .v4 ? 20 : 40) + 20
        let builder = PacketBuilder(
            from: source, to: destination, flags: isSYN ? .syn : [.ack, .psh],
            payload: [UInt8](repeating: 0, count: isSYN ? 0 : length - headers)
        )
        .withTCP {
            $0.sequence = isSYN ? 0 : 1
            $0.acknowledgment = isSYN ? 0 : 1
        }
        // Short frames are padded, as Ethernet has it.
        let padding = [UInt8](repeating: 0, count: isSYN ? length - headers : 0)
        return PacketKit.Frame(builder.bytes + padding).relinked(from: own, to: gateway).bytes
    }
}
