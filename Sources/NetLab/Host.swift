public import NetTypes
public import Netlink
internal import Synchronization

/// A machine of a test network: a namespace with devices, addresses and routes.
public final class Host: Sendable {
    /// For messages, and what its servers answer with.
    public let name: String
    /// Where it lives.
    public let namespace: NetworkNamespace
    private let addressList = Mutex<[IPAddress]>([])

    /// Makes a host with nothing but a loopback interface, and with IPv6 that needs no time to settle: no duplicate
    /// address detection, no router discovery.
    public init(name: String) throws {
        self.name = name
        namespace = try NetworkNamespace(name: name)
        for scope in ["all", "default"] {
            try namespace.sysctl("ipv6/conf/\(scope)/accept_dad", "0")
            try namespace.sysctl("ipv6/conf/\(scope)/accept_ra", "0")
            try namespace.sysctl("ipv6/conf/\(scope)/disable_ipv6", "0")
            // Replies may go out another way than requests came in.
            try namespace.sysctl("ipv4/conf/\(scope)/rp_filter", "0")
        }
    }

    /// The addresses given by ``addAddress(_:prefixLength:device:)``, in that order.
    public var addresses: [IPAddress] { addressList.withLock { $0 } }

    /// The first address of a family.
    public func address(_ family: IPFamily) throws -> IPAddress {
        guard let address = addresses.first(where: { $0.family == family }) else {
            throw LabError("look up", "IPv\(family.rawValue) address of \(name)", .other("it has none"))
        }
        return address
    }

    /// The device of that name.
    public func device(_ name: String) throws -> Interface {
        let found = try namespace.withNetlink { try $0.interface(named: name) }
        guard let found else { throw LabError("look up", "device \(name) of \(self.name)", .other("it has none")) }
        return found
    }

    /// Gives a device an address.
    public func addAddress(_ address: IPAddress, prefixLength: Int? = nil, device name: String) throws {
        let index = try device(name).index
        try namespace.withNetlink {
            try $0.addAddress(address, prefixLength: prefixLength ?? address.family.bitWidth, to: index)
        }
        addressList.withLock { if !$0.contains(address) { $0.append(address) } }
    }

    /// Adds a route through a device.
    public func addRoute(to destination: CIDR, via gateway: IPAddress? = nil, device name: String) throws {
        let index = try device(name).index
        try namespace.withNetlink { try $0.addRoute(to: destination, via: gateway, interface: index) }
    }

    /// Makes this the route to a prefix, in one step if there is one already. An MTU is in bytes of IP, and holds for what
    /// is forwarded too.
    public func setRoute(
        to destination: CIDR, via gateway: IPAddress? = nil, device name: String, mtu: UInt32? = nil
    ) throws {
        let index = try device(name).index
        try namespace.withNetlink { try $0.setRoute(to: destination, via: gateway, interface: index, mtu: mtu) }
    }

    /// Adds the default route of the gateway's family.
    public func addDefaultRoute(via gateway: IPAddress, device name: String) throws {
        guard let everything = CIDR(IPAddress.zero(gateway.family), length: 0) else { return }
        try addRoute(to: everything, via: gateway, device: name)
    }

    /// Makes it a router, for both families.
    public func enableForwarding() throws {
        try namespace.sysctl("ipv4/ip_forward", "1")
        try namespace.sysctl("ipv6/conf/all/forwarding", "1")
    }
}

extension IPAddress {
    /// 0.0.0.0 or ::.
    static func zero(_ family: IPFamily) -> IPAddress {
        family == .v4 ? IPAddress(v4: 0) : IPAddress(v6: 0)
    }
}
