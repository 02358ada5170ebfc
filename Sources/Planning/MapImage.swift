public import NeedletailABI
public import NetTypes
public import ServiceModel

/// What the maps hold, as plain values: read back from the kernel, or kept in step with what was written.
///
/// Flows and counters are the datapath's own and not part of it.
public struct MapImage: Sendable, Equatable {
    /// Frontends by key.
    public var frontends: [TransportEndpoint: FrontendRecord] = [:]
    /// Backend sets by id. An id without a record is free.
    public var sets = IDTable<SetID, SetRecord>()
    /// Backends by id. An id without a record is free.
    public var backends = IDTable<BackendID, BackendRecord>()
    /// Names of service ports by id.
    public var services: [ServiceID: ServicePortName] = [:]
    /// Source prefixes that may begin flows, of the service ports whose frontends ask for it.
    public var ranges: [ServiceID: Set<CIDR>] = [:]
    /// What is told of the addresses of ClusterIPs and load balancers.
    public var addresses: [IPAddress: AddressFlags] = [:]
    /// How much fits.
    public var capacity: MapCapacity

    /// Empty maps of the given sizes.
    public init(capacity: MapCapacity) {
        self.capacity = capacity
    }

    /// Performs a write on the image, as the kernel's maps would.
    public mutating func apply(_ write: MapWrite) {
        switch write {
        case .service(let id, let name): services[id] = name
        case .backend(let id, let record): backends[id] = record
        case .set(let id, let record): sets[id] = record
        case .frontend(let key, let record): frontends[key] = record
        case .range(let id, let prefix, isAllowed: true): ranges[id, default: []].insert(prefix)
        case .range(let id, let prefix, isAllowed: false):
            ranges[id]?.remove(prefix)
            if ranges[id]?.isEmpty == true { ranges[id] = nil }
        case .address(let address, let flags): addresses[address] = flags
        case .table: break
        }
    }
}

/// Sizes of the maps, in elements.
public struct MapCapacity: Sendable, Equatable {
    /// Frontends of each family.
    public var frontends: Int
    /// Backend sets; one id of them, 0, is never used.
    public var sets: Int
    /// Lines of 16 slots.
    public var lines: Int
    /// Backends; one id of them, 0, is never used.
    public var backends: Int
    /// Service ports.
    public var services: Int
    /// Source ranges of each family.
    public var ranges: Int

    /// Puts the sizes together. Addresses need none: there are as many as frontends, each of which has one.
    public init(frontends: Int, sets: Int, lines: Int, backends: Int, services: Int, ranges: Int) {
        self.frontends = frontends
        self.sets = sets
        self.lines = lines
        self.backends = backends
        self.services = services
        self.ranges = ranges
    }
}

/// The kinds of frontend and its state, as the map stores them.
public struct FrontendFlags: OptionSet, Sendable, Hashable {
    /// The bits of `nt_frontend.flags`.
    public let rawValue: UInt32

    /// From the bits of `nt_frontend.flags`.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// A ClusterIP.
    public static let clusterIP = FrontendFlags(rawValue: NT_FRONTEND_CLUSTER_IP)
    /// A NodePort on one of the node's addresses.
    public static let nodePort = FrontendFlags(rawValue: NT_FRONTEND_NODE_PORT)
    /// A LoadBalancer ingress address.
    public static let loadBalancer = FrontendFlags(rawValue: NT_FRONTEND_LOAD_BALANCER)
    /// One of `spec.externalIPs`.
    public static let externalIP = FrontendFlags(rawValue: NT_FRONTEND_EXTERNAL_IP)
    /// No longer wanted: serves the flows it has and starts none.
    public static let retired = FrontendFlags(rawValue: NT_FRONTEND_RETIRED)
    /// Rewrites the source of all traffic from external devices.
    public static let masqueradeExternal = FrontendFlags(rawValue: NT_FRONTEND_MASQUERADE_EXTERNAL)
    /// Rewrites the source of all traffic of this node's workloads.
    public static let masqueradeInternal = FrontendFlags(rawValue: NT_FRONTEND_MASQUERADE_INTERNAL)
    /// Only sources in its service port's ranges may begin flows.
    public static let sourceRanges = FrontendFlags(rawValue: NT_FRONTEND_SOURCE_RANGES)
    /// Outside traffic for remote backends is encapsulated; the backend's node answers the client.
    public static let dsr = FrontendFlags(rawValue: NT_FRONTEND_DSR)
}

/// What an address of ClusterIPs or load balancers is, as the map stores it.
public struct AddressFlags: OptionSet, Sendable, Hashable {
    /// The bits of `nt_address.flags`.
    public let rawValue: UInt32

    /// From the bits of `nt_address.flags`.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// A ClusterIP: ports without a frontend are refused.
    public static let clusterIP = AddressFlags(rawValue: NT_ADDRESS_CLUSTER_IP)
    /// A LoadBalancer ingress address.
    public static let loadBalancer = AddressFlags(rawValue: NT_ADDRESS_LOAD_BALANCER)
    /// Some frontend of it has backends: echo requests are answered.
    public static let endpoints = AddressFlags(rawValue: NT_ADDRESS_ENDPOINTS)
}

/// What a frontend does with a new flow of one scope.
public enum ScopeRecord: Sendable, Hashable {
    /// Picks a backend of the set.
    case set(SetID)
    /// Refuses it.
    case refuse(RefusalCode)
}

/// A frontend as the map holds it.
public struct FrontendRecord: Sendable, Hashable {
    /// Kind and state.
    public var flags: FrontendFlags
    /// The service port it belongs to.
    public var service: ServiceID
    /// For traffic that arrives on external devices.
    public var external: ScopeRecord
    /// For traffic of this node's workloads.
    public var `internal`: ScopeRecord
    /// Seconds a client stays with its backend after its last new flow; 0: each flow is balanced by itself.
    public var affinity: UInt32

    /// Puts the parts together.
    public init(
        flags: FrontendFlags, service: ServiceID, external: ScopeRecord, internal: ScopeRecord, affinity: UInt32 = 0
    ) {
        self.flags = flags
        self.service = service
        self.external = external
        self.internal = `internal`
        self.affinity = affinity
    }

    /// The sets it names.
    public var sets: [SetID] {
        [external, `internal`].compactMap { if case .set(let id) = $0 { id } else { nil } }
    }
}

/// A backend set as the map holds it. Its extent has the Maglev table and, from a line of its own, the members' ids in
/// ascending order.
public struct SetRecord: Sendable, Hashable {
    /// First line of its extent.
    public var line: UInt32
    /// Table size M, in slots.
    public var slots: UInt32
    /// Number of members.
    public var backends: UInt32
    /// Of ids and weights of the members: equal for equal sets.
    public var digest: UInt64

    /// Puts the parts together.
    public init(line: UInt32, slots: UInt32, backends: UInt32, digest: UInt64) {
        self.line = line
        self.slots = slots
        self.backends = backends
        self.digest = digest
    }

    /// Lines of 16 slots its extent covers.
    public var lines: Int { SetRecord.lines(forSlots: Int(slots), backends: Int(backends)) }

    /// Lines of 16 slots the extent of a set takes: its table, then its members' ids.
    public static func lines(forSlots slots: Int, backends: Int) -> Int { lines(for: slots) + lines(for: backends) }

    /// Lines that so many ids take.
    public static func lines(for ids: Int) -> Int { (ids + Int(NT_SLOTS_PER_LINE) - 1) / Int(NT_SLOTS_PER_LINE) }
}

/// A backend as the map holds it.
public struct BackendRecord: Sendable, Hashable {
    /// Where it is reached.
    public var endpoint: TransportEndpoint
    /// What flows it may have.
    public var state: BackendState
    /// Whether it runs on this node.
    public var isLocal: Bool

    /// Puts the parts together.
    public init(endpoint: TransportEndpoint, state: BackendState, isLocal: Bool) {
        self.endpoint = endpoint
        self.state = state
        self.isLocal = isLocal
    }
}
