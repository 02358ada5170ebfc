import Glibc
import NetTypes
import Synchronization

struct ClientError: Error, CustomStringConvertible {
    let description: String
}

/// A TCP client that sends and receives bytes as they are. Nothing waits longer than a minute.
final class RawClient {
    private let descriptor: Int32

    /// Connects to a loopback address.
    init(_ port: UInt16, _ family: IPFamily = .v4) throws {
        descriptor = socket(family == .v4 ? AF_INET : AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw ClientError(description: "no socket: \(errno)") }
        let result = withLoopback(family, port) { connect(descriptor, $0, $1) }
        guard result == 0 else { throw ClientError(description: "not connected: \(errno)") }
    }

    deinit { close(descriptor) }

    func send(_ text: String) async throws {
        var bytes = Array(text.utf8)[...]
        try await untilReady("sent") { () -> Void? in
            while !bytes.isEmpty {
                let count = bytes.withUnsafeBytes {
                    Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
                }
                guard count > 0 else { return nil }
                bytes = bytes.dropFirst(count)
            }
            return ()
        }
    }

    /// No more will be sent.
    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// What comes until the other side closes; a reset ends it too.
    func receiveAll() async throws -> String {
        var text: [UInt8] = []
        while let more = try await receive() { text += more }
        return String(decoding: text, as: UTF8.self)
    }

    /// What comes until a head and as much as its Content-Length says are there.
    func receiveAnswer() async throws -> RawAnswer {
        var bytes: [UInt8] = []
        while true {
            if let answer = RawAnswer(String(decoding: bytes, as: UTF8.self)), answer.isComplete { return answer }
            guard let more = try await receive() else {
                throw ClientError(description: "closed after \(bytes.count) bytes")
            }
            bytes += more
        }
    }

    private func receive() async throws -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = try await untilReady("received") {
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            return count < 0 && errno != ECONNRESET ? nil : count
        }
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    /// Tries until the socket does not say any more that it would wait. The threads that tests share must not wait.
    private func untilReady<R>(_ what: String, _ attempt: () -> R?) async throws -> R {
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            if let result = attempt() { return result }
            guard errno == EAGAIN, ContinuousClock.now < deadline else {
                throw ClientError(description: "nothing \(what): \(errno)")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Sends a request and waits for its answer.
    static func ask(_ port: UInt16, _ request: String, _ family: IPFamily = .v4) async throws -> RawAnswer {
        let client = try RawClient(port, family)
        try await client.send(request)
        return try await client.receiveAnswer()
    }

    static func get(_ port: UInt16, _ path: String, _ family: IPFamily = .v4) async throws -> RawAnswer {
        try await ask(port, "GET \(path) HTTP/1.1\r\nHost: test\r\n\r\n", family)
    }
}

private func withLoopback<R>(_ family: IPFamily, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R
{
    var storage = sockaddr_storage()
    return withUnsafeMutablePointer(to: &storage) { pointer in
        switch family {
        case .v4:
            pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                $0.pointee.sin_family = sa_family_t(AF_INET)
                $0.pointee.sin_port = port.bigEndian
                $0.pointee.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            }
        case .v6:
            pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                $0.pointee.sin6_family = sa_family_t(AF_INET6)
                $0.pointee.sin6_port = port.bigEndian
                $0.pointee.sin6_addr = in6addr_loopback
            }
        }
        let length = family == .v4 ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
        return pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(length)) }
    }
}

/// An answer as it came.
struct RawAnswer {
    /// Status line and headers, with the time taken out of `Date`.
    let head: String
    let body: String
    let length: Int?

    init?(_ text: String) {
        guard let end = text.utf8.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
        let lines = text[..<end.lowerBound].split(separator: "\r\n")
        head = lines.map { $0.hasPrefix("Date: ") && $0.hasSuffix(" GMT") ? "Date: DATE" : String($0) }
            .joined(separator: "\n")
        length = lines.compactMap { $0.hasPrefix("Content-Length: ") ? Int($0.dropFirst(16)) : nil }.first
        body = String(text[end.upperBound...])
    }

    var isComplete: Bool { body.utf8.count >= length ?? 0 }

    var status: Int? { head.split(separator: " ").dropFirst().first.flatMap { Int($0) } }
}

extension RawAnswer {
    func header(_ name: String) -> String? {
        head.split(separator: "\n").first { $0.hasPrefix("\(name): ") }.map { String($0.dropFirst(name.count + 2)) }
    }
}

/// A socket that holds a port of both families, or of one.
final class PortHolder {
    private let descriptor: Int32
    let port: UInt16

    /// Holds a port, 0 being one that the kernel chooses.
    init(_ family: IPFamily = .v4, port wanted: UInt16 = 0) throws {
        let descriptor = socket(family == .v4 ? AF_INET : AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
        var one: Int32 = 1
        if family == .v6 {
            setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &one, socklen_t(MemoryLayout<Int32>.size))
        }
        guard withLoopback(family, wanted, { bind(descriptor, $0, $1) }) == 0, listen(descriptor, 1) == 0 else {
            close(descriptor)
            throw ClientError(description: "no port: \(errno)")
        }
        var address = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        self.descriptor = descriptor
        // At the same place for both families.
        port = UInt16(bigEndian: address.sin6_port)
    }

    func release() { close(descriptor) }

    /// A port that is free at the moment, and that no other test of this process gets: below those that the kernel gives
    /// to clients, each but once.
    static func freePort() throws -> UInt16 {
        for _ in 0..<ports.count {
            let index = given.wrappingAdd(1, ordering: .relaxed).oldValue
            let port = ports.lowerBound + UInt16((first + index) % ports.count)
            let holders = families.compactMap { try? PortHolder($0, port: port) }
            for holder in holders { holder.release() }
            if holders.count == families.count { return port }
        }
        throw ClientError(description: "no free port")
    }

    /// Those that the kernel has.
    static let families: [IPFamily] = [.v4, .v6].filter { family in
        let holder = try? PortHolder(family)
        holder?.release()
        return holder != nil
    }

    private static let ports: Range<UInt16> = 12_000..<32_000
    private static let first = Int.random(in: 0..<ports.count)
    private static let given = Atomic<Int>(0)
}

/// Waits until something holds. The deadline is a guard against hanging.
func eventually(_ condition: () async throws -> Bool) async rethrows -> Bool {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
        if try await condition() { return true }
        try? await Task.sleep(for: .milliseconds(10))
    }
    return false
}
