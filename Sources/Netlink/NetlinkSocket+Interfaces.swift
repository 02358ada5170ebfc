internal import CLinux
internal import Glibc

/// One end of a veth pair that is to be made.
public struct VethEnd: Sendable, Hashable {
    /// The name, 1 to 15 bytes, free in the namespace.
    public var name: String
    /// A fixed Ethernet address, or `nil` for a random one.
    public var hardwareAddress: MACAddress?
    /// The namespace to make it in, as an open descriptor (borrowed for the call); `nil` for the socket's own.
    public var namespace: Int32?

    /// Describes an end.
    public init(name: String, hardwareAddress: MACAddress? = nil, namespace: Int32? = nil) {
        self.name = name
        self.hardwareAddress = hardwareAddress
        self.namespace = namespace
    }

    fileprivate func describe(in message: inout NetlinkMessage) {
        message.attribute(IFLA_IFNAME, string: name)
        if let hardwareAddress { message.attribute(IFLA_ADDRESS, bytes: hardwareAddress.bytes) }
        if let namespace { message.attribute(IFLA_NET_NS_FD, value: UInt32(bitPattern: namespace)) }
    }
}

extension NetlinkSocket {
    /// All interfaces of the namespace.
    public mutating func listInterfaces() throws(NetlinkError) -> [Interface] {
        var message = NetlinkMessage(type: RTM_GETLINK, flags: NLM_F_REQUEST | NLM_F_DUMP)
        message.header(ifinfomsg())
        message.attribute(IFLA_EXT_MASK, value: UInt32(RTEXT_FILTER_SKIP_STATS))
        return try dump(message, "list", on: "interfaces") { answer in
            Int(answer.type) == RTM_NEWLINK ? Interface(payload: answer.payload) : nil
        }
    }

    /// The interface of that name, `nil` when there is none.
    public mutating func interface(named name: String) throws(NetlinkError) -> Interface? {
        var message = NetlinkMessage(type: RTM_GETLINK, flags: NLM_F_REQUEST | NLM_F_ACK)
        message.header(ifinfomsg())
        message.attribute(IFLA_EXT_MASK, value: UInt32(RTEXT_FILTER_SKIP_STATS))
        message.attribute(IFLA_IFNAME, string: name)
        do {
            return try request(message, "look up", on: "interface \(name)").lazy
                .compactMap { Interface(payload: $0.payload) }.first
        } catch  where error.code == ENODEV {
            return nil
        }
    }

    /// Sets an interface up, or down.
    public mutating func setUp(_ index: UInt32, _ isUp: Bool = true) throws(NetlinkError) {
        var message = NetlinkMessage(type: RTM_NEWLINK, flags: NLM_F_REQUEST | NLM_F_ACK)
        var header = ifinfomsg(index: index)
        header.ifi_flags = isUp ? Interface.Flags.up.rawValue : 0
        header.ifi_change = Interface.Flags.up.rawValue
        message.header(header)
        try request(message, isUp ? "set up" : "set down", on: "interface \(index)")
    }

    /// Sets the largest IP packet an interface takes, in bytes.
    public mutating func setMTU(_ index: UInt32, _ bytes: UInt32) throws(NetlinkError) {
        var message = NetlinkMessage(type: RTM_NEWLINK, flags: NLM_F_REQUEST | NLM_F_ACK)
        message.header(ifinfomsg(index: index))
        message.attribute(IFLA_MTU, value: bytes)
        try request(message, "set MTU \(bytes)", on: "interface \(index)")
    }

    /// Runs an XDP program in the interface's driver. The program stays while the interface does; the descriptor is borrowed
    /// for the call.
    public mutating func attachXDP(_ index: UInt32, program: Int32) throws(NetlinkError) {
        var message = NetlinkMessage(type: RTM_NEWLINK, flags: NLM_F_REQUEST | NLM_F_ACK)
        message.header(ifinfomsg(index: index))
        message.attribute(IFLA_XDP) { xdp in
            xdp.attribute(IFLA_XDP_FD, value: program)
            xdp.attribute(IFLA_XDP_FLAGS, value: XDP_FLAGS_DRV_MODE)
        }
        try request(message, "attach XDP program to", on: "interface \(index)")
    }

    /// Makes a veth pair; both ends are down at first. It goes away with either end or either namespace.
    public mutating func createVeth(_ end: VethEnd, peer: VethEnd) throws(NetlinkError) {
        var message = NetlinkMessage(
            type: RTM_NEWLINK, flags: NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
        message.header(ifinfomsg())
        end.describe(in: &message)
        message.attribute(IFLA_LINKINFO) { info in
            info.attribute(IFLA_INFO_KIND, string: "veth")
            info.attribute(IFLA_INFO_DATA) { data in
                data.attribute(VETH_INFO_PEER) { other in
                    other.header(ifinfomsg())
                    peer.describe(in: &other)
                }
            }
        }
        try request(message, "create veth pair", on: "interfaces \(end.name) and \(peer.name)")
    }

    /// Removes an interface; a veth's other end goes with it.
    public mutating func deleteInterface(_ index: UInt32) throws(NetlinkError) {
        var message = NetlinkMessage(type: RTM_DELLINK, flags: NLM_F_REQUEST | NLM_F_ACK)
        message.header(ifinfomsg(index: index))
        try request(message, "delete", on: "interface \(index)")
    }

    /// Moves an interface to the namespace behind an open descriptor (borrowed for the call). It arrives down, without
    /// addresses, and perhaps with another index.
    public mutating func moveInterface(_ index: UInt32, toNamespace namespace: Int32) throws(NetlinkError) {
        var message = NetlinkMessage(type: RTM_NEWLINK, flags: NLM_F_REQUEST | NLM_F_ACK)
        message.header(ifinfomsg(index: index))
        message.attribute(IFLA_NET_NS_FD, value: UInt32(bitPattern: namespace))
        try request(message, "move to another namespace", on: "interface \(index)")
    }
}

extension ifinfomsg {
    fileprivate init(index: UInt32) {
        self.init()
        ifi_index = Int32(truncatingIfNeeded: index)
    }
}
