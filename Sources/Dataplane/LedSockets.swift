internal import BPF
internal import Glibc
public import NeedletailABI
internal import Netlink

/// A connected UDP socket that was led to a backend when it connected.
public struct LedSocket: Sendable {
    /// The service port it asked for.
    public let service: ServiceID
    /// The backend it was given.
    public let backend: BackendID
    /// Whether its frontend or its backend is no more what it was.
    public let isOver: Bool
    /// The inode number of its network namespace.
    let networkNamespace: UInt64
    let identity: SocketIdentity

    init(_ record: nt_led_socket) {
        service = record.service
        backend = record.backend
        isOver = record.over != 0
        networkNamespace = record.netns
        identity = SocketIdentity(
            isIPv6: Int32(record.family) == AF_INET6, source: record.src.w, sourcePort: record.sport.rawValue,
            destination: record.dst.w, destinationPort: record.dport.rawValue, interface: record.ifindex,
            cookie: record.cookie)
    }
}

/// Finds connected UDP sockets whose backend serves them no more, and ends them, so that their owners connect again.
///
/// An iterator program over the sockets' storage lists all that the hooks have led somewhere, in all network namespaces,
/// and none that went to a backend's address by themselves. The kernel ends them by `sock_diag` (Linux 4.9), each
/// in its own namespace.
public struct LedSockets: Sendable {
    private let storage: SocketStorage
    private let iterator: Program

    init(storage: SocketStorage, iterator: Program) {
        self.storage = storage
        self.iterator = iterator
    }

    /// What came of a pass.
    public struct Outcome: Sendable {
        /// Sockets that were ended.
        public var ended = 0
        /// Sockets that should have been and are there still, and why for one of them.
        public var failed = 0
        /// Why, for the last of them.
        public var failure: String?
    }

    /// All of them.
    public func list() throws -> [LedSocket] {
        try storage.records(by: iterator, of: nt_led_socket.self).map(LedSocket.init)
    }

    /// Ends those that are over, and those for which `isOver` holds.
    ///
    /// - Throws: when they cannot be listed.
    public func end(where isOver: (LedSocket) -> Bool) throws -> Outcome {
        let sockets = try list().filter { $0.isOver || isOver($0) }
        var outcome = Outcome()
        guard !sockets.isEmpty else { return outcome }
        let groups = Dictionary(grouping: sockets, by: \.networkNamespace)
        let paths = NetworkNamespace.paths(of: Set(groups.keys))
        for (namespace, sockets) in groups {
            guard let path = paths[namespace] else {
                outcome.failed += sockets.count
                outcome.failure = "no process is in network namespace \(namespace)"
                continue
            }
            do {
                var diagnosis = try SocketDiagnosis(networkNamespace: path)
                for socket in sockets {
                    // Its owner may have closed it by now.
                    if try diagnosis.endUDP(socket.identity) { outcome.ended += 1 }
                }
            } catch {
                outcome.failed += sockets.count
                outcome.failure = "\(error)"
            }
        }
        return outcome
    }
}
