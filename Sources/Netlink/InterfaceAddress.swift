internal import CLinux
internal import Glibc
public import NetTypes

/// An address of an interface.
public struct InterfaceAddress: Sendable, Hashable {
    /// How far an address is valid (`RT_SCOPE_*` of `include/uapi/linux/rtnetlink.h`).
    public struct Scope: RawRepresentable, Sendable, Hashable {
        /// The kernel's number; larger is narrower.
        public let rawValue: UInt8

        /// Takes the kernel's number.
        public init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// Everywhere (`RT_SCOPE_UNIVERSE`).
        public static let global = Scope(rawValue: 0)
        /// Within an IPv6 site (`RT_SCOPE_SITE`).
        public static let site = Scope(rawValue: 200)
        /// On one link (`RT_SCOPE_LINK`).
        public static let link = Scope(rawValue: 253)
        /// Inside this machine (`RT_SCOPE_HOST`).
        public static let host = Scope(rawValue: 254)
    }

    /// The interface.
    public let interfaceIndex: UInt32
    /// The interface's own address (not the far end's, on a point-to-point link).
    public let address: IPAddress
    /// Length of the connected prefix in bits.
    public let prefixLength: Int
    /// How far it is valid.
    public let scope: Scope
    /// The kernel's `IFA_F_*` bits.
    public let flags: UInt32

    /// Not to be used yet, or not at all: duplicate address detection is running or has failed (RFC 4862).
    public var isTentative: Bool { flags & UInt32(IFA_F_TENTATIVE | IFA_F_DADFAILED) != 0 && flags & optimistic == 0 }
    /// No longer to be used for new connections (RFC 4862).
    public var isDeprecated: Bool { flags & UInt32(IFA_F_DEPRECATED) != 0 }
    /// A privacy address that will be replaced (RFC 8981). The bit means "secondary" for IPv4, where it is nothing bad.
    public var isTemporary: Bool { address.family == .v6 && flags & UInt32(IFA_F_TEMPORARY) != 0 }
    /// An IPv4 address after the first of its prefix, which goes with that one (`IFA_F_SECONDARY`).
    public var isSecondary: Bool { address.family == .v4 && flags & UInt32(IFA_F_SECONDARY) != 0 }
    /// One that services may be offered on: neither tentative, nor deprecated, nor temporary.
    public var isUsable: Bool { !isTentative && !isDeprecated && !isTemporary }

    private var optimistic: UInt32 { UInt32(IFA_F_OPTIMISTIC) }
}

extension InterfaceAddress {
    /// Reads the payload of `RTM_NEWADDR` or `RTM_DELADDR`; `nil` for garbage and for other families.
    package init?(payload: ArraySlice<UInt8>) {
        guard let header = payload.load(ifaddrmsg.self), header.ifa_index > 0 else { return nil }
        let attributes = NetlinkAttributes(payload.dropFirst(MemoryLayout<ifaddrmsg>.size))
        // With a peer IFA_ADDRESS is the peer's; without one IPv6 has no IFA_LOCAL.
        guard let bytes = (attributes[IFA_LOCAL] ?? attributes[IFA_ADDRESS])?.payload,
            let address = IPAddress(bytes: bytes), header.ifa_family == address.family.socketFamily,
            header.ifa_prefixlen <= address.family.bitWidth
        else { return nil }
        self.interfaceIndex = header.ifa_index
        self.address = address
        self.prefixLength = Int(header.ifa_prefixlen)
        self.scope = Scope(rawValue: header.ifa_scope)
        // The header has room for eight bits of flags only.
        self.flags = attributes[IFA_FLAGS]?.integer(UInt32.self) ?? UInt32(header.ifa_flags)
    }
}

extension IPFamily {
    /// `AF_INET` or `AF_INET6`, in the width netlink headers have.
    var socketFamily: UInt8 { self == .v4 ? UInt8(AF_INET) : UInt8(AF_INET6) }
}
