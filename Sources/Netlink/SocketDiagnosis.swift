internal import CLinux
internal import Glibc

/// What tells one socket from all others of its network namespace.
public struct SocketIdentity: Sendable, Hashable {
    /// Whether it is an IPv6 socket, whose addresses may be IPv4-mapped.
    public var isIPv6: Bool
    /// Its own address and its peer's: four words each.
    private var words: [UInt32]
    /// Its own port, in network byte order.
    public var sourcePort: UInt16
    /// Its peer's port, in network byte order.
    public var destinationPort: UInt16
    /// The index of the device it is bound to; 0: none.
    public var interface: UInt32
    /// The kernel's number of it, never another socket's.
    public var cookie: UInt64

    /// Puts the parts together, addresses as four words in network byte order.
    public init(
        isIPv6: Bool, source: (UInt32, UInt32, UInt32, UInt32), sourcePort: UInt16,
        destination: (UInt32, UInt32, UInt32, UInt32), destinationPort: UInt16, interface: UInt32, cookie: UInt64
    ) {
        self.isIPv6 = isIPv6
        words = [
            source.0, source.1, source.2, source.3, destination.0, destination.1, destination.2, destination.3,
        ]
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
        self.interface = interface
        self.cookie = cookie
    }

    fileprivate var wire: inet_diag_sockid {
        var id = inet_diag_sockid()
        id.idiag_sport = sourcePort
        id.idiag_dport = destinationPort
        id.idiag_src = (words[0], words[1], words[2], words[3])
        id.idiag_dst = (words[4], words[5], words[6], words[7])
        id.idiag_if = interface
        id.idiag_cookie = (UInt32(truncatingIfNeeded: cookie), UInt32(truncatingIfNeeded: cookie >> 32))
        return id
    }
}

/// The kernel's socket diagnosis (`sock_diag(7)`) of one network namespace.
public struct SocketDiagnosis: ~Copyable, Sendable {
    private var socket: NetlinkSocket

    /// Opens it for a network namespace, given as a path such as `/proc/1/ns/net`. Needs CAP_SYS_ADMIN for
    /// another one than the caller's.
    ///
    /// - Throws: `ENOENT` if there is no such file (any more).
    public init(networkNamespace path: String) throws(NetlinkError) {
        let opened = open(path, O_RDONLY | O_CLOEXEC)
        let failure = errno
        guard opened >= 0 else { throw NetlinkError(operation: "open", object: path, code: failure) }
        let namespace = LinuxDescriptor(owning: opened)
        let result = nt_netlink_open_in(namespace.raw, NETLINK_SOCK_DIAG)
        guard result >= 0 else {
            throw NetlinkError(operation: "open", object: "socket diagnosis in \(path)", code: -result)
        }
        socket = NetlinkSocket(adopting: LinuxDescriptor(owning: result))
    }

    /// Ends a UDP socket: who waits in it, or else receives from it next, is told `ECONNABORTED`, and it is not connected
    /// any more, so that sending fails with `EDESTADDRREQ`. Needs a kernel built with CONFIG_INET_DIAG_DESTROY.
    ///
    /// - Returns: `false` if there is no such socket (any more).
    /// - Throws: `EOPNOTSUPP` if the kernel cannot end sockets.
    public mutating func endUDP(_ identity: SocketIdentity) throws(NetlinkError) -> Bool {
        var request = inet_diag_req_v2()
        request.sdiag_family = UInt8(identity.isIPv6 ? AF_INET6 : AF_INET)
        request.sdiag_protocol = UInt8(IPPROTO_UDP)
        request.idiag_states = .max
        request.id = identity.wire
        var message = NetlinkMessage(type: Int(SOCK_DESTROY), flags: NLM_F_REQUEST | NLM_F_ACK)
        message.header(request)
        do {
            try socket.request(message, "end", on: "UDP socket")
            return true
        } catch {
            guard error.code == ENOENT else { throw error }
            return false
        }
    }
}
