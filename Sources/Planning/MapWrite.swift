public import Maglev
public import NeedletailABI
public import NetTypes
public import ServiceModel

/// One step of a plan. After each, and after a crash at any, the maps are safe to forward with.
public enum MapWrite: Sendable, Equatable {
    /// Names a service port, or forgets the name.
    case service(ServiceID, ServicePortName?)
    /// Stores a backend, or frees its id.
    case backend(BackendID, BackendRecord?)
    /// Fills an extent that no set record names yet with a Maglev table and the list of its members.
    case table(SlotTable)
    /// Publishes a set whose table is complete, or frees its id and extent.
    case set(SetID, SetRecord?)
    /// Stores a frontend, atomically in place of what it was; or removes it.
    case frontend(TransportEndpoint, FrontendRecord?)
    /// Lets a source prefix begin flows to the restricted frontends of a service port; or does so no more.
    case range(ServiceID, CIDR, isAllowed: Bool)
    /// Says what an address is, or that it is none of ours.
    case address(IPAddress, AddressFlags?)
}

/// A Maglev table to be built into the slot array, and the list of its members behind it.
public struct SlotTable: Sendable, Equatable {
    /// First line of the extent.
    public var line: UInt32
    /// Table size M.
    public var slots: UInt32
    /// The members in the order of their identities, which is the order of ``ids``.
    public var members: [MaglevBackend]
    /// What a slot of each member holds.
    public var ids: [BackendID]

    /// Puts the parts together.
    public init(line: UInt32, slots: UInt32, members: [MaglevBackend], ids: [BackendID]) {
        self.line = line
        self.slots = slots
        self.members = members
        self.ids = ids
    }
}

/// Why a part of the desired state cannot be programmed. What was programmed before stays.
public struct CapacityProblem: Error, Sendable, Hashable, CustomStringConvertible {
    /// The maps that can be full.
    public enum Resource: String, Sendable, Hashable, CaseIterable {
        /// Frontends of IPv4.
        case frontends4
        /// Frontends of IPv6.
        case frontends6
        /// Backend sets.
        case sets
        /// Maglev slots.
        case slots
        /// Backends.
        case backends
        /// Names of service ports.
        case services
        /// Source ranges of IPv4.
        case ranges4
        /// Source ranges of IPv6.
        case ranges6

        /// The map's name in the kernel.
        public var mapName: String { "nt_\(rawValue)" }

        /// The agent's flag that raises its size.
        public var setting: String {
            switch self {
            case .frontends4, .frontends6: "--max-frontends"
            case .sets: "--max-sets"
            case .slots: "--max-slots"
            case .backends: "--max-backends"
            case .services: "--max-services"
            case .ranges4, .ranges6: "--max-source-ranges"
            }
        }
    }

    /// The full map.
    public var resource: Resource
    /// Its size in elements (slots for ``Resource/slots``).
    public var size: Int
    /// Frontends that keep their previous answer, or have none, because of it.
    public var affected: Int

    /// What is full, how large it is, and what to do.
    public var description: String {
        """
        map \(resource.mapName) is full: its \(size) elements do not hold what is wanted, \(affected) frontend(s) keep \
        their previous answer; raise \(resource.setting) (the maps are made anew then: run `needletail-agent cleanup` first)
        """
    }
}
