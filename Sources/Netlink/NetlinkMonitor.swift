internal import CLinux
internal import Dispatch
internal import Glibc
internal import Synchronization

/// Tells of interfaces and addresses as they come, change and go, in the network namespace of the thread that made it.
///
/// Make the monitor first, then list interfaces and addresses, then follow ``events``: nothing is missed, and what is
/// told twice says the same. It ends when it is cancelled, when the task that iterates is cancelled, or with its last
/// reference.
public final class NetlinkMonitor: Sendable {
    /// What one wake-up brought.
    public enum Event: Sendable, Hashable {
        /// Changes, in the order the kernel told them; never empty.
        case changed([Change])
        /// Changes were lost, because they came faster than they were read: list everything again.
        case overrun
    }

    /// One change.
    public enum Change: Sendable, Hashable {
        /// An interface is there that was not before. After an ``Event/overrun`` known ones may appear again.
        case interfaceAppeared(Interface)
        /// Something about an interface changed: its name, flags, MTU, address.
        case interfaceChanged(Interface)
        /// An interface was removed or moved to another namespace. The value is its last state.
        case interfaceVanished(Interface)
        /// An address was added, or something about it changed (a tentative address became usable).
        case addressAdded(InterfaceAddress)
        /// An address was removed.
        case addressRemoved(InterfaceAddress)
    }

    /// Events waiting for a slow consumer; beyond that they are dropped and ``Event/overrun`` is told.
    private static let pendingLimit = 1024
    /// Datagrams read per wake-up, so that a storm does not put off its own delivery for ever.
    private static let datagramsPerWakeup = 512

    /// The events. For one consumer.
    public let events: AsyncStream<Event>
    private let source: CancellableSource

    /// Subscribes to interfaces and to addresses of both families. `receiveBuffer` is the kernel's queue in bytes.
    public init(receiveBuffer: Int = 4 << 20) throws(NetlinkError) {
        let groups = UInt32(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR)
        let result = nt_netlink_open(NETLINK_ROUTE, groups, 1, Int32(clamping: receiveBuffer))
        guard result >= 0 else {
            throw NetlinkError(operation: "subscribe", object: "interfaces and addresses", code: -result)
        }
        let descriptor = LinuxDescriptor(owning: result)
        // After the subscription: an interface made in between is known, and its notification says that it changed.
        var lister = try NetlinkSocket()
        let known = Set(try lister.listInterfaces().map(\.index))

        let (stream, continuation) = AsyncStream.makeStream(
            of: Event.self, bufferingPolicy: .bufferingNewest(Self.pendingLimit))
        let reader = NotificationReader(descriptor, known: known)
        let source = DispatchSource.makeReadSource(
            fileDescriptor: result, queue: DispatchQueue(label: "needletail.netlink-monitor"))
        source.setEventHandler {
            for event in reader.read(atMost: Self.datagramsPerWakeup) {
                // Dropping takes the oldest; the overrun goes to the newest end, so it always reaches the consumer.
                if case .dropped = continuation.yield(event) { continuation.yield(.overrun) }
            }
        }
        // Holds the reader, and so the descriptor, until Dispatch is done with it.
        source.setCancelHandler {
            continuation.finish()
            withExtendedLifetime(reader) {}
        }
        source.activate()
        let cancellable = CancellableSource(source: source)
        continuation.onTermination = { _ in cancellable.cancel() }
        events = stream
        self.source = cancellable
    }

    deinit {
        source.cancel()
    }

    /// Ends the stream. May be called from anywhere, and more than once.
    public func cancel() {
        source.cancel()
    }
}

/// An activated source, of which nothing is left to do but to cancel it.
///
/// Unchecked, because Dispatch does not declare it: its objects are counted atomically, and `dispatch_source_cancel` may
/// be called on any thread at any time.
private struct CancellableSource: @unchecked Sendable {
    private let source: any DispatchSourceRead

    init(source: any DispatchSourceRead) {
        self.source = source
    }

    func cancel() {
        source.cancel()
    }
}

/// Turns notifications into events. Used by one serial queue.
private final class NotificationReader: Sendable {
    private struct State {
        var known: Set<UInt32>
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
    }

    private let descriptor: LinuxDescriptor
    private let state: Mutex<State>

    init(_ descriptor: consuming LinuxDescriptor, known: Set<UInt32>) {
        self.descriptor = descriptor
        state = Mutex(State(known: known))
    }

    /// Everything that waits in the socket.
    func read(atMost limit: Int) -> [NetlinkMonitor.Event] {
        state.withLock { state in
            var changes: [NetlinkMonitor.Change] = []
            var isOverrun = false
            for _ in 0..<limit {
                let count = state.buffer.withUnsafeMutableBytes {
                    nt_netlink_receive(descriptor.raw, $0.baseAddress, $0.count)
                }
                if count >= 0 {
                    for message in NetlinkMessages(state.buffer.prefix(count)) {
                        if let change = Self.change(message, &state.known) { changes.append(change) }
                    }
                } else if count == -Int(EAGAIN) {
                    break
                } else {
                    // ENOBUFS, or a datagram that did not fit: something was lost either way.
                    isOverrun = true
                    state.known = []
                }
            }
            return (changes.isEmpty ? [] : [.changed(changes)]) + (isOverrun ? [.overrun] : [])
        }
    }

    private static func change(
        _ message: NetlinkMessages.Message, _ known: inout Set<UInt32>
    ) -> NetlinkMonitor.Change? {
        switch Int(message.type) {
        case RTM_NEWLINK:
            Interface(payload: message.payload).map {
                known.insert($0.index).inserted ? .interfaceAppeared($0) : .interfaceChanged($0)
            }
        case RTM_DELLINK:
            Interface(payload: message.payload).map {
                known.remove($0.index)
                return .interfaceVanished($0)
            }
        case RTM_NEWADDR: InterfaceAddress(payload: message.payload).map { .addressAdded($0) }
        case RTM_DELADDR: InterfaceAddress(payload: message.payload).map { .addressRemoved($0) }
        default: nil
        }
    }
}
