internal import CLinux
public import Netlink

/// A veth pair between two hosts, both ends up.
///
/// XDP sees what the other end sent as it left that host, so checksums must be complete and segments small: TX checksum
/// offload, TSO and GSO are off at both ends. GRO is on, which also gives a veth the NAPI context that
/// `XDP_REDIRECT` into it needs (`veth_set_features` in `drivers/net/veth.c`); for `XDP_TX` see
/// ``receiveTransmittedByXDP()``.
public struct Wire: Sendable {
    /// An end of a wire: a device of a host.
    public struct End: Sendable {
        /// The host.
        public let host: Host
        /// The device, as it was when the wire was made.
        public let device: Interface

        /// Leaves the checksums of what the host sends to the device, as a veth does that nobody has told otherwise: what
        /// leaves by this end then arrives at the other without (`CHECKSUM_PARTIAL`).
        public func offloadChecksums() throws {
            let name = device.name
            try host.namespace.run {
                let result = nt_set_offload(name, NT_OFFLOAD_TX_CHECKSUM, 1)
                guard result == 0 else { throw LabError("offload checksums to", name, .system(-result)) }
            }
        }
    }

    /// The end given first.
    public let a: End
    /// The end given second.
    public let b: End

    /// Joins two hosts. Device names are 1 to 15 bytes; hardware addresses are random unless given.
    public init(
        _ a: Host, _ aName: String, _ b: Host, _ bName: String, aMAC: MACAddress? = nil, bMAC: MACAddress? = nil
    ) throws {
        let peer = VethEnd(name: bName, hardwareAddress: bMAC, namespace: b.namespace.rawDescriptor)
        try a.namespace.withNetlink {
            try $0.createVeth(VethEnd(name: aName, hardwareAddress: aMAC), peer: peer)
        }
        // Both before either is up: a veth takes from XDP if its peer has GRO on when it goes up (`veth_set_xdp_features`
        // in `drivers/net/veth.c`).
        try Self.setOffloads(a, aName)
        try Self.setOffloads(b, bName)
        self.a = try Self.setUp(a, aName)
        self.b = try Self.setUp(b, bName)
    }

    /// Lets what the end given first sends by `XDP_TX` arrive at the other end at once. GRO does not do for that: a veth
    /// wakes its peer only if the peer has an XDP program (`veth_xdp_flush` in `drivers/net/veth.c`), which here lets
    /// everything pass.
    public func receiveTransmittedByXDP() throws {
        let program = nt_load_xdp_pass()
        guard program >= 0 else { throw LabError("load", "XDP program", .system(-program)) }
        let descriptor = LinuxDescriptor(owning: program)
        let index = b.device.index
        try b.host.namespace.withNetlink { [raw = descriptor.raw] in try $0.attachXDP(index, program: raw) }
    }

    /// Takes the wire away.
    public func cut() throws {
        let index = a.device.index
        try a.host.namespace.withNetlink { try $0.deleteInterface(index) }
    }

    private static func setOffloads(_ host: Host, _ name: String) throws {
        try host.namespace.run {
            for (offload, isOn) in [
                (NT_OFFLOAD_TSO, false), (NT_OFFLOAD_GSO, false), (NT_OFFLOAD_TX_CHECKSUM, false),
                (NT_OFFLOAD_GRO, true),
            ] {
                let result = nt_set_offload(name, offload, isOn ? 1 : 0)
                guard result == 0 else {
                    throw LabError("set offload \(offload.rawValue) of", "\(name) of \(host.name)", .system(-result))
                }
            }
        }
    }

    private static func setUp(_ host: Host, _ name: String) throws -> End {
        let index = try host.device(name).index
        try host.namespace.withNetlink { try $0.setUp(index) }
        return End(host: host, device: try host.device(name))
    }
}
