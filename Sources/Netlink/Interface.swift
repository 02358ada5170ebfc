internal import CLinux
internal import Glibc

/// A network interface as the kernel describes it.
public struct Interface: Sendable, Hashable {
    /// State bits of an interface (`IFF_*` of `include/uapi/linux/if.h`).
    public struct Flags: OptionSet, Sendable, Hashable {
        /// The kernel's bits.
        public let rawValue: UInt32

        /// Takes the kernel's bits.
        public init(rawValue: UInt32) {
            self.rawValue = rawValue
        }

        /// Set up by the administrator (`IFF_UP`).
        public static let up = Flags(rawValue: 1 << 0)
        /// The loopback interface (`IFF_LOOPBACK`).
        public static let loopback = Flags(rawValue: 1 << 3)
        /// Able to carry packets now: up and with a carrier (`IFF_RUNNING`).
        public static let running = Flags(rawValue: 1 << 6)
    }

    /// What kind of link layer headers packets have (`ARPHRD_*` of `include/uapi/linux/if_arp.h`).
    public struct HardwareType: RawRepresentable, Sendable, Hashable {
        /// The kernel's number.
        public let rawValue: UInt16

        /// Takes the kernel's number.
        public init(rawValue: UInt16) {
            self.rawValue = rawValue
        }

        /// Ethernet headers (`ARPHRD_ETHER`).
        public static let ethernet = HardwareType(rawValue: 1)
        /// The loopback interface, whose packets have Ethernet headers too (`ARPHRD_LOOPBACK`).
        public static let loopback = HardwareType(rawValue: 772)
        /// No link layer header: tun devices, WireGuard (`ARPHRD_NONE`).
        public static let none = HardwareType(rawValue: 0xFFFE)
    }

    /// The number of the interface in its network namespace, from 1.
    public let index: UInt32
    /// The name, 1 to 15 bytes. It can change.
    public let name: String
    /// What driver made it: `veth`, `bridge`, `vxlan`; `nil` for physical devices and the loopback (`IFLA_INFO_KIND`).
    public let kind: String?
    /// The link layer.
    public let hardwareType: HardwareType
    /// State bits.
    public let flags: Flags
    /// Largest packet in bytes, without link layer header.
    public let mtu: UInt32
    /// The Ethernet address; `nil` when the link layer has none, or one that is not 6 bytes long.
    public let hardwareAddress: MACAddress?
    /// The index of the other end of a veth or netkit pair, *in the other end's namespace* (`IFLA_LINK`).
    public let peerIndex: UInt32?
    /// The index of the bridge or bond that the interface is a port of (`IFLA_MASTER`).
    public let controllerIndex: UInt32?

    /// Set up by the administrator.
    public var isUp: Bool { flags.contains(.up) }
    /// Able to carry packets now.
    public var isRunning: Bool { flags.contains(.running) }
    /// The loopback interface.
    public var isLoopback: Bool { flags.contains(.loopback) }
}

extension Interface {
    /// Reads the payload of `RTM_NEWLINK` or `RTM_DELLINK`; `nil` for what does not describe an interface: garbage, and
    /// the messages of other families (a bridge tells of its ports with the same types, family `AF_BRIDGE`).
    package init?(payload: ArraySlice<UInt8>) {
        guard let header = payload.load(ifinfomsg.self), header.ifi_family == UInt8(AF_UNSPEC), header.ifi_index > 0
        else { return nil }
        var name = ""
        var kind: String?
        var mtu: UInt32 = 0
        var hardwareAddress: MACAddress?
        var link: UInt32?
        var controller: UInt32?
        for attribute in NetlinkAttributes(payload.dropFirst(MemoryLayout<ifinfomsg>.size)) {
            switch attribute.type {
            case IFLA_IFNAME: name = attribute.string
            case IFLA_LINKINFO: kind = attribute.nested[IFLA_INFO_KIND]?.string
            case IFLA_MTU: mtu = attribute.integer(UInt32.self) ?? 0
            case IFLA_ADDRESS: hardwareAddress = MACAddress(bytes: attribute.payload)
            case IFLA_LINK: link = attribute.integer(UInt32.self)
            case IFLA_MASTER: controller = attribute.integer(UInt32.self)
            default: break
            }
        }
        guard !name.isEmpty else { return nil }
        self.index = UInt32(header.ifi_index)
        self.name = name
        self.kind = kind
        self.hardwareType = HardwareType(rawValue: header.ifi_type)
        self.flags = Flags(rawValue: header.ifi_flags)
        self.mtu = mtu
        self.hardwareAddress = hardwareAddress
        self.peerIndex = kind == "veth" || kind == "netkit" ? link : nil
        self.controllerIndex = controller
    }
}
