import Dataplane
import NeedletailABI
import NetTypes
import PacketKit
import Resolver
import ServiceModel
import Testing

/// Where a test plays: a program at a client's ingress, a family and a transport. All tables run in all of them.
struct Scene: Sendable, CustomTestStringConvertible {
    let ingress: DatapathProgram
    let family: IPFamily
    let transport: TransportProtocol

    static let all = scenes([.tcp, .udp])
    static let tcp = scenes([.tcp])
    static let udp = scenes([.udp])

    private static func scenes(_ transports: [TransportProtocol]) -> [Scene] {
        [DatapathProgram.externalXDP, .externalIngress, .workloadIngress].flatMap { program in
            IPFamily.allCases.flatMap { family in
                transports.map { Scene(ingress: program, family: family, transport: $0) }
            }
        }
    }

    var testDescription: String { "\(ingress.name) IP\(family) \(transport)" }

    /// The program at the same device's egress.
    var egress: DatapathProgram { ingress == .workloadIngress ? .workloadEgress : .externalEgress }

    var scope: Scope { ingress == .workloadIngress ? .internal : .external }

    /// Subnets: 1 clients, 2 frontends, 3 backends.
    private func endpoint(_ subnet: Int, _ host: Int, _ port: UInt16) -> TransportEndpoint {
        let v4: [UInt32] = [0, 0xC000_0200, 0xC612_0000, 0xCB00_7100]
        let address =
            family == .v4
            ? IPAddress(v4: v4[subnet] + UInt32(host))
            : IPAddress(v6: 0x2001_0DB8 << 96 | UInt128(subnet) << 64 | UInt128(host))
        return TransportEndpoint(address, port, transport)
    }

    func client(_ number: Int = 1, port: UInt16 = 40_000) -> TransportEndpoint { endpoint(1, number, port) }
    func frontend(_ number: Int = 1, port: UInt16 = 80) -> TransportEndpoint { endpoint(2, number, port) }
    func backend(_ number: Int = 1, port: UInt16 = 8080) -> TransportEndpoint { endpoint(3, number, port) }
    func backends(_ numbers: ClosedRange<Int>) -> [TransportEndpoint] { numbers.map { backend($0) } }

    /// The frontend with these backends in this scene's scope, and others in the other.
    func serving(_ backends: [TransportEndpoint], number: Int = 1) -> Frontend {
        let (mine, others) = (ScopeAnswer.these(backends), ScopeAnswer.these([backend(99)]))
        return scope == .external
            ? frontend(number, external: mine, internal: others)
            : frontend(number, external: others, internal: mine)
    }

    func frontend(_ number: Int = 1, external: ScopeAnswer, internal: ScopeAnswer) -> Frontend {
        Frontend(
            key: frontend(number), kind: .clusterIP, servicePort: name(number), external: external,
            internal: `internal`)
    }

    func name(_ number: Int) -> ServicePortName {
        ServicePortName(
            service: ObjectName(namespace: "default", name: "service-\(number)"), port: "p", transport: transport)
    }

    /// A client's packet to a frontend: a SYN for TCP unless said otherwise.
    func request(
        _ flags: TCPFlags = .syn, from client: TransportEndpoint? = nil, to frontend: TransportEndpoint? = nil,
        payload: String = "request"
    ) -> PacketBuilder {
        PacketBuilder(
            from: client ?? self.client(), to: frontend ?? self.frontend(), flags: flags, payload: Array(payload.utf8))
    }

    /// A backend's packet to a client.
    func reply(
        _ flags: TCPFlags = [.syn, .ack], from backend: TransportEndpoint? = nil, to client: TransportEndpoint? = nil
    ) -> PacketBuilder {
        PacketBuilder(
            from: backend ?? self.backend(), to: client ?? self.client(), flags: flags, payload: Array("reply".utf8))
    }
}

extension ScopeAnswer {
    static func these(_ endpoints: [TransportEndpoint]) -> ScopeAnswer {
        .backends(BackendSet(endpoints.map { BackendSpec(endpoint: $0, isLocal: true) }))
    }
}

extension PacketBuilder {
    /// The same packet, sent on to another receiver.
    func sent(to destination: TransportEndpoint) -> PacketBuilder {
        guard let source = PacketDissection(bytes).source else { return self }
        return readdressed(from: source, to: destination)
    }

    /// The same packet, from another sender.
    func sent(from source: TransportEndpoint) -> PacketBuilder {
        guard let destination = PacketDissection(bytes).destination else { return self }
        return readdressed(from: source, to: destination)
    }
}
