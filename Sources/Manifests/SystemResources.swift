internal import Glibc

/// A file descriptor with one owner, closed at the end of its life.
struct OwnedDescriptor: ~Copyable, Sendable {
    let raw: Int32

    /// Takes over what a system call returned; throws `errno` if that is no descriptor.
    init(_ raw: Int32) throws(SystemError) {
        guard raw >= 0 else { throw SystemError(errno) }
        self.raw = raw
    }

    deinit { close(raw) }
}

/// What a system call failed with.
struct SystemError: Error, CustomStringConvertible {
    let code: Int32

    init(_ code: Int32) { self.code = code }

    var description: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
        return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

/// Tells one waiting thread to stop.
final class StopSignal: Sendable {
    private let receiver: OwnedDescriptor
    private let sender: OwnedDescriptor

    init() throws(SystemError) {
        var pair: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        guard socketpair(AF_UNIX, type, 0, &pair) == 0 else { throw SystemError(errno) }
        receiver = try OwnedDescriptor(pair[0])
        sender = try OwnedDescriptor(pair[1])
    }

    /// Becomes readable, and stays so, when ``stop()`` was called.
    var descriptor: Int32 { receiver.raw }

    func stop() { shutdown(sender.raw, Int32(SHUT_RDWR)) }
}

/// Waits until one of the descriptors is readable, for at most so many milliseconds. An interrupted wait counts as one
/// without result.
func waitReadable(_ descriptors: [Int32], milliseconds: Int32) -> [Bool] {
    var polled = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    guard poll(&polled, nfds_t(polled.count), milliseconds) > 0 else { return descriptors.map { _ in false } }
    return polled.map { $0.revents != 0 }
}

/// Runs a body on a thread of its own: it blocks for as long as it likes without holding up Swift's few pool threads.
func startThread(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    let box = Unmanaged.passRetained(Box(body))
    var thread = pthread_t()
    let code = pthread_create(
        &thread, nil,
        { argument in
            guard let argument else { return nil }
            Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body()
            return nil
        }, box.toOpaque())
    guard code == 0 else {
        box.release()
        throw SystemError(code)
    }
    pthread_detach(thread)
}
