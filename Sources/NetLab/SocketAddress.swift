package import Glibc
package import NetTypes

/// `struct sockaddr_in` or `sockaddr_in6` in a buffer that fits both.
package struct SocketAddress {
    private var storage = sockaddr_storage()
    private var length = socklen_t(MemoryLayout<sockaddr_storage>.size)

    /// An address and port to hand to the kernel.
    package init(_ address: IPAddress, _ port: UInt16) {
        let family = address.family.socketFamily
        length = socklen_t(address.family == .v4 ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size)
        // Both begin with the family and the port; sockaddr_in6 has a flow label before the address.
        let offset = address.family == .v4 ? 4 : 8
        withUnsafeMutableBytes(of: &storage) { bytes in
            bytes.storeBytes(of: sa_family_t(family), as: sa_family_t.self)
            bytes.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
            for (i, byte) in address.bytes.enumerated() { bytes[offset + i] = byte }
        }
    }

    /// What a system call fills in, together with the call's result.
    static func filled<R>(
        by call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> R
    ) -> (result: R, address: SocketAddress) {
        var address = SocketAddress(.zero(.v4), 0)
        address.length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &address.storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0, &address.length) }
        }
        return (result, address)
    }

    /// Hands the address to a system call.
    package func withPointer<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        withUnsafePointer(to: storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }

    /// The address and port, as that of a transport.
    func endpoint(_ transport: TransportProtocol) -> TransportEndpoint {
        withUnsafeBytes(of: storage) { bytes in
            let port = UInt16(bigEndian: bytes.load(fromByteOffset: 2, as: UInt16.self))
            let range = Int32(storage.ss_family) == AF_INET6 ? 8..<24 : 4..<8
            return TransportEndpoint(IPAddress(bytes: bytes[range]) ?? .zero(.v4), port, transport)
        }
    }
}

extension IPFamily {
    /// `AF_INET` or `AF_INET6`.
    package var socketFamily: Int32 { self == .v4 ? AF_INET : AF_INET6 }
}
