public import NetTypes

/// What the metrics are at one moment: the agent fills in what it knows, and what it leaves out has no series.
public struct MetricsSnapshot: Sendable {
    /// What is constant as long as the agent runs.
    public struct Agent: Sendable, Hashable {
        /// The agent's version.
        public var version: String
        /// The processor's architecture, such as `x86_64`.
        public var architecture: String
        /// The kernel's release.
        public var kernel: String
        /// This node's name.
        public var node: String
        /// Where objects come from: `cluster` or `manifests`.
        public var source: String

        /// Puts them together.
        public init(version: String, architecture: String, kernel: String, node: String, source: String) {
            self.version = version
            self.architecture = architecture
            self.kernel = kernel
            self.node = node
            self.source = source
        }
    }

    /// Requests to the API server.
    public struct RestRequests: Sendable, Hashable {
        /// The status code, or `<error>`.
        public var code: String
        /// `HOST:PORT` of the server.
        public var host: String
        /// The method.
        public var method: String
        /// How many.
        public var count: UInt64

        /// Puts them together.
        public init(code: String, host: String, method: String, count: UInt64) {
            self.code = code
            self.host = host
            self.method = method
            self.count = count
        }
    }

    /// How long requests to the API server took.
    public struct RestDurations: Sendable, Hashable {
        /// `HOST:PORT` of the server.
        public var host: String
        /// The method, as client-go labels it.
        public var verb: String
        /// In seconds; see ``Buckets/restClient``.
        public var durations: HistogramValue

        /// Puts them together.
        public init(host: String, verb: String, durations: HistogramValue) {
            self.host = host
            self.verb = verb
            self.durations = durations
        }
    }

    /// A counter of the datapath.
    public struct DatapathCounter: Sendable, Hashable {
        /// The program that counts.
        public var program: String
        /// What became of the packet: `passed`, `translated`, `answered`, `fallback`, `dropped`.
        public var outcome: String
        /// The counter's name.
        public var counter: String
        /// Packets, since the datapath was loaded.
        public var packets: UInt64

        /// Puts them together.
        public init(program: String, outcome: String, counter: String, packets: UInt64) {
            self.program = program
            self.outcome = outcome
            self.counter = counter
            self.packets = packets
        }
    }

    /// A map and how full it is.
    public struct Map: Sendable, Hashable {
        /// The name it is pinned by.
        public var name: String
        /// What is counted: `entries` or `slots`.
        public var unit: String
        /// How much is in use.
        public var used: Int
        /// How much fits.
        public var size: Int
        /// The kernel's memory; `nil` if it cannot be read.
        public var bytes: UInt64?

        /// Puts them together.
        public init(name: String, unit: String = "entries", used: Int, size: Int, bytes: UInt64? = nil) {
            self.name = name
            self.unit = unit
            self.used = used
            self.size = size
            self.bytes = bytes
        }
    }

    /// Entries of the flow table.
    public struct Flows: Sendable, Hashable {
        /// The family.
        public var family: IPFamily
        /// The protocol.
        public var transport: TransportProtocol
        /// Where they are in their life, such as `established`.
        public var state: String
        /// How many.
        public var entries: Int

        /// Puts them together.
        public init(family: IPFamily, transport: TransportProtocol, state: String, entries: Int) {
            self.family = family
            self.transport = transport
            self.state = state
            self.entries = entries
        }
    }

    /// A watch of the API server.
    public struct Watch: Sendable, Hashable {
        /// What is watched, such as `services`.
        public var kind: String
        /// Since the server was last heard of; `nil` if it never was.
        public var age: Duration?
        /// What it is doing, such as `watching`.
        public var phase: String
        /// Whether all objects have been seen once.
        public var isSynced: Bool
        /// Objects known.
        public var objects: Int
        /// Lists made.
        public var lists: UInt64
        /// Watches begun.
        public var watches: UInt64
        /// Events received, by type such as `ADDED`.
        public var events: [String: UInt64]
        /// Events passed over since they were older than what was known.
        public var staleEvents: UInt64
        /// Failures, by a short reason; above ``maxReasons`` of them the rarest are one, `other`.
        public var errors: [String: UInt64]

        /// So many reasons have series of their own.
        public static let maxReasons = 30

        /// Puts them together.
        public init(
            kind: String, age: Duration?, phase: String, isSynced: Bool, objects: Int = 0, lists: UInt64 = 0,
            watches: UInt64 = 0, events: [String: UInt64] = [:], staleEvents: UInt64 = 0,
            errors: [String: UInt64] = [:]
        ) {
            self.kind = kind
            self.age = age
            self.phase = phase
            self.isSynced = isSynced
            self.objects = objects
            self.lists = lists
            self.watches = watches
            self.events = events
            self.staleEvents = staleEvents
            self.errors = errors
        }
    }

    /// Comparisons of the maps with what they should hold.
    public struct Audit: Sendable, Hashable {
        /// How many there have been.
        public var runs: UInt64
        /// Entries that differed at the last.
        public var lastDifferences: Int
        /// Entries that differed at all of them.
        public var differences: UInt64
        /// Entries that were put right.
        public var repairs: UInt64
        /// When the last was, if there has been one.
        public var lastRun: WallTime?

        /// Puts them together.
        public init(
            runs: UInt64 = 0, lastDifferences: Int = 0, differences: UInt64 = 0, repairs: UInt64 = 0,
            lastRun: WallTime? = nil
        ) {
            self.runs = runs
            self.lastDifferences = lastDifferences
            self.differences = differences
            self.repairs = repairs
            self.lastRun = lastRun
        }
    }

    /// Service ports that drop traffic since no endpoint is on this node.
    public struct NoLocalEndpoints: Sendable, Hashable {
        /// The family.
        public var family: IPFamily
        /// By `internalTrafficPolicy: Local`.
        public var internalTraffic: Int
        /// By `externalTrafficPolicy: Local`.
        public var externalTraffic: Int

        /// Puts them together.
        public init(family: IPFamily, internalTraffic: Int, externalTraffic: Int) {
            self.family = family
            self.internalTraffic = internalTraffic
            self.externalTraffic = externalTraffic
        }
    }

    /// Devices that carry the datapath.
    public struct Devices: Sendable, Hashable {
        /// `external` or `workload`.
        public var role: String
        /// Such as `xdp` or `tc`.
        public var hook: String
        /// How many.
        public var count: Int

        /// Puts them together.
        public init(role: String, hook: String, count: Int) {
            self.role = role
            self.hook = hook
            self.count = count
        }
    }

    /// What is constant.
    public var agent: Agent?
    /// What is counted as it happens.
    public var recorded: AgentMetrics?
    /// Answers on the health port.
    public var answers = HealthState.Answers()
    /// Service ports that drop for want of local endpoints.
    public var noLocalEndpoints: [NoLocalEndpoints] = []
    /// Requests to the API server.
    public var restRequests: [RestRequests] = []
    /// How long they took.
    public var restDurations: [RestDurations] = []
    /// The datapath's counters.
    public var counters: [DatapathCounter] = []
    /// Traffic by service port.
    public var services: ServiceSeries?
    /// The maps.
    public var maps: [Map] = []
    /// The flow table.
    public var flows: [Flows] = []
    /// The watches; none without a cluster.
    public var watches: [Watch] = []
    /// The audit, where there is one.
    public var audit: Audit?
    /// What the maps hold, by kind: `service_ports`, `frontends`, `sets`, `backends`.
    public var programmed: [String: Int] = [:]
    /// Problems that stand, by area: `source`, `conflicts`, `objects`, `capacity`.
    public var problems: [String: Int] = [:]
    /// Devices.
    public var devices: [Devices] = []
    /// Sockets for `healthCheckNodePort`s; see ``ServiceHealthServers/sockets()``.
    public var healthCheckSockets: (listening: Int, failed: Int)?
    /// The agent's process.
    public var process = ProcessFigures()

    /// Nothing known.
    public init() {}
}
