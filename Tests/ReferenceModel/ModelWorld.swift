public import NeedletailABI
public import NetTypes
public import ServiceModel

/// A member of a backend set.
public struct ModelMember: Sendable, Hashable {
    /// Where it is reached.
    public var endpoint: TransportEndpoint
    /// Its share.
    public var weight: UInt32
    /// Whether the cluster says that it runs on this node.
    public var isLocal: Bool

    /// A member.
    public init(endpoint: TransportEndpoint, weight: UInt32, isLocal: Bool) {
        self.endpoint = endpoint
        self.weight = weight
        self.isLocal = isLocal
    }
}

/// What new flows of a scope meet.
public enum ModelAnswer: Sendable, Hashable {
    /// One of these, which are not none.
    case spread([ModelMember])
    /// Refused with an answer.
    case noEndpoints
    /// Dropped.
    case noLocalEndpoints
}

/// A frontend.
public struct ModelFrontend: Sendable, Hashable {
    /// What it listens on.
    public var key: TransportEndpoint
    /// Whose it is.
    public var service: ServicePortName
    /// What it stems from: one of the `NT_FRONTEND_…` kinds, with the flags that go with it.
    public var flags: UInt32
    /// By scope.
    public var answers: [Scope: ModelAnswer]
    /// Seconds a client stays with its backend; 0 for none.
    public var affinity: UInt32
    /// Who may begin flows; `nil` for everybody.
    public var allowedSources: [CIDR]?

    /// A frontend.
    public init(
        key: TransportEndpoint, service: ServicePortName, flags: UInt32, answers: [Scope: ModelAnswer],
        affinity: UInt32, allowedSources: [CIDR]?
    ) {
        self.key = key
        self.service = service
        self.flags = flags
        self.answers = answers
        self.affinity = affinity
        self.allowedSources = allowedSources
    }

    func has(_ flag: UInt32) -> Bool { flags & flag != 0 }
}

/// A device of the node.
public struct ModelDevice: Sendable, Hashable {
    /// Its index.
    public var index: UInt32
    /// `NT_DEVICE_…`.
    public var flags: UInt32
    /// The source of what is masqueraded out of it, where it has one.
    public var addresses: [IPFamily: IPAddress]
    /// Its own hardware address.
    public var hardwareAddress: [UInt8]

    /// A device.
    public init(index: UInt32, flags: UInt32, addresses: [IPFamily: IPAddress], hardwareAddress: [UInt8]) {
        self.index = index
        self.flags = flags
        self.addresses = addresses
        self.hardwareAddress = hardwareAddress
    }
}

/// What the node's routing table says of a destination.
public enum ModelRoute: Sendable, Hashable {
    /// Out of a device; to a neighbour, if its hardware address is known; at most so many bytes.
    case out(device: UInt32, neighbour: [UInt8]?, mtu: Int)
    /// `BPF_FIB_LKUP_RET_NOT_FWDED`: the node's own, or nothing is known of it.
    case own
    /// Refused: blackhole, unreachable, prohibit.
    case none
}

/// What does not change while packets run.
public struct ModelNode: Sendable {
    /// Devices by index.
    public var devices: [UInt32: ModelDevice]
    /// The source of what is masqueraded where the device has none.
    public var addresses: [IPFamily: IPAddress]
    /// Routes; the longest prefix wins, and nothing is ``ModelRoute/own``.
    public var routes: [(prefix: CIDR, route: ModelRoute)]
    /// Ports for masqueraded and clashing flows.
    public var natPorts: ClosedRange<UInt16>
    /// Ticks without a packet after which a UDP flow's reply tuple may be taken over.
    public var udpIdle: UInt32
    /// The service CIDRs.
    public var serviceCIDRs: [CIDR]
    /// Sources behind external devices that count as pods.
    public var podPrefixes: [CIDR]
    /// Which bits of a tuple's hash say in which line its mark is.
    public var markMask: UInt32 = 0

    /// A node.
    public init(
        devices: [ModelDevice], addresses: [IPFamily: IPAddress], routes: [(prefix: CIDR, route: ModelRoute)],
        natPorts: ClosedRange<UInt16>, udpIdle: UInt32, serviceCIDRs: [CIDR], podPrefixes: [CIDR]
    ) {
        self.devices = Dictionary(uniqueKeysWithValues: devices.map { ($0.index, $0) })
        self.addresses = addresses
        self.routes = routes
        self.natPorts = natPorts
        self.udpIdle = udpIdle
        self.serviceCIDRs = serviceCIDRs
        self.podPrefixes = podPrefixes
    }

    func route(to destination: IPAddress) -> ModelRoute {
        routes.filter { $0.prefix.contains(destination) }.max { $0.prefix.length < $1.prefix.length }?.route ?? .own
    }
}

/// When a packet comes.
public struct ModelTime: Sendable, Hashable {
    /// Tick of CLOCK_MONOTONIC.
    public var tick: UInt32
    /// CLOCK_MONOTONIC in nanoseconds.
    public var nanoseconds: UInt64

    /// The moment.
    public init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
        tick = UInt32(truncatingIfNeeded: nanoseconds >> UInt64(NT_TICK_SHIFT)) + 1
    }
}
