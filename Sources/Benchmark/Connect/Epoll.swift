internal import CLinux
internal import NetLab
internal import Netlink

/// An epoll set (`epoll(7)`). Each member has a number that its events carry.
struct Epoll: ~Copyable {
    /// What is waited for, and what happened.
    struct Events: OptionSet {
        let rawValue: UInt32

        static let readable = Events(rawValue: NT_READABLE.rawValue)
        static let writable = Events(rawValue: NT_WRITABLE.rawValue)
        /// Only when it becomes so, not as long as it is so.
        static let onChange = Events(rawValue: NT_ON_CHANGE.rawValue)
    }

    private let descriptor: LinuxDescriptor
    private let events: UnsafeMutableBufferPointer<nt_epoll_event>

    init() throws(LabError) {
        let raw = nt_epoll_make()
        guard raw >= 0 else { throw LabError("make", "epoll set", .system(-raw)) }
        descriptor = LinuxDescriptor(owning: raw)
        events = .allocate(capacity: Int(NT_MOST_EVENTS))
        events.initialize(repeating: nt_epoll_event())
    }

    deinit {
        events.deallocate()
    }

    /// Adds a descriptor; it leaves when it is closed.
    func add(_ file: Int32, _ number: UInt32, _ interest: Events) throws(LabError) {
        try control(file, number, interest, change: 0)
    }

    /// Changes what is waited for.
    func change(_ file: Int32, _ number: UInt32, _ interest: Events) throws(LabError) {
        try control(file, number, interest, change: 1)
    }

    private func control(
        _ file: Int32, _ number: UInt32, _ interest: Events, change: Int32
    ) throws(LabError) {
        let event = nt_epoll_event(events: interest.rawValue, number: number)
        let result = nt_epoll_control(descriptor.raw, change, file, event)
        guard result == 0 else { throw LabError("watch", "descriptor \(file)", .system(-result)) }
    }

    /// Waits for events, at most so many milliseconds (-1: for ever). How many there are.
    func wait(_ milliseconds: Int32) throws(LabError) -> Int {
        let count = nt_epoll_wait(descriptor.raw, events.baseAddress, milliseconds)
        guard count >= 0 else { throw LabError("wait for", "epoll set", .system(-count)) }
        return Int(count)
    }

    /// One of the events of the last wait: the number of its member, and what happened.
    subscript(index: Int) -> (number: UInt32, events: Events) {
        (events[index].number, Events(rawValue: events[index].events))
    }
}
