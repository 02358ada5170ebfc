public import NetTypes

/// Numbers of the protocols above Ethernet (IANA "IEEE 802 numbers").
public enum EtherType {
    /// IPv4.
    public static let ipv4: UInt16 = 0x0800
    /// ARP.
    public static let arp: UInt16 = 0x0806
    /// IPv6.
    public static let ipv6: UInt16 = 0x86DD
    /// A customer VLAN tag (802.1Q).
    public static let vlan: UInt16 = 0x8100
    /// A service VLAN tag (802.1ad).
    public static let serviceVLAN: UInt16 = 0x88A8
}

/// A VLAN tag.
public struct VLANTag: Sendable, Hashable {
    /// ``EtherType/vlan`` or ``EtherType/serviceVLAN``.
    public var type: UInt16
    /// Priority, drop eligibility and VLAN id, as in the header.
    public var control: UInt16

    /// A tag with priority 0, an 802.1Q one unless said otherwise.
    public init(id: UInt16, type: UInt16 = EtherType.vlan) {
        self.type = type
        control = id & 0xFFF
    }
}

/// An Ethernet header and its VLAN tags, outermost first.
public struct LinkHeader: Sendable, Hashable {
    /// The receiver's MAC address, 6 bytes.
    public var destination: [UInt8] = [0x02, 0, 0, 0, 0, 0x02]
    /// The sender's MAC address, 6 bytes.
    public var source: [UInt8] = [0x02, 0, 0, 0, 0, 0x01]
    /// VLAN tags, outermost first.
    public var tags: [VLANTag] = []
    /// The type after the tags; `nil` for that of what follows.
    public var type: UInt16?

    /// Untagged, with locally administered addresses.
    public init() {}

    func bytes(carrying followingType: UInt16) -> [UInt8] {
        var bytes = destination + source
        for tag in tags {
            bytes.append(tag.type)
            bytes.append(tag.control)
        }
        bytes.append(type ?? followingType)
        return bytes
    }
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
public struct ARPMessage: Sendable, Hashable {
    /// 1 for a request, 2 for a reply.
    public var operation: UInt16 = 1
    /// The sender's MAC address, 6 bytes.
    public var senderMAC: [UInt8] = LinkHeader().source
    /// The sender's IPv4 address.
    public var sender: IPAddress
    /// The IPv4 address asked for.
    public var target: IPAddress

    /// "Who has `target`? Tell `sender`."
    public init(whoHas target: IPAddress, tell sender: IPAddress) {
        self.target = target
        self.sender = sender
    }

    var bytes: [UInt8] {
        var bytes: [UInt8] = [0, 1, 8, 0, 6, 4]
        bytes.append(operation)
        return bytes + senderMAC + sender.bytes + [0, 0, 0, 0, 0, 0] + target.bytes
    }
}
