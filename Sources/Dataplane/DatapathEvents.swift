public import BPF
internal import Glibc
public import NeedletailABI
internal import NetTypes
internal import SystemPackage

/// Something the programs told of.
public struct DatapathEvent: Sendable, Hashable {
    /// What there is to be told of.
    public struct Kinds: OptionSet, Sendable, Hashable {
        /// The bits of `nt_event.kind`.
        public let rawValue: UInt32
        /// From the bits of `nt_event.kind`.
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// A flow has begun.
        public static let newFlow = Kinds(rawValue: NT_EVENT_NEW_FLOW)
        /// A packet was dropped, or answered in place of what it was for.
        public static let refused = Kinds(rawValue: NT_EVENT_REFUSED)
        /// A fallback was taken.
        public static let fallback = Kinds(rawValue: NT_EVENT_FALLBACK)
        /// All of them.
        public static let all: Kinds = [.newFlow, .refused, .fallback]
    }

    /// CLOCK_MONOTONIC, in nanoseconds.
    public let time: UInt64
    /// What it is.
    public let kind: Kinds
    /// Who tells it.
    public let program: DatapathProgram
    /// The counter that moved with it.
    public let counter: DatapathCounter
    /// The service port; `nil` for none.
    public let service: ServiceID?
    /// The backend; `nil` for none.
    public let backend: BackendID?
    /// The packet as it was on the wire, before any rewrite.
    public let packet: FlowTuple

    /// From a record; `nil` for one that no program of this version writes.
    public init?(_ wire: nt_event) {
        guard let family = IPFamily(rawValue: wire.family),
            let program = DatapathProgram(wire: wire.program), let counter = DatapathCounter(wire: wire.counter),
            let packet = FlowTuple(
                IPAddress(words: wire.src.w, family), wire.sport, IPAddress(words: wire.dst.w, family), wire.dport,
                wire.protocol)
        else { return nil }
        time = wire.time
        kind = Kinds(rawValue: UInt32(wire.kind))
        self.program = program
        self.counter = counter
        service = wire.service.rawValue == 0 ? nil : wire.service
        backend = wire.backend.rawValue == 0 ? nil : wire.backend
        self.packet = packet
    }
}

/// Watches the programs' events. Programs tell nothing while nobody watches, nor a few seconds after a watcher was
/// killed.
public final class EventWatch: Sendable {
    /// How long programs go on without being asked again.
    public static let lease = Duration.seconds(5)

    private let control: BPFMap<UInt32, nt_event_control>
    private let ring: RingBuffer<nt_event>
    private let lock: OwnedDescriptor
    private let kinds: DatapathEvent.Kinds
    private let sample: UInt32

    /// Begins to watch.
    ///
    /// - Parameter sample: one event in so many is told, by chance.
    /// - Throws: ``DatapathError/watched(_:)`` while another process does; else as ``DatapathMaps/init(pinnedIn:)``.
    public init(
        _ kinds: DatapathEvent.Kinds = .all, sample: UInt32 = 1, pinnedIn pins: PinDirectory
    ) throws {
        guard try pins.isPresent(), pins.exists("nt_meta") else { throw DatapathError.notRunning(pins.root) }
        let opened = open("\(pins.root)/maps", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard opened >= 0 else { throw DatapathError.unreadable(pins.root, "\(Errno(rawValue: errno))") }
        let directory = OwnedDescriptor(adopting: opened)
        // A child of a reader that has just ended may hold its descriptors for a moment, until it executes.
        var attempts = 20
        while flock(directory.raw, LOCK_EX | LOCK_NB) != 0 {
            attempts -= 1
            guard attempts > 0 else { throw DatapathError.watched(pins.root) }
            usleep(10_000)
        }
        lock = directory
        control = try .open(pinnedAt: pins.map("nt_event_ctl"))
        ring = try .open(pinnedAt: pins.map("nt_events"))
        self.kinds = kinds
        self.sample = sample
        try renew()
    }

    /// Has the programs go on for another ``lease``; to be called once a second or so.
    public func renew() throws(BPFError) {
        try ask(until: Self.now + UInt64(Self.lease.components.seconds) * 1_000_000_000)
    }

    /// Has the programs stop.
    public func stop() throws(BPFError) { try ask(until: 0) }

    deinit { try? stop() }

    /// The events, a batch for each wake-up; for one consumer. Records that no program of this version writes are left
    /// out.
    public var batches: some AsyncSequence<[DatapathEvent], Never> & Sendable {
        ring.batches.map { $0.compactMap(DatapathEvent.init) }
    }

    /// Events that were read and dropped, because the consumer was behind. What did not fit into the ring nobody counts.
    public var dropped: Int { ring.droppedRecords }

    private func ask(until: UInt64) throws(BPFError) {
        try control.update(0, nt_event_control(until: until, kinds: kinds.rawValue, sample: sample))
    }

    /// CLOCK_MONOTONIC in nanoseconds.
    private static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
