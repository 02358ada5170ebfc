import Dataplane
import NeedletailABI
import NetLab
import NetTypes
import PacketKit
import ReferenceModel
import Resolver
import ServiceModel
import TestSupport
import Testing

/// The LRU takes the reply entry of a masqueraded flow, and another flow is given its port.
@Suite(.needsRoot, .serialized, .ownThread) struct LostReplyTests {
    private static let kinds = IPFamily.allCases.flatMap { family in
        [TransportProtocol.tcp, .udp].map { (family, $0) }
    }

    @Test("No two live flows are one connection to the backend", arguments: kinds)
    func aPortIsOneFlowsAlone(_ family: IPFamily, _ transport: TransportProtocol) async throws {
        try await offPool {
            let rig = try Rig()
            let service = ScriptedService(number: 0, family: family, isNear: false)
            try rig.node.host.namespace.run {
                #expect(try rig.take(.cluster(ScriptedService.resolved([service], .minimal))) == nil)
                /// What the backend sees the client as; `nil` when it sees nothing.
                func seen(_ number: Int, _ flags: TCPFlags) throws -> TransportEndpoint? {
                    let client = TransportEndpoint(
                        TestNode.client(family, 0, 1), UInt16(40_000 + number), transport)
                    let packet = PacketBuilder(
                        from: client, to: service.frontend(.clusterIP, transport), flags: flags, payload: [])
                    let step = Step.packet(packet.bytes, .externalIngress, device: rig.node.index("ext0"))
                    #expect(try rig.take(step) == nil)
                    return rig.last.contains("port-clash") ? nil : PacketDissection(rig.lastOutput).source
                }
                // Until no port of the node's is free.
                var aliases: [TransportEndpoint] = []
                while aliases.count < 2 * TestNode.natPorts.count, let alias = try seen(aliases.count, .syn) {
                    aliases.append(alias)
                }
                #expect(Set(aliases).count == aliases.count && aliases.count > TestNode.natPorts.count / 2)
                let backend = TransportEndpoint(service.backend, 8080, transport)
                _ = try rig.take(.evict(FlowTuple(source: backend, destination: aliases[0]), .reverse))
                // The one port that is free.
                let newcomer = try #require(try seen(1000, .syn))
                #expect(newcomer == aliases[0])
                _ = try rig.take(.age(1))
                #expect(try seen(0, .ack) == nil, "\(rig.last)")
                #expect(rig.last.contains("reply-taken"))
                #expect(try seen(1000, .ack) == newcomer)
                // With room, it goes on by another port.
                _ = try rig.take(.evict(FlowTuple(source: backend, destination: aliases[1]), .reverse))
                #expect(try seen(0, .ack) == aliases[1], "\(rig.last)")
                #expect(rig.last.contains("forward-new"))
                _ = try rig.take(.age(1))
                #expect(try seen(1000, .ack) == newcomer)
                #expect(try seen(0, .ack) == aliases[1])
            }
        }
    }
}
