internal import CLinux
internal import Glibc
internal import NetTypes
internal import Netlink

/// A blocking TCP or UDP socket of a host. No call blocks longer than the time limit, except where a server says so.
final class LabSocket: Sendable {
    /// A broken connection is an error here, and no SIGPIPE.
    private static let noSignal = Int32(MSG_NOSIGNAL)

    private let descriptor: LinuxDescriptor
    let transport: TransportProtocol
    /// For messages: the host.
    private let owner: String

    /// Makes a socket in the host's namespace, where it stays whoever uses it.
    init(_ host: Host, _ family: IPFamily, _ transport: TransportProtocol, timeout: Duration) throws {
        let type = transport == .tcp ? SOCK_STREAM : SOCK_DGRAM
        let name = host.name
        let raw = try host.namespace.run {
            let raw = socket(family.socketFamily, Int32(type.rawValue | SOCK_CLOEXEC.rawValue), 0)
            guard raw >= 0 else { throw LabError.last("make socket", "\(transport) of \(name)") }
            return raw
        }
        descriptor = LinuxDescriptor(owning: raw)
        self.transport = transport
        owner = name
        try setTimeout(timeout)
        if transport == .tcp { try set(Int32(IPPROTO_TCP), TCP_NODELAY, Int32(1)) }
    }

    /// Makes a socket for echo requests and their replies (a "ping socket", `net/ipv4/ping.c`): the kernel sets identifier
    /// and checksum.
    init(echoOf host: Host, _ family: IPFamily, timeout: Duration) throws {
        let name = host.name
        let number = Int32(family == .v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)
        let raw = try host.namespace.run {
            let raw = socket(family.socketFamily, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), number)
            guard raw >= 0 else { throw LabError.last("make socket", "echo of \(name)") }
            return raw
        }
        descriptor = LinuxDescriptor(owning: raw)
        transport = .udp
        owner = name
        try setTimeout(timeout)
    }

    private init(accepted raw: Int32, owner: String) throws {
        descriptor = LinuxDescriptor(owning: raw)
        transport = .tcp
        self.owner = owner
        try setTimeout(.seconds(5))
        try set(Int32(IPPROTO_TCP), TCP_NODELAY, Int32(1))
    }

    var local: TransportEndpoint {
        SocketAddress.filled { getsockname(descriptor.raw, $0, $1) }.address.endpoint(transport)
    }

    var remote: TransportEndpoint {
        get throws {
            let (result, address) = SocketAddress.filled { getpeername(descriptor.raw, $0, $1) }
            guard result == 0 else { throw LabError.last("get peer", "socket of \(owner)") }
            return address.endpoint(transport)
        }
    }

    func set<T: BitwiseCopyable>(_ level: Int32, _ option: Int32, _ value: T) throws {
        let result = withUnsafeBytes(of: value) {
            setsockopt(descriptor.raw, level, option, $0.baseAddress, socklen_t($0.count))
        }
        guard result == 0 else { throw LabError.last("set option \(option) of", "socket of \(owner)") }
    }

    func get(_ level: Int32, _ option: Int32) throws -> Int32 {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor.raw, level, option, &value, &length) == 0 else {
            throw LabError.last("get option \(option) of", "socket of \(owner)")
        }
        return value
    }

    func bind(_ address: IPAddress, _ port: UInt16) throws {
        // For a port whose last connections are in TIME_WAIT. UDP has no such thing, and two of its sockets with this option
        // may be given the same port when they leave the choice to the kernel: one then gets the other's datagrams.
        if transport == .tcp { try set(SOL_SOCKET, SO_REUSEADDR, Int32(1)) }
        if address.family == .v6 { try set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, Int32(1)) }
        let result = SocketAddress(address, port).withPointer { Glibc.bind(descriptor.raw, $0, $1) }
        guard result == 0 else { throw LabError.last("bind", "\(address.withPort(port)) of \(owner)") }
    }

    func listen() throws {
        guard Glibc.listen(descriptor.raw, 1024) == 0 else { throw LabError.last("listen", "\(local) of \(owner)") }
    }

    func accept() throws -> LabSocket {
        let raw = nt_accept(descriptor.raw)
        guard raw >= 0 else { throw LabError("accept", "\(local) of \(owner)", .system(-raw)) }
        return try LabSocket(accepted: raw, owner: owner)
    }

    func connect(_ address: IPAddress, _ port: UInt16) throws {
        let object = "\(address.withPort(port)) from \(owner)"
        let result = SocketAddress(address, port).withPointer { Glibc.connect(descriptor.raw, $0, $1) }
        guard result != 0 else { return }
        // How a blocking connect tells that SO_SNDTIMEO has run out.
        guard errno != EINPROGRESS else { throw LabError("connect", object, .timedOut) }
        throw LabError.last("connect", object)
    }

    /// Sends all of it, to the connected peer or as one datagram to an address.
    func send(_ bytes: [UInt8], to destination: (address: IPAddress, port: UInt16)? = nil) throws {
        if let destination {
            let address = SocketAddress(destination.address, destination.port)
            let count = address.withPointer { sendto(descriptor.raw, bytes, bytes.count, Self.noSignal, $0, $1) }
            guard count == bytes.count else {
                throw LabError.last("send", "\(destination.address.withPort(destination.port)) from \(owner)")
            }
            return
        }
        var sent = 0
        repeat {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor.raw, $0.baseAddress.map { $0 + sent }, $0.count - sent, Self.noSignal)
            }
            guard count >= 0 else { throw LabError.last("send", "socket of \(owner)") }
            sent += count
        } while sent < bytes.count
    }

    /// What is there, at least a byte of a stream or one datagram, and who sent it. A stream's end is empty.
    func receive(atMost capacity: Int = 1 << 16) throws -> (bytes: [UInt8], sender: TransportEndpoint) {
        var sender = SocketAddress(.zero(.v4), 0)
        let bytes = try [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            let filled = SocketAddress.filled { recvfrom(descriptor.raw, buffer.baseAddress, capacity, 0, $0, $1) }
            guard filled.result >= 0 else { throw LabError.last("receive", "socket of \(owner)") }
            sender = filled.address
            count = filled.result
        }
        return (bytes, sender.endpoint(transport))
    }

    /// The next of the errors that ICMP brought; `nil` when there is none within the time. Errors of this host's own
    /// making are passed over.
    func receiveError(atMost limit: Duration) throws -> nt_icmp_error? {
        let deadline = ContinuousClock.now + limit
        while true {
            var error = nt_icmp_error()
            switch nt_receive_icmp_error(descriptor.raw, &error) {
            case 1: return error
            case 0: continue
            case -EAGAIN: break
            case let code: throw LabError("receive error", "socket of \(owner)", .system(-code))
            }
            let left = deadline - .now
            guard left > .zero else { return nil }
            // Waits for an error and nothing else, which is what no events asked for means.
            var descriptors = [pollfd(fd: descriptor.raw, events: 0, revents: 0)]
            poll(&descriptors, 1, left.pollMilliseconds)
        }
    }

    /// Waits until there is something to read, or until `stop` is readable. `false` to stop.
    func waitToRead(orUntil stop: borrowing LinuxDescriptor) -> Bool {
        var descriptors = [
            pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0),
            pollfd(fd: stop.raw, events: Int16(POLLIN), revents: 0),
        ]
        var result: Int32
        repeat { result = poll(&descriptors, nfds_t(descriptors.count), -1) } while result < 0 && errno == EINTR
        return result > 0 && descriptors[1].revents == 0
    }

    /// Limits every later send, receive and connect.
    func setTimeout(_ limit: Duration) throws {
        try set(SOL_SOCKET, SO_RCVTIMEO, limit.timeval)
        try set(SOL_SOCKET, SO_SNDTIMEO, limit.timeval)
    }

    /// Ends a stream for both sides; who waits in ``receive(atMost:)`` goes on.
    func shutDown() {
        shutdown(descriptor.raw, Int32(SHUT_RDWR))
    }

    /// Makes closing send a reset (RST) instead of a FIN.
    func resetOnClose() throws {
        try set(SOL_SOCKET, SO_LINGER, linger(l_onoff: 1, l_linger: 0))
    }
}
