import NetLab
import NetTypes
import Netlink
import Synchronization

/// Where a client is.
enum Place: String, CaseIterable, Hashable, Sendable {
    /// In a pod: asks the ClusterIP.
    case pod
    /// Outside the cluster: asks the NodePort.
    case outside
}

/// The pods, the node and the client outside, each in a network namespace without a name.
final class Network: Sendable {
    let topology: Topology
    private let clients: [Place: Host]
    private let servers = Mutex<[EchoServer]>([])

    init(servers names: [String]) throws {
        topology = try Topology(podNames: ["client"], outsideNames: ["outside"], nodeName: Manifest.nodeName)
        clients = [.pod: try topology.host("client"), .outside: try topology.host("outside")]
        for name in names { try addServer(name) }
    }

    /// Starts a pod that answers on TCP and UDP.
    func addServer(_ name: String) throws {
        let server = try EchoServer(topology.addPod(name), port: Manifest.targetPort)
        servers.withLock { $0.append(server) }
    }

    func client(_ place: Place) throws -> Host {
        guard let host = clients[place] else { throw LabError("look up", place.rawValue, .other("there is none")) }
        return host
    }

    /// Whom a client at this place asks.
    func destination(
        _ place: Place, _ family: IPFamily, _ transport: TransportProtocol
    ) throws -> TransportEndpoint {
        switch place {
        case .pod: TransportEndpoint(Manifest.clusterIP(family), Manifest.port(transport), transport)
        case .outside:
            TransportEndpoint(try topology.nodeAddress(family), Manifest.nodePort(transport), transport)
        }
    }

    /// A device of the node by its index.
    func deviceName(_ index: Int32) throws -> String {
        let interfaces = try topology.node.namespace.withNetlink { try $0.listInterfaces() }
        return interfaces.first { Int32(bitPattern: $0.index) == index }?.name ?? "#\(index)"
    }
}
