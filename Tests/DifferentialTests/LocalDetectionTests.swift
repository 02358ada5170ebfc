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

/// Who counts as a pod: the table of policies and masquerading by the class of the source (service semantics 2.5, kube-proxy's
/// `TestInternalExternalMasquerade`), with and without a prefix of the cluster's pods.
@Suite(.needsRoot, .serialized, .ownThread) struct LocalDetectionTests {
    enum Source: CaseIterable {
        /// A pod of this node.
        case pod
        /// A pod of another node, by an external device.
        case farPod
        case outside
    }

    enum Seen {
        case client, node, dropped
    }

    /// What a backend here, and one elsewhere, sees.
    struct Row {
        let kinds: [FrontendKind]
        let policy: TrafficPolicy
        let near: Seen
        let far: Seen
    }

    private static let external = [FrontendKind.nodePort, .loadBalancer, .externalIP]

    /// Whatever the policy is, what comes by an external device for a backend elsewhere is masqueraded: its answer would
    /// not come back by here.
    private static func rows(_ source: Source, _ mode: MasqueradeMode) -> [Row] {
        let isMinimal = mode == .minimal
        let far: Seen = source == .pod ? .client : .node
        if source == .outside {
            return [
                Row(kinds: [.clusterIP], policy: .cluster, near: isMinimal ? .client : .node, far: .node),
                Row(kinds: external, policy: .cluster, near: isMinimal ? .client : .node, far: .node),
                Row(kinds: external, policy: .local, near: .client, far: .dropped),
            ]
        }
        return [
            Row(kinds: [.clusterIP], policy: .cluster, near: .client, far: far),
            Row(
                kinds: external, policy: .cluster, near: isMinimal ? .client : .node, far: isMinimal ? far : .node),
            Row(kinds: external, policy: .local, near: .client, far: far),
        ]
    }

    @Test(arguments: IPFamily.allCases, [MasqueradeMode.minimal, .kubeProxy])
    func theClassOfTheSourceDecides(_ family: IPFamily, _ mode: MasqueradeMode) async throws {
        try await offPool {
            let rig = try Rig()
            let services = [TrafficPolicy.cluster, .local].flatMap { policy in
                [true, false].map { isNear in
                    ScriptedService(
                        number: (policy == .local ? 2 : 0) + (isNear ? 0 : 1), family: family, isNear: isNear,
                        externalTrafficPolicy: policy)
                }
            }
            try rig.node.host.namespace.run {
                for detects in [true, false] {
                    try rig.reset()
                    try rig.detectPods(in: detects ? TestNode.podPrefixes : [])
                    #expect(try rig.take(.cluster(ScriptedService.resolved(services, mode))) == nil)
                    for source in Source.allCases {
                        // Without a prefix a pod of another node is one more client outside.
                        let rows = Self.rows(source == .farPod && !detects ? .outside : source, mode)
                        for row in rows {
                            for service in services where service.externalTrafficPolicy == row.policy {
                                try expect(row, source, service, rig, "\(source), prefix \(detects)")
                            }
                        }
                    }
                }
            }
        }
    }

    private func expect(
        _ row: Row, _ source: Source, _ service: ScriptedService, _ rig: Rig, _ what: String
    ) throws {
        let programs: [DatapathProgram] = source == .pod ? [.workloadIngress] : [.externalXDP, .externalIngress]
        let device = rig.node.index(source == .pod ? "pod0" : "ext0")
        let address =
            switch source {
            case .pod: TestNode.pod(service.family, 0, 0)
            case .farPod: TestNode.pod(service.family, 1, 0)
            case .outside: TestNode.client(service.family, 0, 0)
            }
        for (index, program) in programs.enumerated() {
            for (kind, transport) in row.kinds.flatMap({ kind in ScriptedService.transports.map { (kind, $0) } }) {
                let client = TransportEndpoint(address, UInt16(40_000 + index), transport)
                let packet = PacketBuilder(
                    from: client, to: service.frontend(kind, transport), flags: .syn, payload: [])
                var complaint = try rig.take(.packet(packet.bytes, program, device: device))
                if rig.last.contains("to-tc"), complaint == nil {
                    complaint = try rig.take(.packet(packet.bytes, .externalIngress, device: device))
                }
                let what = "\(what) by \(program.name) to \(kind) \(row.policy), near \(service.isNear): \(rig.last)"
                #expect(complaint == nil, "\(what)")
                let seen = service.isNear ? row.near : row.far
                let output = PacketDissection(rig.lastOutput)
                if seen == .dropped {
                    #expect(rig.last.contains("no-local-endpoints"), "\(what)")
                } else {
                    #expect(output.destination?.address == service.backend, "\(what)")
                    #expect((output.source?.address == address) == (seen == .client), "\(what)")
                }
            }
        }
    }

    @Test("A flow stays what it was when it began", arguments: IPFamily.allCases)
    func establishedFlowsAreLeftAlone(_ family: IPFamily) async throws {
        try await offPool {
            let rig = try Rig()
            let service = ScriptedService(number: 0, family: family, isNear: true)
            try rig.node.host.namespace.run {
                try rig.detectPods(in: [])
                #expect(try rig.take(.cluster(ScriptedService.resolved([service], .kubeProxy))) == nil)
                func source(port: UInt16, _ flags: TCPFlags) throws -> TransportEndpoint? {
                    let client = TransportEndpoint(TestNode.pod(family, 1, 0), port, .tcp)
                    let packet = PacketBuilder(
                        from: client, to: service.frontend(.clusterIP, .tcp), flags: flags, payload: [])
                    let step = Step.packet(packet.bytes, .externalIngress, device: rig.node.index("ext0"))
                    #expect(try rig.take(step) == nil)
                    return PacketDissection(rig.lastOutput).source
                }
                let masqueraded = try source(port: 40_000, .syn)
                #expect(masqueraded?.address == TestNode.link(family, 0, 1))
                try rig.detectPods(in: TestNode.podPrefixes)
                #expect(try source(port: 40_000, .ack) == masqueraded)
                #expect(try source(port: 40_001, .syn)?.address == TestNode.pod(family, 1, 0))
                try rig.detectPods(in: [])
                #expect(try source(port: 40_001, .ack)?.address == TestNode.pod(family, 1, 0))
            }
        }
    }
}
