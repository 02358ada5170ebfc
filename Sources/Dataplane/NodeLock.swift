internal import BPF
internal import Glibc

/// Held by the one agent of a node, whatever directory it pins under: two datapaths on one device would translate each
/// other's packets. The kernel lets go of it with the process.
///
/// It is a name in the abstract namespace of Unix sockets, which each network namespace has for itself (unix(7)), as it
/// has its own devices.
public struct NodeLock: ~Copyable, Sendable {
    private static let name = "needletail-agent"
    private let descriptor: OwnedDescriptor

    /// Takes the lock; waits a moment for an agent that is just ending.
    ///
    /// - Throws: ``DatapathError/nodeLocked``.
    public init() throws {
        let opened = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard opened >= 0 else { throw DatapathError.nodeLocked }
        let socket = OwnedDescriptor(adopting: opened)
        var attempts = 20
        while !Self.bind(socket.raw) {
            attempts -= 1
            guard attempts > 0 else { throw DatapathError.nodeLocked }
            usleep(10_000)
        }
        descriptor = socket
    }

    private static func bind(_ socket: Int32) -> Bool {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { path in
            // The zero byte in front makes the name abstract.
            for (index, byte) in name.utf8.enumerated() { path[index + 1] = byte }
        }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + 1 + name.utf8.count)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(socket, $0, length) == 0 }
        }
    }

    /// Lets go of it before the process ends.
    public consuming func release() {}
}
