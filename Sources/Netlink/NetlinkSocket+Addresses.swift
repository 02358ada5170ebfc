internal import CLinux
public import NetTypes

extension NetlinkSocket {
    /// All IPv4 and IPv6 addresses of the namespace.
    public mutating func listAddresses() throws(NetlinkError) -> [InterfaceAddress] {
        var message = NetlinkMessage(type: RTM_GETADDR, flags: NLM_F_REQUEST | NLM_F_DUMP)
        message.header(ifaddrmsg())
        return try dump(message, "list", on: "addresses") { answer in
            Int(answer.type) == RTM_NEWADDR ? InterfaceAddress(payload: answer.payload) : nil
        }
    }

    /// Gives an interface an address, with a connected prefix of that many bits. IPv6 addresses are usable at once: no
    /// duplicate address detection.
    public mutating func addAddress(
        _ address: IPAddress, prefixLength: Int, to interface: UInt32
    ) throws(NetlinkError) {
        let message = NetlinkMessage.address(
            RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, address, prefixLength, interface)
        try request(message, "add address", on: "\(address)/\(prefixLength) on interface \(interface)")
    }

    /// Takes an address from an interface.
    public mutating func removeAddress(
        _ address: IPAddress, prefixLength: Int, from interface: UInt32
    ) throws(NetlinkError) {
        let message = NetlinkMessage.address(RTM_DELADDR, 0, address, prefixLength, interface)
        try request(message, "remove address", on: "\(address)/\(prefixLength) on interface \(interface)")
    }

    /// Adds a route to the main table: to `destination` through the interface, by a gateway of the same family if one
    /// is given. A prefix of length 0 is the default route.
    public mutating func addRoute(
        to destination: CIDR, via gateway: IPAddress? = nil, interface: UInt32
    ) throws(NetlinkError) {
        let message = NetlinkMessage.route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, destination, gateway, interface)
        try request(message, "add route", on: Self.routeName(destination, gateway, interface))
    }

    /// Makes this the route to `destination`, in one step if there is another of the same kind. An MTU (L3 bytes) holds
    /// for what is forwarded too, whatever path MTU discovery says.
    public mutating func setRoute(
        to destination: CIDR, via gateway: IPAddress? = nil, interface: UInt32, mtu: UInt32? = nil
    ) throws(NetlinkError) {
        var message = NetlinkMessage.route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, destination, gateway, interface)
        if let mtu {
            message.attribute(Int(RTA_METRICS.rawValue)) { metrics in
                metrics.attribute(RTAX_LOCK, value: UInt32(1) << RTAX_MTU)
                metrics.attribute(RTAX_MTU, value: mtu)
            }
        }
        try request(message, "set route", on: Self.routeName(destination, gateway, interface))
    }

    /// Removes a route that ``addRoute(to:via:interface:)`` added.
    public mutating func removeRoute(
        to destination: CIDR, via gateway: IPAddress? = nil, interface: UInt32
    ) throws(NetlinkError) {
        let message = NetlinkMessage.route(RTM_DELROUTE, 0, destination, gateway, interface)
        try request(message, "remove route", on: Self.routeName(destination, gateway, interface))
    }

    /// Fixes the link layer address of a neighbour, over whatever was known of it before.
    public mutating func addNeighbor(
        _ address: IPAddress, at hardwareAddress: MACAddress, interface: UInt32
    ) throws(NetlinkError) {
        var message = NetlinkMessage(
            type: RTM_NEWNEIGH, flags: NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
        var header = ndmsg()
        header.ndm_family = address.family.socketFamily
        header.ndm_ifindex = Int32(truncatingIfNeeded: interface)
        header.ndm_state = UInt16(NUD_PERMANENT)
        message.header(header)
        message.attribute(NDA_DST, bytes: address.bytes)
        message.attribute(NDA_LLADDR, bytes: hardwareAddress.bytes)
        try request(message, "add neighbor", on: "\(address) at \(hardwareAddress) on interface \(interface)")
    }

    private static func routeName(_ destination: CIDR, _ gateway: IPAddress?, _ interface: UInt32) -> String {
        "\(destination)\(gateway.map { " via \($0)" } ?? "") on interface \(interface)"
    }
}

extension NetlinkMessage {
    fileprivate static func address(
        _ type: Int, _ flags: Int32, _ address: IPAddress, _ prefixLength: Int, _ interface: UInt32
    ) -> NetlinkMessage {
        var message = NetlinkMessage(type: type, flags: NLM_F_REQUEST | NLM_F_ACK | flags)
        var header = ifaddrmsg()
        header.ifa_family = address.family.socketFamily
        // The kernel refuses what does not fit the family.
        header.ifa_prefixlen = UInt8(clamping: prefixLength)
        header.ifa_index = interface
        message.header(header)
        message.attribute(IFA_LOCAL, bytes: address.bytes)
        message.attribute(IFA_ADDRESS, bytes: address.bytes)
        if address.family == .v6 { message.attribute(IFA_FLAGS, value: UInt32(IFA_F_NODAD)) }
        return message
    }

    fileprivate static func route(
        _ type: Int, _ flags: Int32, _ destination: CIDR, _ gateway: IPAddress?, _ interface: UInt32
    ) -> NetlinkMessage {
        var message = NetlinkMessage(type: type, flags: NLM_F_REQUEST | NLM_F_ACK | flags)
        var header = rtmsg()
        header.rtm_family = destination.family.socketFamily
        header.rtm_dst_len = UInt8(clamping: destination.length)
        header.rtm_table = UInt8(RT_TABLE_MAIN.rawValue)
        header.rtm_protocol = UInt8(RTPROT_STATIC)
        // IPv4 wants the scope of a directly connected destination said; IPv6 has no such notion.
        let isConnected = gateway == nil && destination.family == .v4
        header.rtm_scope = UInt8(isConnected ? RT_SCOPE_LINK.rawValue : RT_SCOPE_UNIVERSE.rawValue)
        header.rtm_type = UInt8(RTN_UNICAST)
        message.header(header)
        if destination.length > 0 { message.attribute(Int(RTA_DST.rawValue), bytes: destination.base.bytes) }
        if let gateway { message.attribute(Int(RTA_GATEWAY.rawValue), bytes: gateway.bytes) }
        message.attribute(Int(RTA_OIF.rawValue), value: interface)
        return message
    }
}
