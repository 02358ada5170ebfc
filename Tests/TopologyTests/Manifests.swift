import Foundation
import NetTypes
import Resolver
import Synchronization

/// What a test says about an endpoint.
enum EndpointState: Sendable, CaseIterable {
    case ready
    /// Terminating, still serving.
    case draining
    /// Not ready, not serving.
    case unready

    fileprivate var conditions: String {
        switch self {
        case .ready: "{ready: true, serving: true, terminating: false}"
        case .draining: "{ready: false, serving: true, terminating: true}"
        case .unready: "{ready: false, serving: false, terminating: false}"
        }
    }
}

/// A Service of both families and both protocols with all kinds of frontend, and its endpoints.
///
/// Service k has the cluster IP 203.0.113.(10k), the load balancer IP one above, the external IP two above, the same in
/// IPv6 below 2001:db8:113::, port 80, and the node port 30000 + k.
struct ServiceManifest: Sendable {
    static let port: UInt16 = 80
    static let backendPort: UInt16 = 8080

    var name: String
    var number: Int
    var created = "2026-01-01T00:00:00Z"
    var endpoints: [Endpoint]
    /// The endpoints' port.
    var targetPort = Self.backendPort
    /// More lines of `spec`.
    var extras: [String] = []
    /// Annotations of the Service.
    var annotations: [String: String] = [:]

    struct Endpoint: Sendable {
        var addresses: [IPAddress]
        var state = EndpointState.ready
        var node = "node"
        /// `hints.forZones`.
        var zones: [String] = []
    }

    init(_ name: String = "web", number: Int = 1, endpoints: [Endpoint] = []) {
        self.name = name
        self.number = number
        self.endpoints = endpoints
    }

    /// What clients address; a node port on the address given.
    func frontend(
        _ kind: FrontendKind, _ family: IPFamily, _ transport: TransportProtocol, node: IPAddress? = nil
    ) -> TransportEndpoint {
        guard kind == .nodePort else { return TransportEndpoint(address(kind, family), Self.port, transport) }
        return TransportEndpoint(node ?? address(.clusterIP, family), nodePort, transport)
    }

    var nodePort: UInt16 { 30_000 + UInt16(number) }

    private func address(_ kind: FrontendKind, _ family: IPFamily) -> IPAddress {
        let offset = kind == .clusterIP ? 0 : kind == .loadBalancer ? 1 : 2
        let last = 10 * number + offset
        return family == .v4
            ? IPAddress(v4: 0xCB00_7100 | UInt32(last)) : IPAddress(v6: 0x2001_0db8_0113 << 80 | UInt128(last))
    }

    var yaml: String { ([service] + IPFamily.allCases.map(slice)).joined(separator: "---\n") }

    private func both(_ kind: FrontendKind) -> String {
        IPFamily.allCases.map { "\"\(address(kind, $0))\"" }.joined(separator: ", ")
    }

    private var service: String {
        """
        apiVersion: v1
        kind: Service
        metadata:
          name: \(name)
          namespace: default
          creationTimestamp: "\(created)"
          annotations: {\(annotations.sorted { $0.key < $1.key }.map { "\($0.key): \"\($0.value)\"" }.joined(separator: ", "))}
        spec:
          type: LoadBalancer
          clusterIPs: [\(both(.clusterIP))]
        \((["externalIPs: [\(both(.externalIP))]"] + extras).map { "  \($0)" }.joined(separator: "\n"))
          ports:
          - {name: stream, protocol: TCP, port: \(Self.port), nodePort: \(nodePort)}
          - {name: datagram, protocol: UDP, port: \(Self.port), nodePort: \(nodePort)}
        status:
          loadBalancer:
            ingress: [\(IPFamily.allCases.map { "{ip: \"\(address(.loadBalancer, $0))\"}" }.joined(separator: ", "))]

        """
    }

    private func slice(_ family: IPFamily) -> String {
        var text = """
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata:
              name: \(name)-\(family == .v4 ? "v4" : "v6")
              namespace: default
              labels: {kubernetes.io/service-name: \(name)}
            addressType: \(family == .v4 ? "IPv4" : "IPv6")
            ports:
            - {name: stream, protocol: TCP, port: \(targetPort)}
            - {name: datagram, protocol: UDP, port: \(targetPort)}
            endpoints:

            """
        for endpoint in endpoints {
            for address in endpoint.addresses where address.family == family {
                text += "- {addresses: [\"\(address)\"], nodeName: \(endpoint.node), "
                text += "conditions: \(endpoint.state.conditions)"
                if !endpoint.zones.isEmpty {
                    text += ", hints: {forZones: [\(endpoint.zones.map { "{name: \($0)}" }.joined(separator: ", "))]}"
                }
                text += "}\n"
            }
        }
        return endpoints.isEmpty ? text.replacingOccurrences(of: "endpoints:\n", with: "endpoints: []\n") : text
    }
}

/// The directory an agent follows.
struct ManifestFolder: Sendable {
    let path: String

    /// Puts a file there in one step, as a rename does.
    func put(_ name: String, _ text: String) throws {
        try text.write(toFile: "\(path)/.new-\(name)", atomically: false, encoding: .utf8)
        guard rename("\(path)/.new-\(name)", "\(path)/\(name)") == 0 else { throw POSIXError(.EIO) }
    }

    /// Writes a file where it is, as an editor may.
    func writeInPlace(_ name: String, _ text: String) throws {
        try text.write(toFile: "\(path)/\(name)", atomically: false, encoding: .utf8)
    }

    func put(_ service: ServiceManifest) throws { try put("\(service.name).yaml", service.yaml) }

    func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: "\(path)/\(name)") }

    func files() throws -> [(name: String, bytes: [UInt8])] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
            .filter { !$0.hasPrefix(".") && $0.hasSuffix(".yaml") }
            .map { ($0, Array(try Data(contentsOf: URL(fileURLWithPath: "\(path)/\($0)")))) }
    }
}
