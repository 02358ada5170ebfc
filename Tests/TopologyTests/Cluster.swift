import BPF
import Dataplane
import Foundation
import Manifests
import NetLab
import NetTypes
import Netlink
import Planning
import Resolver
import ServiceModel
import Synchronization
import Testing

/// The agent's flags as tests change them; those without a value have an empty one.
struct AgentFlags: Sendable {
    var values = [
        "--external-devices": "eth*", "--workload-devices": "nt*", "--node-name": "node", "--max-frontends": "512",
        "--max-sets": "512", "--max-slots": "131072", "--max-backends": "1024", "--max-services": "512",
        "--max-tcp-flows": "131072", "--max-udp-flows": "131072", "--collect-interval": "1", "--sockets": "off",
    ]

    init(_ changes: [String: String] = [:]) { values.merge(changes) { $1 } }
}

/// A node with pods and a client outside, the real agent running in its namespace, and a directory of manifests.
///
/// Pods `a`, `b` and `c` serve; `client` is a pod too.
final class Cluster: Sendable {
    let topology: Topology
    let manifests: ManifestFolder
    let pins: PinDirectory
    private let directory: TemporaryDirectory
    private let servers: [String: EchoServer]
    private let agent = Mutex<ChildProcess?>(nil)
    /// Those the agent was last started with.
    private let flags = Mutex(AgentFlags())

    static let servingPods = ["a", "b", "c"]

    init(outsideNames: [String] = ["outside"]) throws {
        topology = try Topology(podNames: Self.servingPods + ["client"], outsideNames: outsideNames)
        directory = try TemporaryDirectory()
        manifests = ManifestFolder(path: try directory.subdirectory("manifests"))
        let mountPoint = try directory.subdirectory("bpf")
        try BPFFileSystem.mount(at: mountPoint)
        pins = PinDirectory("\(mountPoint)/needletail")
        var servers: [String: EchoServer] = [:]
        for pod in Self.servingPods {
            servers[pod] = try EchoServer(topology.host(pod), port: ServiceManifest.backendPort)
        }
        self.servers = servers
    }

    /// A cluster whose agent has programmed one Service with the three serving pods.
    static func serving(_ flags: AgentFlags = AgentFlags()) throws -> (Cluster, ServiceManifest) {
        let cluster = try Cluster()
        let service = try cluster.service()
        try cluster.manifests.put(service)
        try cluster.start(flags)
        try cluster.waitUntilInStep()
        return (cluster, service)
    }

    deinit {
        agent.withLock { $0 = nil }
    }

    // MARK: Objects

    var client: NetLab.Host { get throws { try topology.host("client") } }
    var outside: NetLab.Host { get throws { try topology.host("outside") } }

    /// A Service with endpoints on serving pods.
    func service(
        _ name: String = "web", number: Int = 1, _ states: [String: EndpointState]? = nil
    ) throws -> ServiceManifest {
        let states = states ?? Dictionary(uniqueKeysWithValues: Self.servingPods.map { ($0, .ready) })
        let endpoints = try states.sorted { $0.key < $1.key }.map {
            ServiceManifest.Endpoint(addresses: try topology.host($0.key).addresses, state: $0.value)
        }
        return ServiceManifest(name, number: number, endpoints: endpoints)
    }

    func frontend(
        _ service: ServiceManifest, _ kind: FrontendKind, _ family: IPFamily, _ transport: TransportProtocol
    ) throws -> TransportEndpoint {
        service.frontend(kind, family, transport, node: try topology.nodeAddress(family, outside: 0))
    }

    // MARK: The agent

    static var program: String {
        let bundle = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("needletail-agent").path
    }

    /// Runs the agent's program in the node; `start` keeps it as the cluster's agent.
    func run(_ arguments: [String], through wrapper: [String] = []) throws -> ChildProcess {
        let line = wrapper + [Self.program] + arguments
        return try ChildProcess(line[0], Array(line.dropFirst()), in: topology.node.namespace)
    }

    func arguments(_ flags: AgentFlags = AgentFlags()) -> [String] {
        (flags.values["--kubeconfig"] == nil ? ["--manifests", manifests.path] : []) + ["--pin-directory", pins.root]
            + flags.values.sorted { $0.key < $1.key }.flatMap { $0.value.isEmpty ? [$0.key] : [$0.key, $0.value] }
    }

    /// Starts the agent and waits until it has attached to the devices.
    @discardableResult
    func start(_ flags: AgentFlags = AgentFlags()) throws -> ChildProcess {
        let process = try run(arguments(flags))
        agent.withLock { $0 = process }
        self.flags.withLock { $0 = flags }
        _ = try process.waitForLine(timeout: .seconds(20)) {
            $0.contains("loaded the datapath") || $0.contains("adopted the datapath")
        }
        return process
    }

    /// Ends the agent by a signal and waits for its end.
    @discardableResult
    func stop(_ signal: Int32 = SIGKILL) throws -> ChildProcess.End {
        let process = try #require(agent.withLock { $0 }, "no agent runs")
        try process.signal(signal)
        let end = try process.wait(timeout: .seconds(10))
        agent.withLock { $0 = nil }
        return end
    }

    var agentLines: [String] { agent.withLock { $0?.lines.map(\.text) ?? [] } }

    func waitForAgentLine(_ parts: String...) throws {
        let process = try #require(agent.withLock { $0 }, "no agent runs")
        _ = try process.waitForLine(timeout: .seconds(10)) { line in parts.allSatisfy { line.contains($0) } }
    }

    var isAgentRunning: Bool {
        agent.withLock { $0.map { (try? $0.wait(timeout: .zero)) == nil } ?? false }
    }

    // MARK: The maps

    func maps() throws -> DatapathMaps { try DatapathMaps(pinnedIn: pins) }

    func image() throws -> MapImage { try KernelMaps(maps()).read() }

    func counters() throws -> CounterReading { try CounterReading(maps()) }

    func flows() throws -> [FlowEntry] {
        var flows: [FlowEntry] = []
        try FlowTable(maps()).forEach { flows.append($0) }
        return flows
    }

    /// What the manifests and the node's addresses ask for, by the resolver alone.
    func desired() throws -> DesiredState {
        var catalog = Catalog()
        for file in try manifests.files() {
            _ = catalog.apply(try ManifestParser().parse(file.bytes, file: file.name).items.map { .upsert($0.object) })
        }
        let node = NodeContext(nodeName: "node", node: catalog.nodes["node"])
        let context = NodeContext(
            nodeName: "node", zone: node.zone, nodePortAddresses: try nodePortAddresses(node.nodeAddresses),
            nodeAddresses: node.nodeAddresses)
        return Resolver().resolve(catalog, context: context)
    }

    /// As `--nodeport-addresses` says: all of external devices, or all in its prefixes, a family without any being served on all; else the first of
    /// each family that the Node object has, or else the first external device.
    private func nodePortAddresses(_ node: [IPAddress]) throws -> [IPAddress] {
        let (interfaces, all) = try topology.node.namespace.withNetlink {
            (try $0.listInterfaces(), try $0.listAddresses())
        }
        let addresses = all.filter { !$0.address.isLinkLocal && !$0.address.isLoopback }
        let external = interfaces.filter { $0.name.hasPrefix("eth") }.map(\.index).sorted()
        if let text = flags.withLock({ $0.values["--nodeport-addresses"] }) {
            guard text != "external" else {
                return Set(addresses.filter { external.contains($0.interfaceIndex) }.map(\.address)).sorted()
            }
            let prefixes = text.split(separator: ",").compactMap { CIDR($0) }
            return Set(addresses.map(\.address)).sorted().filter { address in
                let ofFamily = prefixes.filter { $0.family == address.family }
                return ofFamily.isEmpty || ofFamily.contains { $0.contains(address) }
            }
        }
        return IPFamily.allCases.compactMap { family in
            let own = external.lazy.compactMap { device in
                addresses.filter { $0.interfaceIndex == device && $0.address.family == family }
                    .min { ($0.prefixLength, $0.address) < ($1.prefixLength, $1.address) }?.address
            }
            return node.first { $0.family == family } ?? own.first
        }
    }

    /// Waits until nothing is left to write: the maps hold what the manifests and the node ask for.
    func waitUntilInStep(within limit: Duration = .seconds(10)) throws {
        let desired = try desired()
        try eventually("the maps are as desired; the agent wrote: \(agentLines)", within: limit) {
            let plan = try Planner.plan(from: image(), to: desired)
            return plan.isEmpty && plan.problems.isEmpty
        }
    }

    /// Puts a Service in place and waits for the maps.
    func apply(_ services: ServiceManifest...) throws {
        for service in services { try manifests.put(service) }
        try waitUntilInStep()
    }
}

extension Topology {
    /// The node's address towards an outside host.
    func nodeAddress(_ family: IPFamily, outside index: Int) throws -> IPAddress {
        let device = externalDevices[index]
        let (interface, addresses) = try node.namespace.withNetlink {
            (try $0.interface(named: device), try $0.listAddresses())
        }
        let found = addresses.first {
            $0.interfaceIndex == interface?.index && $0.address.family == family && !$0.address.isLinkLocal
        }
        return try #require(found, "the node's \(device) has no IPv\(family.rawValue) address").address
    }
}
