import BPF
import Dataplane
import Foundation
import NeedletailABI
import NetLab
import NetTypes
import Planning
import Resolver
import Synchronization
import Testing

/// Two nodes behind a router, each with an agent of its own that follows the same directory of manifests, and clients on
/// the router's other side.
///
/// Pods `a` and `b` serve on node 0, `c` and `d` on node 1; each node has a pod that only asks, `pod0` and `pod1`. VIPs
/// lead to node 0 until ``RoutedTopology/serve(from:)``.
final class TwoNodes: Sendable {
    let network: RoutedTopology
    let manifests: ManifestFolder
    let nodes: [TestNode]
    private let directory: TemporaryDirectory
    private let servers: [EchoServer]
    private let changes = Atomic(0)

    static let servingPods = [["a", "b"], ["c", "d"]]
    static let everyServer = Set(servingPods.joined())
    static let nodeNames = ["node0", "node1"]

    /// What the agents of these tests are told unless a test says otherwise. What XDP sends arrives on these wires, and
    /// sockets are left alone, so that every packet goes through the programs at the devices.
    static let flags = [
        "--xdp-forward": "always", "--sockets": "off", "--nat-ports": "50000-59999", "--answer-limit": "100000",
        "--service-cidrs": "203.0.113.0/24,2001:db8:113::/48", "--max-tcp-flows": "16384", "--max-udp-flows": "16384",
    ]
    /// Those of the flag.
    static let natPorts: ClosedRange<UInt16> = 50_000...59_999

    init(clients: [String] = ["outside"], joinedDirectly: Bool = false) throws {
        network = try RoutedTopology(
            podNames: Self.servingPods.enumerated().map { $1 + ["pod\($0)"] }, clientNames: clients,
            joinedDirectly: joinedDirectly)
        let directory = try TemporaryDirectory()
        self.directory = directory
        manifests = ManifestFolder(path: try directory.subdirectory("manifests"))
        let manifests = manifests
        nodes = try network.nodes.enumerated().map { number, node in
            let mountPoint = try directory.subdirectory("bpf\(number)")
            try BPFFileSystem.mount(at: mountPoint)
            return TestNode(
                host: node.node, name: Self.nodeNames[number], manifests: manifests,
                pins: PinDirectory("\(mountPoint)/needletail"))
        }
        let network = network
        servers = try Self.everyServer.sorted().map {
            try EchoServer(network.host($0), port: ServiceManifest.backendPort)
        }
    }

    /// Two nodes whose agents have programmed these Services.
    static func serving(
        _ flags: [String: String] = [:], clients: [String] = ["outside"], joinedDirectly: Bool = false,
        _ services: (TwoNodes) throws -> [ServiceManifest]
    ) throws -> TwoNodes {
        let pair = try TwoNodes(clients: clients, joinedDirectly: joinedDirectly)
        for service in try services(pair) { try pair.manifests.put(service) }
        try pair.start(flags)
        return pair
    }

    // MARK: Objects

    func host(_ name: String) throws -> NetLab.Host { try network.host(name) }

    var outside: NetLab.Host { network.clients[0] }

    /// A Service with endpoints on serving pods, `ready` ones unless said otherwise, in this order.
    func service(
        _ name: String = "web", number: Int = 1, on pods: [String], _ states: [String: EndpointState] = [:],
        extras: [String] = [], annotations: [String: String] = [:]
    ) throws -> ServiceManifest {
        var service = ServiceManifest(name, number: number)
        service.endpoints = try pods.map {
            .init(addresses: try host($0).addresses, state: states[$0] ?? .ready, node: Self.nodeName(of: $0))
        }
        service.extras = extras
        service.annotations = annotations
        return service
    }

    static func nodeName(of pod: String) -> String {
        (servingPods[0] + ["pod0"]).contains(pod) ? nodeNames[0] : nodeNames[1]
    }

    /// What clients address; node ports on that node.
    func frontend(
        _ service: ServiceManifest, _ kind: FrontendKind, _ family: IPFamily, _ transport: TransportProtocol,
        node: Int = 0
    ) -> TransportEndpoint {
        service.frontend(kind, family, transport, node: network.nodeAddress(node, family))
    }

    /// How many requests a server has answered.
    func requests(of name: String) throws -> Int {
        try #require(servers.first { $0.name == name }, "\(name) is no server").requestCount
    }

    // MARK: Agents

    /// Starts both agents and waits until both have programmed what is in the directory.
    func start(_ flags: [String: String] = [:]) throws {
        for node in nodes { try node.start(Self.flags.merging(flags) { $1 }) }
        try settle()
    }

    /// Puts Services in place and waits for both nodes.
    func apply(_ services: ServiceManifest...) throws {
        for service in services { try manifests.put(service) }
        try settle()
    }

    func remove(_ service: ServiceManifest) throws {
        try manifests.remove("\(service.name).yaml")
        try settle()
    }

    /// Waits until both nodes have programmed all that is in the directory now: until they have programmed one more Service
    /// and then, which shows that they are through with that, another.
    func settle() throws {
        for _ in 0..<2 {
            let change = changes.add(1, ordering: .relaxed).newValue
            let mark = TransportEndpoint(IPAddress(v4: 0xCB00_71FE), UInt16(change), .tcp)
            try manifests.put("mark.yaml", Self.mark(mark))
            for node in nodes {
                try eventually("\(node.name) has programmed the manifests; its agent wrote: \(node.agentLines)") {
                    try node.image().frontends[mark] != nil
                }
            }
        }
    }

    private static func mark(_ endpoint: TransportEndpoint) -> String {
        """
        apiVersion: v1
        kind: Service
        metadata: {name: mark, namespace: default}
        spec:
          clusterIP: "\(endpoint.address)"
          ports: [{protocol: TCP, port: \(endpoint.port)}]

        """
    }
}

/// One of the nodes, and the agent on it.
final class TestNode: Sendable {
    let host: NetLab.Host
    let name: String
    let pins: PinDirectory
    private let manifests: ManifestFolder
    private let agent = Mutex<ChildProcess?>(nil)

    init(host: NetLab.Host, name: String, manifests: ManifestFolder, pins: PinDirectory) {
        self.host = host
        self.name = name
        self.manifests = manifests
        self.pins = pins
    }

    /// Starts the agent and waits until it has attached to the devices.
    func start(_ flags: [String: String]) throws {
        let values = AgentFlags(flags.merging(["--node-name": name]) { $1 }).values
        let arguments =
            ["--manifests", manifests.path, "--pin-directory", pins.root]
            + values.sorted { $0.key < $1.key }.flatMap { [$0.key, $0.value] }
        let process = try ChildProcess(Cluster.program, arguments, in: host.namespace)
        agent.withLock { $0 = process }
        _ = try process.waitForLine(timeout: .seconds(20)) {
            $0.contains("loaded the datapath") || $0.contains("adopted the datapath")
        }
    }

    /// Ends the agent by a signal and waits for its end.
    func stop(_ signal: Int32 = SIGTERM) throws {
        let process = try #require(agent.withLock { $0 }, "no agent runs")
        try process.signal(signal)
        _ = try process.wait(timeout: .seconds(20))
        agent.withLock { $0 = nil }
    }

    var agentLines: [String] { agent.withLock { $0?.lines.map(\.text) ?? [] } }

    func maps() throws -> DatapathMaps { try DatapathMaps(pinnedIn: pins) }

    func image() throws -> MapImage { try KernelMaps(maps()).read() }

    func counters() throws -> CounterReading { try CounterReading(maps()) }

    /// What the kernel counts for a device.
    func framesReceived(on device: String) throws -> Int {
        try host.namespace.run {
            // The lines of `/proc/net/dev`: a name, a colon, bytes and packets received, and more.
            let text = try String(contentsOfFile: "/proc/thread-self/net/dev", encoding: .utf8)
            let line = try #require(
                text.split(separator: "\n").first { $0.trimmingCharacters(in: .whitespaces).hasPrefix("\(device):") })
            let numbers = line.drop { $0 != ":" }.dropFirst().split(separator: " ")
            return try #require(Int(numbers[1]))
        }
    }

    /// How often each counter has moved while `body` ran.
    func moved<R>(_ body: () throws -> R) throws -> (R, (DatapathCounter) -> UInt64) {
        let before = try counters()
        let result = try body()
        let after = try counters()
        return (result, { after[$0] - before[$0] })
    }
}

/// What came of asking.
enum Outcome: Sendable, Hashable, CustomStringConvertible {
    /// That server answered, and saw the client at that address.
    case answered(by: String, seeing: IPAddress)
    /// At once, by a reset or by ICMP port unreachable.
    case refused
    /// Nothing came within the time.
    case silence

    var isAnswer: Bool {
        if case .answered = self { true } else { false }
    }

    var description: String {
        switch self {
        case .answered(let server, let client): "\(server) saw \(client)"
        case .refused: "refused"
        case .silence: "silence"
        }
    }
}

extension NetLab.Host {
    /// Asks once, over a new connection or a new connected socket; ICMP errors reach such a socket.
    func outcome(
        _ service: TransportEndpoint, sourcePort: UInt16 = 0, timeout: Duration = .seconds(3)
    ) throws -> Outcome {
        do {
            let text: String
            if service.transport == .tcp {
                let connection = try TCPConnection(
                    self, to: service.address, port: service.port, sourcePort: sourcePort, timeout: timeout)
                defer { connection.close() }
                text = try connection.request("hello")
            } else {
                let socket = try UDPClient(self, service.address.family, sourcePort: sourcePort, timeout: timeout)
                try socket.connect(to: service.address, port: service.port)
                text = try socket.request("hello").text
            }
            let answer = try Answer(text)
            return .answered(by: answer.server, seeing: try answer.clientEndpoint(service.transport).address)
        } catch let error as LabError {
            if error.isTimeout { return .silence }
            if error.isRefused { return .refused }
            throw error
        }
    }

    /// All that comes of asking, over and over: until everything expected has come, so often at least that a surprise
    /// would have come too.
    func outcomes(of service: TransportEndpoint, expecting expected: Set<Outcome>) throws -> Set<Outcome> {
        var seen: Set<Outcome> = []
        for count in 0..<300 {
            seen.insert(try outcome(service))
            if count >= 8 * expected.count, seen.isSuperset(of: expected) { break }
        }
        return seen
    }

    /// Whether nothing at all comes back: no answer and no refusal.
    func hearsNothing(from service: TransportEndpoint) throws -> Bool {
        try outcome(service, timeout: .milliseconds(250)) == .silence
    }
}

extension Answer {
    /// Whom the server saw.
    func clientEndpoint(_ transport: TransportProtocol) throws -> TransportEndpoint {
        let colon = client.lastIndex(of: ":") ?? client.startIndex
        let host = client[..<colon].trimmingCharacters(in: ["[", "]"])
        guard let address = IPAddress(host), let port = UInt16(client[client.index(after: colon)...]) else {
            throw Unexpected(description: "\(client) is no address with a port")
        }
        return TransportEndpoint(address, port, transport)
    }
}
