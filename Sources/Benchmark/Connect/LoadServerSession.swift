internal import CLinux
internal import Glibc
internal import NetLab
internal import Netlink
internal import Synchronization

/// The loop of a server's thread, and what it alone touches.
struct LoadServerSession: ~Copyable {
    private struct Connection {
        var socket: Int32
        /// Bytes of the message that is being received.
        var received = 0
        var isStream = false
        var nextFree = -1
    }

    private static let capacity = 2 * LoadClient.mostConnections
    private static let stopNumber = UInt32(capacity)
    private static let bufferSize = 1 << 17

    private let work: LoadServerWork
    private let listeners: LoadListeners
    private let epoll: Epoll
    private let connections: UnsafeMutableBufferPointer<Connection>
    /// A message for each connection.
    private let messages: UnsafeMutableRawPointer
    private let buffer: UnsafeMutableRawPointer
    private var firstFree = 0

    init(_ work: LoadServerWork, _ listeners: LoadListeners, _ epoll: consuming Epoll) {
        self.epoll = epoll
        self.work = work
        self.listeners = listeners
        connections = .allocate(capacity: Self.capacity)
        connections.initialize(repeating: Connection(socket: -1))
        for i in 0..<Self.capacity - 1 { connections[i].nextFree = i + 1 }
        messages = .allocate(byteCount: Self.capacity * LoadMessage.size, alignment: 64)
        buffer = .allocate(byteCount: Self.bufferSize, alignment: 64)
    }

    deinit {
        for connection in connections where connection.socket >= 0 { close(connection.socket) }
        connections.deallocate()
        messages.deallocate()
        buffer.deallocate()
    }

    /// Serves until it is to stop, or epoll fails.
    mutating func run() throws(LabError) {
        try work.watchStop(epoll, Self.stopNumber)
        try epoll.add(listeners.v4.raw, Self.stopNumber + 1, .readable)
        try epoll.add(listeners.v6.raw, Self.stopNumber + 2, .readable)
        while true {
            let count = try epoll.wait(-1)
            for i in 0..<count {
                switch epoll[i].number {
                case Self.stopNumber: return
                case Self.stopNumber + 1: accept(listeners.v4.raw)
                case Self.stopNumber + 2: accept(listeners.v6.raw)
                case let number: serve(Int(number))
                }
            }
        }
    }

    private mutating func accept(_ listener: Int32) {
        while true {
            // None left, a client that gave up in the meantime, or too many open files: the client sees it.
            let socket = nt_accept(listener)
            guard socket >= 0 else { return }
            let place = firstFree
            guard place >= 0, (try? epoll.add(socket, UInt32(place), .readable)) != nil else {
                close(socket)
                continue
            }
            firstFree = connections[place].nextFree
            connections[place] = Connection(socket: socket)
            work.accepted.add(1, ordering: .relaxed)
            work.open.add(1, ordering: .relaxed)
        }
    }

    private mutating func end(_ place: Int) {
        close(connections[place].socket)
        connections[place] = Connection(socket: -1, nextFree: firstFree)
        firstFree = place
        work.open.subtract(1, ordering: .releasing)
    }

    /// Takes what has come; what there is beyond the buffer brings the next event.
    private mutating func serve(_ place: Int) {
        let count = LoadSocket.receive(connections[place].socket, buffer, Self.bufferSize)
        guard count > 0 else {
            if count == 0 || !LoadSocket.isForLater { end(place) }
            return
        }
        let message = messages + place * LoadMessage.size
        var offset = 0
        while offset < count, !connections[place].isStream {
            let received = connections[place].received
            let taken = min(count - offset, LoadMessage.size - received)
            (message + received).copyMemory(from: buffer + offset, byteCount: taken)
            offset += taken
            connections[place].received += taken
            guard connections[place].received == LoadMessage.size else { return }
            connections[place].received = 0
            guard act(on: message, place) else { return end(place) }
        }
        work.streamed.add(count - offset, ordering: .relaxed)
    }

    /// Does what a message asks for. `false` if the connection is to be closed.
    private mutating func act(on message: UnsafeMutableRawPointer, _ place: Int) -> Bool {
        let kind = LoadMessage.Kind(rawValue: message.load(fromByteOffset: LoadMessage.kindOffset, as: UInt8.self))
        switch kind {
        case .request, .lastRequest:
            // Counted first: whoever has the answer finds it counted.
            work.answered.add(1, ordering: .relaxed)
            // One answer always has room, unless the client does not read.
            let sent = LoadSocket.send(connections[place].socket, message, LoadMessage.size)
            return sent == LoadMessage.size && kind == .request
        case .stream:
            connections[place].isStream = true
            return true
        case nil: return false
        }
    }
}
