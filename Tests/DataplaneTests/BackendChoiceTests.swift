import Dataplane
import NeedletailABI
import NetTypes
import PacketKit
import Resolver
import TestSupport
import Testing

/// The programs choose as the control plane's tables say: every node the same.
@Suite(.needsRoot) struct BackendChoiceTests {
    @Test("The backend of a new flow is the one in its slot, by Swift's own hash", arguments: Scene.all)
    func slot(_ scene: Scene) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        try Lab.withLab { lab in
            for members in [1, 3, 13, 40] {
                try lab.serve([scene.serving(scene.backends(1...members))])
                var chosen: Set<TransportEndpoint> = []
                for _ in 0..<100 {
                    let client = Self.client(scene.family, scene.transport, &random)
                    let wanted = try lab.choice(client, scene.frontend(), scene.scope)
                    let output = try lab.run(scene.request(from: client).bytes, in: scene.ingress).output
                    try #require(PacketDissection(output).destination == wanted, "seed \(seed), client \(client)")
                    chosen.insert(wanted)
                }
                #expect(chosen.count > members / 2, "seed \(seed): \(chosen.count) of \(members) backends chosen")
            }
        }
    }

    /// Anywhere in the benchmark and documentation ranges.
    private static func client(
        _ family: IPFamily, _ transport: TransportProtocol, _ random: inout SeededGenerator
    ) -> TransportEndpoint {
        let address =
            family == .v4
            ? IPAddress(v4: 0xC613_0000 | .random(in: 1...0xFFFE, using: &random))
            : IPAddress(
                v6: 0x2001_0DB8 << 96 | UInt128(random.next()) << 32
                    | UInt128(UInt32.random(in: 0 ... .max, using: &random)))
        return TransportEndpoint(address, .random(in: 1...65_535, using: &random), transport)
    }

    @Test("Two nodes with other ids and another history choose alike", arguments: Scene.all)
    func nodesAgree(_ scene: Scene) throws {
        let members = scene.backends(1...9)
        func choices(_ history: [[TransportEndpoint]]) throws -> [TransportEndpoint?] {
            try Lab.withLab { lab in
                for set in history { try lab.serve([scene.serving(set)]) }
                try lab.serve([scene.serving(members)])
                return try (1...50).map { number in
                    let request = scene.request(from: scene.client(number, port: UInt16(1000 * number)))
                    return PacketDissection(try lab.run(request.bytes, in: scene.ingress).output).destination
                }
            }
        }
        let reference = try choices([])
        let other = try choices([scene.backends(5...12), scene.backends(20...30), scene.backends(2...3)])
        #expect(reference == other)
    }
}
