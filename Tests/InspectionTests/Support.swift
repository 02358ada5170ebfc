import BPF
import Dataplane
import Foundation
import Inspection
import NeedletailABI
import NetTypes
import Planning
import Resolver
import ServiceModel
import Testing

extension Trait where Self == ConditionTrait {
    /// Loading the datapath and mounting a bpffs need capabilities that only root has here.
    static var requiresBPF: Self {
        .enabled("needs root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN)") { geteuid() == 0 }
    }
}

/// A datapath pinned in a bpffs of its own, attached nowhere, with a few Services.
final class TestDatapath {
    let directory: String
    let pins: PinDirectory
    let datapath: Datapath
    private(set) var image: MapImage

    var settings: DatapathSettings { Self.small }

    private static let small: DatapathSettings = {
        var settings = DatapathSettings()
        settings.maxFrontends = 256
        settings.maxSets = 64
        settings.maxSlots = 16 << 10
        settings.maxBackends = 128
        settings.maxServices = 64
        settings.maxTCPFlows = 1024
        settings.maxUDPFlows = 1024
        return settings
    }()

    init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("nt-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try BPFFileSystem.mount(at: directory)
        pins = PinDirectory("\(directory)/needletail")
        datapath = try Datapath.load(Self.small, pins: pins)
        image = try KernelMaps(datapath.maps).read()
    }

    deinit {
        try? BPFFileSystem.unmount(at: directory)
        rmdir(directory)
    }

    var inspector: Inspector { get throws { try Inspector(pins: pins) } }

    /// Programs the objects, as an agent on `worker-1` would.
    func program(
        _ objects: [(service: Service, slices: [EndpointSlice])], _ options: Resolver.Options = Resolver.Options()
    ) throws {
        let context = NodeContext(
            nodeName: "worker-1", nodePortAddresses: [try #require(IPAddress("192.0.2.1"))])
        let resolver = Resolver(options: options)
        let resolved = objects.map { resolver.resolve($0.service, slices: $0.slices, context: context) }
        try perform(try Planner.plan(from: image, to: resolver.merge(resolved)).writes)
    }

    func perform(_ writes: [MapWrite]) throws {
        var kernel = KernelMaps(datapath.maps)
        try kernel.perform(writes)
        for write in writes { image.apply(write) }
    }

    /// Sends a packet through a program, as if it came by a device, and returns what came out.
    @discardableResult
    func send(_ packet: Packet, by program: DatapathProgram) throws -> Packet? {
        let run = try #require(datapath.programs[program]).testRun(packet: packet.bytes)
        return Packet(run.output)
    }

    /// What the agent would have written about itself.
    func storeNodeRecord() throws {
        var record = try datapath.maps.nodeRecord()
        record.agent_pid = 4711
        record.agent_started = 1_790_000_000_000_000_000
        record.last_sync = UInt64(Date().timeIntervalSince1970 * 1e9) - 5_000_000_000
        record.syncs = 12
        record.sync_failures = 1
        FixedText.store("worker-1", in: &record.node_name)
        FixedText.store("0.1.0", in: &record.agent_version)
        try datapath.maps.store(record)
    }
}

/// A TCP or UDP packet without payload, its checksums zero: the programs update them and do not look at them.
struct Packet: Equatable {
    static let syn: UInt8 = 0x02
    static let ack: UInt8 = 0x10
    static let fin: UInt8 = 0x01

    var source: TransportEndpoint
    var destination: TransportEndpoint
    var flags: UInt8

    init(_ source: TransportEndpoint, _ destination: TransportEndpoint, flags: UInt8 = 0) {
        self.source = source
        self.destination = destination
        self.flags = flags
    }

    var bytes: [UInt8] {
        let isTCP = source.transport == .tcp
        let length = isTCP ? 20 : 8
        let type: [UInt8] = source.address.family == .v4 ? [0x08, 0x00] : [0x86, 0xdd]
        var bytes = [UInt8](repeating: 2, count: 12) + type
        if source.address.family == .v4 {
            bytes += [0x45, 0, 0, UInt8(20 + length), 0, 0, 0, 0, 64, source.transport.rawValue, 0, 0]
        } else {
            bytes += [0x60, 0, 0, 0, 0, UInt8(length), source.transport.rawValue, 64]
        }
        bytes += source.address.bytes + destination.address.bytes
        for port in [source.port, destination.port] { bytes += [UInt8(port >> 8), UInt8(port & 0xff)] }
        bytes += isTCP ? [0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0] : [0, 8, 0, 0]
        return bytes
    }

    init?(_ bytes: [UInt8]) {
        let isV4 = bytes.count > 12 && bytes[12] == 0x08
        let l4 = isV4 ? 34 : 54
        guard bytes.count >= l4 + 8, let transport = TransportProtocol(rawValue: bytes[isV4 ? 23 : 20]) else {
            return nil
        }
        let size = isV4 ? 4 : 16
        let first = l4 - 2 * size
        guard let from = IPAddress(bytes: bytes[first..<first + size]), let to = IPAddress(bytes: bytes[l4 - size..<l4])
        else { return nil }
        func port(_ at: Int) -> UInt16 { UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1]) }
        self.init(
            TransportEndpoint(from, port(l4), transport), TransportEndpoint(to, port(l4 + 2), transport),
            flags: transport == .tcp && bytes.count > l4 + 13 ? bytes[l4 + 13] : 0)
    }

    /// The answer of whoever receives it.
    func answer(flags: UInt8 = 0) -> Packet { Packet(destination, source, flags: flags) }
}

/// `192.0.2.1:80/TCP` or `[2001:db8::1]:80/TCP`, as ``TransportEndpoint`` writes it.
func endpoint(_ text: String) throws -> TransportEndpoint {
    let parts = text.split(separator: "/")
    let colon = try #require(parts[0].lastIndex(of: ":"))
    let host = parts[0][..<colon].filter { $0 != "[" && $0 != "]" }
    return TransportEndpoint(
        try #require(IPAddress(host)), try #require(UInt16(parts[0][parts[0].index(after: colon)...])),
        try #require(TransportProtocol(parts[1])))
}

/// The Services most tests look at.
enum Scene {
    private static func slice(
        _ service: ObjectName, _ type: String, _ addresses: [(String, String)], _ ports: [EndpointPort]
    ) -> EndpointSlice {
        EndpointSlice(
            name: ObjectName(namespace: service.namespace, name: "\(service.name)-\(type.lowercased())"),
            serviceName: service.name, addressType: type,
            endpoints: addresses.map { Endpoint(addresses: [$0.0], nodeName: $0.1) }, ports: ports)
    }

    /// shop/web: dual stack, NodePort of which outside traffic stays on the node, one of three IPv4 endpoints there.
    static var web: (service: Service, slices: [EndpointSlice]) {
        let name = ObjectName(namespace: "shop", name: "web")
        let ports = [EndpointPort(name: "http", port: 8080)]
        return (
            Service(
                name: name, type: .nodePort, clusterIP: "198.18.0.10", clusterIPs: ["198.18.0.10", "2001:db8::10"],
                ipFamilies: ["IPv4", "IPv6"], ports: [ServicePort(name: "http", port: 80, nodePort: 30080)],
                externalTrafficPolicy: .local),
            [
                slice(
                    name, "IPv4", [("198.18.1.1", "worker-1"), ("198.18.1.2", "worker-2"), ("198.18.1.3", "worker-3")],
                    ports),
                slice(name, "IPv6", [("2001:db8:1::1", "worker-1")], ports),
            ]
        )
    }

    /// shop/api: a load balancer that wants local endpoints and has none.
    static var api: (service: Service, slices: [EndpointSlice]) {
        let name = ObjectName(namespace: "shop", name: "api")
        return (
            Service(
                name: name, type: .loadBalancer, clusterIP: "198.18.0.11", ports: [ServicePort(port: 443)],
                externalTrafficPolicy: .local, loadBalancerIngress: [LoadBalancerIngress(ip: "203.0.113.11")]),
            [slice(name, "IPv4", [("198.18.1.4", "worker-2")], [EndpointPort(port: 8443)])]
        )
    }

    /// kube-system/dns: two protocols, two endpoints on this node.
    static var dns: (service: Service, slices: [EndpointSlice]) {
        let name = ObjectName(namespace: "kube-system", name: "dns")
        let ports = [
            EndpointPort(name: "dns", protocolName: "UDP", port: 53), EndpointPort(name: "dns-tcp", port: 53),
        ]
        return (
            Service(
                name: name, clusterIP: "198.18.0.53",
                ports: [
                    ServicePort(name: "dns", protocolName: "UDP", port: 53), ServicePort(name: "dns-tcp", port: 53),
                ]),
            [slice(name, "IPv4", [("198.18.1.5", "worker-1"), ("198.18.1.6", "worker-1")], ports)]
        )
    }

    /// shop/empty: nobody.
    static var empty: (service: Service, slices: [EndpointSlice]) {
        (
            Service(
                name: ObjectName(namespace: "shop", name: "empty"), clusterIP: "198.18.0.12",
                ports: [ServicePort(port: 80)]),
            []
        )
    }

    /// shop/crowded: many ports and many addresses, all of which lead to the same backends.
    static var crowded: (service: Service, slices: [EndpointSlice]) {
        let name = ObjectName(namespace: "shop", name: "crowded")
        let ports = (1...6).map { (name: "number-\($0)", port: 9000 + $0) }
        return (
            Service(
                name: name, clusterIP: "198.18.0.13", externalIPs: (1...8).map { "203.0.113.\(100 + $0)" },
                ports: ports.map { ServicePort(name: $0.name, port: $0.port) }),
            [
                slice(
                    name, "IPv4", [("198.18.1.7", "worker-1"), ("198.18.1.8", "worker-1")],
                    ports.map { EndpointPort(name: $0.name, port: $0.port) })
            ]
        )
    }

    /// shop/special: of each thing a Service may ask for.
    static var special: (service: Service, slices: [EndpointSlice]) {
        let name = ObjectName(namespace: "shop", name: "special")
        return (
            Service(
                name: name, type: .loadBalancer, clusterIP: "198.18.0.14", ports: [ServicePort(port: 443)],
                sessionAffinity: .clientIP(timeoutSeconds: 600),
                loadBalancerIngress: [LoadBalancerIngress(ip: "203.0.113.14")],
                loadBalancerSourceRanges: ["198.18.2.0/24", "198.18.4.0/24"], forwarding: "dsr"),
            [slice(name, "IPv4", [("198.18.1.9", "worker-1")], [EndpointPort(port: 8443)])]
        )
    }

    static var all: [(service: Service, slices: [EndpointSlice])] { [web, api, dns, empty] }

    /// A datapath with all of them and their flows.
    static func datapath() throws -> TestDatapath {
        let datapath = try TestDatapath()
        try datapath.program(all)
        try addFlows(to: datapath)
        return datapath
    }

    /// Flows of four clients: three of shop/web, the first of them answered, and one DNS request.
    static func addFlows(to datapath: TestDatapath) throws {
        let web = try endpoint("198.18.0.10:80/TCP")
        func open(_ client: String, _ frontend: TransportEndpoint) throws -> Packet? {
            try datapath.send(
                Packet(try endpoint(client), frontend, flags: Packet.syn), by: .workloadIngress)
        }
        let first = try #require(try open("198.18.2.1:40001/TCP", web))
        try datapath.send(first.answer(flags: Packet.syn | Packet.ack), by: .workloadEgress)
        _ = try open("198.18.2.2:40002/TCP", web)
        _ = try open("198.18.2.3:5353/UDP", try endpoint("198.18.0.53:53/UDP"))
        _ = try open("[2001:db8:2::1]:40003/TCP", try endpoint("[2001:db8::10]:80/TCP"))
    }
}

/// A report as its JSON document has it.
func document(_ report: some Report) throws -> [String: Any] {
    let data = Data(try JSONDocument().encode(report).utf8)
    return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
}

/// The rows of a table as words.
func rows(_ text: String) -> [[String]] {
    text.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
}
