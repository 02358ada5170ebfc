import NeedletailABI
import NetLab
import NetTypes
import Netlink
import ReferenceModel

/// A node in a namespace of its own, whose routing table the model knows too.
///
/// | device | IPv4 | IPv6 | of the agent's devices |
/// | --- | --- | --- | --- |
/// | ext0 | 192.0.2.1/28 | 2001:db8:2:0::1/64 | external, XDP may send out of it |
/// | ext1 | 192.0.2.17/28 | 2001:db8:2:1::1/64 | external, XDP may not; without an address of its own for masquerading |
/// | ext2 | 192.0.2.33/28 | 2001:db8:2:2::1/64 | external, XDP may send out of it |
/// | pod0-2 | | | workload |
///
/// Behind `ext<i>`, gateway .2 (::2), are clients 203.0.113.(64i)/26 (2001:db8:c:i::/64) and pods 198.18.(1+i).0/24
/// (2001:db8:b:(1+i)::/64). Behind 192.0.2.5, which nobody knows the hardware address of, are clients
/// 203.0.113.192/26 (2001:db8:c:3::/64) and pods 198.18.4.0/24 (2001:db8:b:4::/64). Nothing leads to pods
/// 198.18.5.0/24 (2001:db8:b:5::/64).
struct TestNode: Sendable {
    let host: Host
    private let far: Host
    let devices: [String: ModelDevice]
    var model: ModelNode

    static let externalDevices = ["ext0", "ext1", "ext2"]
    static let podDevices = ["pod0", "pod1", "pod2"]
    static let natPorts: ClosedRange<UInt16> = 61_000...61_039
    static let serviceCIDRs = ["198.19.0.0/24", "2001:db8:f::/112"].compactMap { CIDR($0) }

    /// All pods of ``pod(_:_:_:)``, those behind external devices too.
    static let podPrefixes = ["198.18.0.0/21", "2001:db8:b::/48"].compactMap { CIDR($0) }

    static func link(_ family: IPFamily, _ device: Int, _ last: Int) -> IPAddress {
        family == .v4
            ? IPAddress(v4: 0xC000_0200 + UInt32(16 * device + last))
            : IPAddress(v6: 0x2001_0DB8_0002_0000 << 64 | UInt128(device) << 64 | UInt128(last))
    }

    /// A client of group 0 to 3; `number` below 60.
    static func client(_ family: IPFamily, _ group: Int, _ number: Int) -> IPAddress {
        family == .v4
            ? IPAddress(v4: 0xCB00_7100 + UInt32(64 * group + number + 1))
            : IPAddress(v6: 0x2001_0DB8_000C_0000 << 64 | UInt128(group) << 64 | UInt128(number + 1))
    }

    /// A pod: in group 0 on this node, behind `pod<number>`; else elsewhere.
    static func pod(_ family: IPFamily, _ group: Int, _ number: Int) -> IPAddress {
        family == .v4
            ? IPAddress(v4: 0xC612_0000 + UInt32(256 * group + 10 + number))
            : IPAddress(v6: 0x2001_0DB8_000B_0000 << 64 | UInt128(group) << 64 | UInt128(10 + number))
    }

    private static func prefix(_ address: IPAddress, _ v4: Int, _ v6: Int) throws -> CIDR {
        guard let prefix = CIDR(address, length: address.family == .v4 ? v4 : v6) else { throw Unbuildable() }
        return prefix
    }

    struct Unbuildable: Error {}

    init() throws {
        host = try Host(name: "node")
        far = try Host(name: "far")
        var devices: [String: ModelDevice] = [:]
        for (number, name) in (Self.externalDevices + Self.podDevices).enumerated() {
            let hardware = MACAddress(bits: 0x0200_0000_0100 + UInt64(number))
            let wire = try Wire(host, name, far, name, aMAC: hardware)
            let flags =
                name.hasPrefix("pod")
                ? NT_DEVICE_WORKLOAD : name == "ext1" ? NT_DEVICE_EXTERNAL : NT_DEVICE_EXTERNAL | NT_DEVICE_XDP
            devices[name] = ModelDevice(
                index: wire.a.device.index, flags: flags, addresses: [:], hardwareAddress: hardware.bytes)
        }
        try host.enableForwarding()
        self.devices = devices
        var routes: [(prefix: CIDR, route: ModelRoute)] = []
        var model = ModelNode(
            devices: [], addresses: [:], routes: [], natPorts: Self.natPorts, udpIdle: 223,
            serviceCIDRs: Self.serviceCIDRs, podPrefixes: Self.podPrefixes)
        for family in IPFamily.allCases {
            for (number, name) in Self.externalDevices.enumerated() {
                let device = try Self.found(devices[name])
                let own = Self.link(family, number, 1)
                try host.addAddress(own, prefixLength: family == .v4 ? 28 : 64, device: name)
                let connected = ModelRoute.out(device: device.index, neighbour: nil, mtu: 1500)
                routes.append((try Self.prefix(own, 28, 64), connected))
                routes.append((try Self.prefix(own, 32, 128), .own))
                let gateway = Self.link(family, number, 2)
                let hardware = MACAddress(bits: 0x0200_0000_0200 + UInt64(number))
                let route = ModelRoute.out(device: device.index, neighbour: hardware.bytes, mtu: 1500)
                let index = device.index
                try host.namespace.withNetlink { try $0.addNeighbor(gateway, at: hardware, interface: index) }
                routes.append((try Self.prefix(gateway, 32, 128), route))
                for behind in [Self.client(family, number, 0), Self.pod(family, 1 + number, 0)] {
                    let prefix = try Self.prefix(behind, behind.bits >> 16 == 0xC612 ? 24 : 26, 64)
                    try host.addRoute(to: prefix, via: gateway, device: name)
                    routes.append((prefix, route))
                }
                model.devices[index] = device
            }
            let unknown = Self.link(family, 0, 5)
            for behind in [Self.client(family, 3, 0), Self.pod(family, 4, 0)] {
                let prefix = try Self.prefix(behind, behind.bits >> 16 == 0xC612 ? 24 : 26, 64)
                try host.addRoute(to: prefix, via: unknown, device: "ext0")
                let device = try Self.found(devices["ext0"])
                routes.append((prefix, .out(device: device.index, neighbour: nil, mtu: 1500)))
            }
            for (number, name) in Self.podDevices.enumerated() {
                let device = try Self.found(devices[name])
                let index = device.index
                let pod = Self.pod(family, 0, number)
                let hardware = MACAddress(bits: 0x0200_0000_0300 + UInt64(number))
                try host.addRoute(to: try Self.prefix(pod, 32, 128), device: name)
                try host.namespace.withNetlink { try $0.addNeighbor(pod, at: hardware, interface: index) }
                routes.append(
                    (
                        try Self.prefix(pod, 32, 128),
                        .out(device: index, neighbour: hardware.bytes, mtu: 1500)
                    ))
                model.devices[index] = device
            }
            model.addresses[family] = Self.link(family, 0, 1)
        }
        // Both families of a device that has an address of its own.
        for (number, name) in Self.externalDevices.enumerated() where name != "ext1" {
            let device = try Self.found(devices[name])
            model.devices[device.index]?.addresses = [.v4: Self.link(.v4, number, 1), .v6: Self.link(.v6, number, 1)]
        }
        model.routes = routes
        self.model = model
    }

    private static func found<T>(_ value: T?) throws -> T {
        guard let value else { throw Unbuildable() }
        return value
    }

    func index(_ device: String) -> UInt32 { devices[device]?.index ?? 0 }
}
