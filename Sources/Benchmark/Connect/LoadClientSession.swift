internal import Glibc
internal import NetLab
internal import NetTypes

/// The loop of a client's thread, and what it alone touches. It allocates nothing while it works.
struct LoadClientSession: ~Copyable {
    private struct Connection {
        var socket: Int32 = -1
        var isConnected = false
        /// When what is under way was begun.
        var began: UInt64 = 0
        /// The number of the request that is under way.
        var number: UInt64 = 0
        /// Bytes of its answer that are there.
        var received = 0
    }

    private static let chunk = 1 << 16

    private let client: LoadClient
    private let owner: String
    private let address: SocketAddress
    private let epoll: Epoll
    private let connections: UnsafeMutableBufferPointer<Connection>
    private let output: UnsafeMutableRawPointer
    /// An answer for each connection, and a byte beyond the last.
    private let answers: UnsafeMutableRawPointer
    private var result = LoadResult()
    private var nextNumber: UInt64 = 1
    private var open = 0
    private var connected = 0
    private var lastProgress: UInt64
    /// What counts is from here to ``end``.
    private var begin = UInt64.max
    private var end = UInt64.max
    private var isEnding = false
    /// What the server had received of streams when counting began.
    private var streamedBefore: Int?

    init(_ client: LoadClient, owner: String) throws(LabError) {
        epoll = try Epoll()
        self.client = client
        self.owner = owner
        address = SocketAddress(client.target.address, client.target.port)
        connections = .allocate(capacity: client.concurrency)
        connections.initialize(repeating: Connection())
        output = .allocate(byteCount: Self.chunk, alignment: 64)
        output.initializeMemory(as: UInt8.self, repeating: 0, count: Self.chunk)
        answers = .allocate(byteCount: client.concurrency * LoadMessage.size + 1, alignment: 64)
        lastProgress = LoadClock.now
    }

    deinit {
        for connection in connections where connection.socket >= 0 { close(connection.socket) }
        connections.deallocate()
        output.deallocate()
        answers.deallocate()
    }

    mutating func run() throws(LabError) -> LoadResult {
        for place in connections.indices { try connect(place) }
        if client.kind == .connect { setTimes(from: lastProgress) }
        while open > 0 {
            let count = try epoll.wait(10)
            for i in 0..<count {
                let event = epoll[i]
                try act(Int(event.number), event.events)
            }
            try lookAtClock()
        }
        return result
    }

    // MARK: time

    private mutating func setTimes(from now: UInt64) {
        let length = UInt64(client.duration * 1e9)
        begin = now + length / 10
        end = begin + length
    }

    private mutating func lookAtClock() throws(LabError) {
        let now = LoadClock.now
        guard now - min(now, lastProgress) < UInt64(client.patience * 1e9) else {
            throw LabError(client.kind.rawValue, object, .timedOut)
        }
        if client.kind == .bulk { countStream(now) } else if now >= end { result.elapsed = end - begin }
        guard now >= end, !isEnding else { return }
        isEnding = true
        guard client.kind == .bulk else { return }
        // The server reads on to the end, and then closes.
        for place in connections.indices where connections[place].socket >= 0 {
            shutdown(connections[place].socket, Int32(SHUT_WR))
            try epoll.change(connections[place].socket, UInt32(place), .readable)
        }
    }

    private var object: String { "\(client.target) from \(owner)" }

    // MARK: connections

    private mutating func connect(_ place: Int) throws(LabError) {
        let socket = LoadSocket.make(client.target.address.family)
        guard socket >= 0 else { throw LabError.last("make socket", owner) }
        let began = LoadClock.now
        connections[place] = Connection(socket: socket, began: began)
        open += 1
        let result = address.withPointer { Glibc.connect(socket, $0, $1) }
        guard result == 0 || errno == EINPROGRESS else { throw LabError.last("connect", object) }
        try epoll.add(socket, UInt32(place), client.kind == .bulk ? .writable : [.readable, .writable, .onChange])
    }

    private mutating func disconnect(_ place: Int) {
        close(connections[place].socket)
        connections[place].socket = -1
        open -= 1
    }

    private mutating func act(_ place: Int, _ events: Epoll.Events) throws(LabError) {
        if !connections[place].isConnected { try greet(place) }
        switch client.kind {
        case .connect: try awaitEnd(place)
        case .request: try awaitAnswer(place)
        case .bulk: try stream(place)
        }
    }

    /// Sends the first message of a connection; the first event is that it is there, or why it is not.
    private mutating func greet(_ place: Int) throws(LabError) {
        connections[place].isConnected = true
        connected += 1
        let kind: LoadMessage.Kind =
            switch client.kind {
            case .connect: .lastRequest
            case .request: .request
            case .bulk: .stream
            }
        try send(kind, place)
        if client.kind != .connect, connected == connections.count { setTimes(from: LoadClock.now) }
    }

    // MARK: requests

    private mutating func send(_ kind: LoadMessage.Kind, _ place: Int) throws(LabError) {
        if client.kind == .request { connections[place].began = LoadClock.now }
        connections[place].number = nextNumber
        connections[place].received = 0
        LoadMessage.write(kind, number: nextNumber, to: output)
        nextNumber += 1
        let sent = LoadSocket.send(connections[place].socket, output, LoadMessage.size)
        guard sent == LoadMessage.size else { throw LabError.last("connect and send to", object) }
    }

    private mutating func awaitEnd(_ place: Int) throws(LabError) {
        while let count = try receive(place) {
            guard count == 0 else { continue }
            guard connections[place].received == LoadMessage.size else { throw closed }
            try finish(place)
            disconnect(place)
            if lastProgress < end { try connect(place) }
            return
        }
    }

    private mutating func awaitAnswer(_ place: Int) throws(LabError) {
        while let count = try receive(place) {
            guard count > 0 else { throw closed }
            guard connections[place].received == LoadMessage.size else { continue }
            try finish(place)
            guard lastProgress < end else { return disconnect(place) }
            try send(.request, place)
        }
    }

    private var closed: LabError { LabError("receive from", object, .closed) }

    /// Takes some of an answer. How many bytes, 0 at the end of the stream; `nil` when there is no more for now.
    private mutating func receive(_ place: Int) throws(LabError) -> Int? {
        let received = connections[place].received
        // Nothing follows an answer, which takes room for a byte to see.
        let room = max(1, LoadMessage.size - received)
        let target = answers + place * LoadMessage.size + received
        let count = LoadSocket.receive(connections[place].socket, target, room)
        guard count >= 0 else {
            if LoadSocket.isForLater { return nil }
            throw LabError.last("receive from", object)
        }
        connections[place].received += count
        guard connections[place].received <= LoadMessage.size else {
            throw LabError("receive from", object, .other("more than one answer to a request"))
        }
        return count
    }

    /// Counts what was answered.
    private mutating func finish(_ place: Int) throws(LabError) {
        let number = (answers + place * LoadMessage.size).load(as: UInt64.self)
        guard number == connections[place].number else {
            throw LabError("receive from", object, .other("the answer to another request"))
        }
        let now = LoadClock.now
        lastProgress = now
        result.total += 1
        guard now >= begin, now < end else { return }
        result.counted += 1
        result.latencies.record(now - connections[place].began)
    }

    // MARK: bulk

    private mutating func stream(_ place: Int) throws(LabError) {
        let socket = connections[place].socket
        if isEnding {
            let count = LoadSocket.receive(socket, answers, 1)
            guard count != 0 else {
                lastProgress = LoadClock.now
                return disconnect(place)
            }
            if count < 0, LoadSocket.isForLater { return }
            throw LabError.last("await end of", object)
        }
        let count = LoadSocket.send(socket, output, Self.chunk)
        guard count >= 0 else {
            if LoadSocket.isForLater { return }
            throw LabError.last("send to", object)
        }
        lastProgress = LoadClock.now
        result.total += count
    }

    /// Counts by what the server has: what was sent may be anywhere.
    private mutating func countStream(_ now: UInt64) {
        guard now >= begin, !isEnding else { return }
        guard let streamedBefore else {
            streamedBefore = client.server.streamed
            // However late this look at the clock is, all of the time is to come.
            end = now + (end - begin)
            begin = now
            return
        }
        guard now >= end else { return }
        result.counted = client.server.streamed - streamedBefore
        result.elapsed = now - begin
    }
}
