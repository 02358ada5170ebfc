public import BPF
internal import NeedletailABI
public import NetTypes

/// What the programs are to know of a device.
public struct DeviceRecord: Sendable, Hashable {
    /// What it is to the datapath.
    public var role: DeviceRole
    /// Whether XDP may send packets out of it.
    public var takesFromXDP: Bool
    /// The source of what is masqueraded out of it, by family; where it has none, the node's is used.
    public var addresses: [IPFamily: IPAddress]

    /// Puts the parts together.
    public init(role: DeviceRole, takesFromXDP: Bool, addresses: [IPFamily: IPAddress]) {
        self.role = role
        self.takesFromXDP = takesFromXDP
        self.addresses = addresses
    }

    init(_ wire: nt_device) {
        role = wire.flags & NT_DEVICE_EXTERNAL != 0 ? .external : .workload
        takesFromXDP = wire.flags & NT_DEVICE_XDP != 0
        addresses = [IPFamily: IPAddress](wire.addr4, wire.addr6)
    }

    var wire: nt_device {
        nt_device(
            flags: (role == .external ? NT_DEVICE_EXTERNAL : NT_DEVICE_WORKLOAD) | (takesFromXDP ? NT_DEVICE_XDP : 0),
            addr4: addresses[.v4]?.words.0 ?? 0, addr6: addresses[.v6]?.words ?? (0, 0, 0, 0))
    }
}

extension Dictionary where Key == IPFamily, Value == IPAddress {
    /// From words in network byte order; zeros are no address.
    fileprivate init(_ v4: UInt32, _ v6: (UInt32, UInt32, UInt32, UInt32)) {
        self.init()
        let both = [IPAddress(words: (v4, 0, 0, 0), .v4), IPAddress(words: v6, .v6)]
        for address in both where !address.isUnspecified { self[address.family] = address }
    }
}

/// What an agent has told the programs of the node and its devices.
public struct NodeRecords: Sendable, Hashable {
    /// Of the node.
    public var state: NodeState
    /// Of its devices, by index.
    public var devices: [UInt32: DeviceRecord]

    /// Puts the two together.
    public init(state: NodeState = NodeState(), devices: [UInt32: DeviceRecord] = [:]) {
        self.state = state
        self.devices = devices
    }
}

/// The programs' record of the node's devices, kept in step by the agent.
public struct DeviceTable: Sendable {
    private let map: BPFMap<UInt32, nt_device>
    /// What the map holds, by the device's index.
    public private(set) var records: [UInt32: DeviceRecord] = [:]

    /// Reads what an earlier agent wrote.
    public init(_ maps: DatapathMaps) throws(BPFError) {
        map = maps.devices
        for (index, wire) in try map.entries() { records[index] = DeviceRecord(wire) }
    }

    /// Writes what has changed: all records first, then what is to go.
    public mutating func store(_ wanted: [UInt32: DeviceRecord]) throws(BPFError) {
        for (index, record) in wanted where records[index] != record {
            try map.update(index, record.wire)
            records[index] = record
        }
        for index in records.keys where wanted[index] == nil {
            try map.delete(index)
            records[index] = nil
        }
    }
}

/// What the programs are to know of the node.
public struct NodeState: Sendable, Hashable {
    /// The most service CIDRs of a family that are used.
    public static let maxServiceCIDRs = Int(NT_SERVICE_CIDRS)

    /// The sources of what is masqueraded out of devices without an address of the family.
    public var addresses: [IPFamily: IPAddress] = [:]
    /// Prefixes in which an address that no Service has is refused; of each family the first
    /// ``maxServiceCIDRs``, in order.
    public private(set) var serviceCIDRs: [CIDR]
    /// By family, the prefix whose addresses count as pods of this node also behind external devices; one of length 0
    /// is none.
    public var podPrefixes: [IPFamily: CIDR]
    /// From the first to the last address of ClusterIPs and service CIDRs, by family: outside of it the programs need
    /// not look any further.
    public private(set) var clusterRange: [IPFamily: ClosedRange<IPAddress>]

    /// With addresses, ClusterIPs and prefixes.
    public init(
        addresses: [IPFamily: IPAddress] = [:], clusterIPs: [IPAddress] = [], serviceCIDRs: [CIDR] = [],
        podPrefixes: [IPFamily: CIDR] = [:]
    ) {
        self.addresses = addresses
        self.podPrefixes = podPrefixes
        let prefixes = Set(serviceCIDRs).sorted()
        self.serviceCIDRs = IPFamily.allCases.flatMap { family in
            prefixes.filter { $0.family == family && $0.length > 0 }.prefix(Self.maxServiceCIDRs)
        }
        clusterRange = Self.clusterRange(clusterIPs, self.serviceCIDRs)
    }

    /// The range by family that all of them lie in; none of a family that has none.
    public static func clusterRange(
        _ clusterIPs: some Sequence<IPAddress>, _ serviceCIDRs: some Sequence<CIDR>
    ) -> [IPFamily: ClosedRange<IPAddress>] {
        var ranges: [IPFamily: ClosedRange<IPAddress>] = [:]
        func include(_ first: IPAddress, _ last: IPAddress) {
            let range = ranges[first.family]
            ranges[first.family] = min(range?.lowerBound ?? first, first)...max(range?.upperBound ?? last, last)
        }
        for address in clusterIPs { include(address, address) }
        for prefix in serviceCIDRs { include(prefix.base, prefix.last) }
        return ranges
    }

    init(_ wire: nt_node) {
        addresses = [IPFamily: IPAddress](wire.addr4, wire.addr6)
        let cidrs4 = withUnsafeBytes(of: wire.cidr4) { Array($0.bindMemory(to: nt_cidr4.self)) }
        let cidrs6 = withUnsafeBytes(of: wire.cidr6) { Array($0.bindMemory(to: nt_cidr6.self)) }
        serviceCIDRs = cidrs4.compactMap { CIDR($0) } + cidrs6.compactMap { CIDR($0) }
        podPrefixes = [:]
        podPrefixes[.v4] = CIDR(wire.pods4)
        podPrefixes[.v6] = CIDR(wire.pods6)
        clusterRange = [:]
        if wire.cluster_last4 != 0, wire.cluster_first4 <= wire.cluster_last4 {
            clusterRange[.v4] = IPAddress(v4: wire.cluster_first4)...IPAddress(v4: wire.cluster_last4)
        }
        let (first, last) = (UInt128(wire.cluster_first6), UInt128(wire.cluster_last6))
        if last != 0, first <= last { clusterRange[.v6] = IPAddress(v6: first)...IPAddress(v6: last) }
    }

    var wire: nt_node {
        var node = nt_node()
        node.addr4 = addresses[.v4]?.words.0 ?? 0
        node.addr6 = addresses[.v6]?.words ?? (0, 0, 0, 0)
        // The first above the last: there is none.
        (node.cluster_first4, node.cluster_last4) = (1, 0)
        (node.cluster_first6, node.cluster_last6) = ((0, 1), (0, 0))
        if let range = clusterRange[.v4] {
            node.cluster_first4 = UInt32(range.lowerBound.bits)
            node.cluster_last4 = UInt32(range.upperBound.bits)
        }
        if let range = clusterRange[.v6] {
            node.cluster_first6 = range.lowerBound.bits.halves
            node.cluster_last6 = range.upperBound.bits.halves
        }
        withUnsafeMutableBytes(of: &node.cidr4) { bytes in
            let slots = bytes.bindMemory(to: nt_cidr4.self)
            for (slot, prefix) in zip(slots.indices, serviceCIDRs.filter { $0.family == .v4 }) {
                slots[slot] = prefix.wire4
            }
        }
        withUnsafeMutableBytes(of: &node.cidr6) { bytes in
            let slots = bytes.bindMemory(to: nt_cidr6.self)
            for (slot, prefix) in zip(slots.indices, serviceCIDRs.filter { $0.family == .v6 }) {
                slots[slot] = prefix.wire6
            }
        }
        if let prefix = podPrefixes[.v4] { node.pods4 = prefix.wire4 }
        if let prefix = podPrefixes[.v6] { node.pods6 = prefix.wire6 }
        return node
    }
}

extension UInt128 {
    fileprivate init(_ halves: (UInt64, UInt64)) { self = UInt128(halves.0) << 64 | UInt128(halves.1) }

    /// High half first.
    fileprivate var halves: (UInt64, UInt64) { (UInt64(self >> 64), UInt64(truncatingIfNeeded: self)) }
}

extension CIDR {
    /// One of length 0 is not to be told from none.
    fileprivate init?(_ wire: nt_cidr4) {
        guard wire.mask != 0 else { return nil }
        self.init(IPAddress(v4: wire.addr), length: wire.mask.nonzeroBitCount)
    }

    fileprivate init?(_ wire: nt_cidr6) {
        let mask = UInt128(wire.mask)
        guard mask != 0 else { return nil }
        self.init(IPAddress(v6: UInt128(wire.addr)), length: mask.nonzeroBitCount)
    }

    fileprivate var wire4: nt_cidr4 { nt_cidr4(addr: UInt32(base.bits), mask: UInt32(mask)) }

    fileprivate var wire6: nt_cidr6 { nt_cidr6(addr: base.bits.halves, mask: mask.halves) }

    /// The bits of an address that say whether it is in the prefix.
    fileprivate var mask: UInt128 { base.family.allOnes & ~hostBits }

    fileprivate var last: IPAddress {
        let bits = base.bits | hostBits
        return family == .v4 ? IPAddress(v4: UInt32(bits)) : IPAddress(v6: bits)
    }

    private var hostBits: UInt128 { length == 0 ? family.allOnes : family.allOnes >> UInt128(length) }
}

extension IPFamily {
    fileprivate var allOnes: UInt128 { self == .v4 ? UInt128(UInt32.max) : .max }
}

extension DatapathMaps {
    /// What the agent wrote of the node's devices, by index.
    public func deviceRecords() throws(BPFError) -> [UInt32: DeviceRecord] { try DeviceTable(self).records }

    /// What the agent wrote of the node.
    public func nodeState() throws(BPFError) -> NodeState { NodeState(try node.lookup(0) ?? nt_node()) }

    /// Tells the programs of the node.
    public func store(_ state: NodeState) throws(BPFError) { try node.update(0, state.wire) }
}
