public import NetTypes

/// A part of the benchmark that can be asked for by itself.
public enum SuiteName: String, Sendable, Hashable, CaseIterable, Decodable {
    /// Nanoseconds a packet in the programs, by test runs.
    case packet
    /// Packets a second through a node, by generated frames.
    case forward
    /// Connections, requests and bytes a second through a node, by sockets.
    case connect
    /// From a change to the maps or rules.
    case programming
    /// What maps and control plane occupy.
    case memory
    /// Tables of consistent hashing.
    case maglev
}

/// Who else is measured in the same run.
public enum Peer: String, Sendable, Hashable, CaseIterable, Decodable {
    /// Nobody: no Service on the way, the node forwards to the backend's own address.
    case none
    /// iptables rules as kube-proxy writes them.
    case iptables
    /// An nftables table as kube-proxy writes it.
    case nftables
    /// IPVS with kube-proxy's settings.
    case ipvs
}

/// A program of somebody else's that is pinned, to be measured beside ours.
public struct PinnedProgram: Sendable, Hashable {
    /// What it is called in the report.
    public let name: String
    /// Path of the pin.
    public let path: String

    /// A program.
    public init(name: String, path: String) {
        self.name = name
        self.path = path
    }
}

/// What a run of the benchmark measures. Each suite takes from it what concerns it.
public struct RunSettings: Sendable, Hashable {
    /// In this order.
    public var suites: [SuiteName]
    /// Compared with these.
    public var peers: [Peer]
    /// Numbers of Services in place.
    public var services: [Int]
    /// Endpoints of each Service.
    public var backends: Int
    /// Numbers of flows.
    public var flows: [FlowCount]
    /// Address families.
    public var families: [IPFamily]
    /// How long one sample takes, in seconds, where time decides.
    public var duration: Double
    /// Samples of everything, taken in turns.
    public var repeats: Int
    /// Programs of others, for the packet suite.
    public var others: [PinnedProgram]

    /// The settings.
    ///
    /// - Throws: ``BenchmarkError/unusableSetting(_:)`` for empty lists and numbers out of range.
    public init(
        suites: [SuiteName] = SuiteName.allCases, peers: [Peer] = Peer.allCases, services: [Int] = [1, 100, 5000],
        backends: Int = 10, flows: [FlowCount], families: [IPFamily] = IPFamily.allCases, duration: Double = 0.3,
        repeats: Int = 5, others: [PinnedProgram] = []
    ) throws(BenchmarkError) {
        guard !suites.isEmpty, !flows.isEmpty, !families.isEmpty, !services.isEmpty else {
            throw .unusableSetting(
                "nothing to measure: give at least one suite, number of flows, number of services and family")
        }
        for count in services where !(1...10_000).contains(count) {
            throw .unusableSetting("services \(count): must be from 1 to 10000")
        }
        guard (1...250).contains(backends) else {
            throw .unusableSetting("backends \(backends): must be from 1 to 250")
        }
        guard (0.01...60).contains(duration) else {
            throw .unusableSetting("duration \(duration): must be from 0.01 to 60 seconds")
        }
        guard (1...1000).contains(repeats) else {
            throw .unusableSetting("repeat \(repeats): must be from 1 to 1000")
        }
        self.suites = suites
        self.peers = peers
        self.services = services
        self.backends = backends
        self.flows = flows
        self.families = families
        self.duration = duration
        self.repeats = repeats
        self.others = others
    }
}

/// A part of the benchmark. It makes what it needs, takes its samples in turns, and leaves nothing behind.
public protocol Suite {
    /// Takes all measurements.
    ///
    /// - Parameter progress: gets a line now and then.
    /// - Throws: what keeps the suite as a whole from being run. Single measurements that cannot be taken are answered
    ///   as skipped or failed.
    static func run(_ settings: RunSettings, progress: (String) -> Void) throws -> [Measurement]
}
