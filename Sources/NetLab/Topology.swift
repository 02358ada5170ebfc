public import NetTypes
internal import Netlink
internal import Synchronization

/// A node with pods behind it and clients outside, all in namespaces of their own:
///
///     outside eth0 ── eth0 node nt<pod> ── eth0 pod
///
/// Addresses, where k is the node's number, p counts pods and i outside hosts:
///
/// | | IPv4 | IPv6 |
/// | --- | --- | --- |
/// | pod p | 198.18.k.(10+p)/32 | 2001:db8:18:k::(10+p)/128 |
/// | node, towards every pod | 198.18.k.1/32 | 2001:db8:18:k::1/128 |
/// | node, `eth<i>` | 192.0.2.(64k+16i+1)/28 | 2001:db8:2:(4k+i)::1/64 |
/// | outside i | 192.0.2.(64k+16i+2)/28 | 2001:db8:2:(4k+i)::2/64 |
///
/// Pods and outside hosts have default routes through the node, so that VIPs (203.0.113.0/24, 2001:db8:113::/48) get
/// there. More nodes are joined by ``Wire`` and ``Host/addRoute(to:via:device:)``.
public final class Topology: Sendable {
    private struct Members {
        var hosts: [String: Host] = [:]
        var podDevices: [String: String] = [:]
        var podsMade = 0
    }

    /// The node.
    public let node: Host
    /// The node's number, 0 to 3.
    public let number: Int
    /// The node's devices towards outside hosts: `eth0`, and one more for each further host.
    public let externalDevices: [String]
    private let members = Mutex(Members())

    /// Builds the network. At most four outside hosts; names of pods must differ in their first 13 bytes.
    public init(podNames: [String], outsideNames: [String] = [], nodeName: String = "node", number: Int = 0) throws {
        guard (0..<4).contains(number), outsideNames.count <= 4 else {
            throw LabError("build", "topology \(number)", .other("there is room for nodes 0 to 3, each with 4 clients"))
        }
        self.number = number
        node = try Host(name: nodeName)
        externalDevices = outsideNames.indices.map { "eth\($0)" }
        try node.enableForwarding()
        for (i, name) in outsideNames.enumerated() { try addOutside(name, i) }
        for name in podNames { try addPod(name) }
    }

    /// A pod or outside host by name.
    public func host(_ name: String) throws -> Host {
        guard let host = members.withLock({ $0.hosts[name] }) else {
            throw LabError("look up", "host \(name)", .other("there is no such host"))
        }
        return host
    }

    /// The node's address towards the first outside host, or towards pods when there is none.
    public func nodeAddress(_ family: IPFamily) throws -> IPAddress { try node.address(family) }

    /// The node's devices towards pods, by pod.
    public var podDevices: [String: String] { members.withLock { $0.podDevices } }

    /// Starts a pod.
    @discardableResult
    public func addPod(_ name: String) throws -> Host {
        let device = "nt\(String(decoding: name.utf8.prefix(13), as: UTF8.self))"
        let place = members.withLock { members in
            members.podsMade += 1
            return members.podsMade - 1
        }
        guard place < 240 else { throw LabError("add", "pod \(name)", .other("a node has room for 240 pods in all")) }
        let pod = try Host(name: name)
        _ = try Wire(node, device, pod, "eth0")
        for family in IPFamily.allCases {
            let gateway = podAddress(family, 1)
            let address = podAddress(family, 10 + place)
            try node.addAddress(gateway, device: device)
            try node.addRoute(to: .only(address), device: device)
            try pod.addAddress(address, device: "eth0")
            try pod.addRoute(to: .only(gateway), device: "eth0")
            try pod.addDefaultRoute(via: gateway, device: "eth0")
        }
        members.withLock { members in
            members.hosts[name] = pod
            members.podDevices[name] = device
        }
        return pod
    }

    /// Stops a pod: its device is gone at once, its namespace with the last user. The address is not used again.
    public func removePod(_ name: String) throws {
        let (device, host) = members.withLock { members in
            (members.podDevices.removeValue(forKey: name), members.hosts.removeValue(forKey: name))
        }
        guard let device else { throw LabError("remove", "pod \(name)", .other("there is no such pod")) }
        // With the pod's namespace the device would go by itself, at some time.
        try withExtendedLifetime(host) {
            let index = try node.device(device).index
            try node.namespace.withNetlink { try $0.deleteInterface(index) }
        }
    }

    private func addOutside(_ name: String, _ i: Int) throws {
        let outside = try Host(name: name)
        let device = externalDevices[i]
        _ = try Wire(node, device, outside, "eth0")
        for family in IPFamily.allCases {
            let length = family == .v4 ? 28 : 64
            let gateway = outsideAddress(family, i, 1)
            try node.addAddress(gateway, prefixLength: length, device: device)
            try outside.addAddress(outsideAddress(family, i, 2), prefixLength: length, device: "eth0")
            try outside.addDefaultRoute(via: gateway, device: "eth0")
        }
        members.withLock { $0.hosts[name] = outside }
    }

    private func podAddress(_ family: IPFamily, _ last: Int) -> IPAddress {
        switch family {
        case .v4: IPAddress(v4: 0xC612_0000 | UInt32(number << 8 | last))
        case .v6: IPAddress(v6: 0x2001_0db8_0018_0000 << 64 | UInt128(number) << 64 | UInt128(last))
        }
    }

    private func outsideAddress(_ family: IPFamily, _ i: Int, _ last: Int) -> IPAddress {
        switch family {
        case .v4: IPAddress(v4: 0xC000_0200 | UInt32(64 * number + 16 * i + last))
        case .v6: IPAddress(v6: 0x2001_0db8_0002_0000 << 64 | UInt128(4 * number + i) << 64 | UInt128(last))
        }
    }
}

extension CIDR {
    /// The prefix that holds one address.
    static func only(_ address: IPAddress) throws -> CIDR { try prefix(address, address.family.bitWidth) }

    static func prefix(_ address: IPAddress, _ length: Int) throws -> CIDR {
        guard let prefix = CIDR(address, length: length) else {
            throw LabError("make", "prefix \(address)/\(length)", .other("the length does not fit the family"))
        }
        return prefix
    }
}
