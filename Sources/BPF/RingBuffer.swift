internal import CLibbpf
internal import Dispatch
internal import Glibc
internal import Synchronization

/// The records programs write to a ring buffer map, as a stream of batches: one per wake-up, which costs a small
/// fraction of one per record.
///
/// One reader may exist for a map at a time, since reading moves the map's consumer position. Reading begins with the
/// initialiser and ends with the last reference, or when the consumer of ``batches`` is cancelled.
public final class RingBuffer<Record: BitwiseCopyable & Sendable>: Sendable {
    /// The batches, in the order of the ring; for one consumer.
    public let batches: AsyncStream<[Record]>
    /// The name it was opened by.
    public let name: String

    private let sink: RecordSink<Record>
    private let reader: RingReader

    /// Batches kept for a consumer that is behind; what comes after that is dropped and counted.
    private static var backlog: Int { 256 }

    init(descriptor: consuming OwnedDescriptor, name: String) throws(BPFError) {
        let info = try MapInfo(descriptor, subject: name)
        guard info.type == .ringBuffer else {
            throw BPFError(
                .layoutMismatch, operation: "ring_buffer__new", subject: "map \(name)",
                detail: "it is of type \(info.type)")
        }
        let (batches, continuation) = AsyncStream.makeStream(
            of: [Record].self, bufferingPolicy: .bufferingOldest(Self.backlog))
        let sink = RecordSink(continuation)
        let reader = try RingReader(descriptor: descriptor, sink: sink, name: name)
        continuation.onTermination = { _ in reader.cancel() }
        self.batches = batches
        self.sink = sink
        self.reader = reader
        self.name = name
    }

    deinit {
        reader.cancel()
    }

    /// Opens a pinned ring buffer map.
    public static func open(pinnedAt path: String) throws(BPFError) -> RingBuffer {
        try RingBuffer(descriptor: try .pinned(at: path, expecting: .map), name: path)
    }

    /// Records that were shorter than `Record` and could not be read as one.
    public var malformedRecords: Int {
        sink.malformed.load(ordering: .relaxed)
    }

    /// Records that were read but dropped, because the consumer was behind.
    public var droppedRecords: Int {
        sink.dropped.load(ordering: .relaxed)
    }
}

/// What the C callback talks to; it cannot be generic itself.
private class RingSink {
    /// Takes one record. Returns `false` to end the batch after it.
    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool { false }
    /// Passes on what was received since the last time.
    func flush() {}
    /// Nothing more will come.
    func finish() {}
}

/// Collects records into batches.
///
/// `@unchecked Sendable`: `pending` is touched only from the one serial queue of its `RingReader`; the counters are
/// atomic, the continuation is `Sendable`.
private final class RecordSink<Record: BitwiseCopyable & Sendable>: RingSink, @unchecked Sendable {
    let malformed = Atomic(0)
    let dropped = Atomic(0)
    private let continuation: AsyncStream<[Record]>.Continuation
    private var pending: [Record] = []

    /// Programs may write as fast as a reader reads: a batch has to end.
    private static var largestBatch: Int { 16384 }

    init(_ continuation: AsyncStream<[Record]>.Continuation) {
        self.continuation = continuation
    }

    override func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        if bytes.count < MemoryLayout<Record>.size {
            malformed.add(1, ordering: .relaxed)
        } else {
            pending.append(bytes.loadUnaligned(as: Record.self))
        }
        return pending.count < Self.largestBatch
    }

    override func flush() {
        guard !pending.isEmpty else { return }
        let batch = pending
        pending = []
        if case .dropped(let lost) = continuation.yield(batch) {
            dropped.add(lost.count, ordering: .relaxed)
        }
    }

    override func finish() {
        continuation.finish()
    }
}

/// libbpf's ring buffer and the dispatch source that watches it.
///
/// `@unchecked Sendable`: `source` is used only to cancel it, which is thread-safe; everything else is held and used
/// by the handlers on the serial queue.
private final class RingReader: @unchecked Sendable {
    private let source: any DispatchSourceRead

    init(descriptor: consuming OwnedDescriptor, sink: RingSink, name: String) throws(BPFError) {
        let context = Unmanaged.passRetained(sink)
        let map = descriptor.raw
        let ring: OpaquePointer
        do {
            ring = try checkErrno("ring_buffer__new", "map \(name)") {
                ring_buffer__new(
                    map,
                    { context, data, size in
                        guard let context, let data else { return 0 }
                        let sink = Unmanaged<RingSink>.fromOpaque(context).takeUnretainedValue()
                        return sink.receive(UnsafeRawBufferPointer(start: data, count: size)) ? 0 : -ECANCELED
                    }, context.toOpaque(), nil)
            }
        } catch {
            context.release()
            throw error
        }
        let queue = DispatchQueue(label: "bpf.ring.\(name)")
        source = DispatchSource.makeReadSource(fileDescriptor: ring_buffer__epoll_fd(ring), queue: queue)
        // libbpf keeps the map's number, not a descriptor of its own, so this one lives as long as the ring.
        let owner = MapOwner(descriptor)
        let resources = RingResources(ring: ring, context: context, owner: owner)
        source.setEventHandler {
            _ = ring_buffer__consume(resources.ring)
            resources.context.takeUnretainedValue().flush()
        }
        source.setCancelHandler {
            ring_buffer__free(resources.ring)
            resources.context.takeUnretainedValue().finish()
            resources.context.release()
        }
        source.activate()
    }

    func cancel() {
        source.cancel()
    }

    deinit {
        source.cancel()
    }
}

/// Holds a descriptor where only copyable values can be held.
private final class MapOwner: Sendable {
    private let descriptor: OwnedDescriptor

    init(_ descriptor: consuming OwnedDescriptor) {
        self.descriptor = descriptor
    }
}

/// What the handlers share.
///
/// `@unchecked Sendable`: after the initialiser it is used on one serial queue only.
private struct RingResources: @unchecked Sendable {
    let ring: OpaquePointer
    let context: Unmanaged<RingSink>
    let owner: MapOwner
}
