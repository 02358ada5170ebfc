import Dataplane
import NeedletailABI
import NetTypes
import PacketKit
import Resolver
import TestSupport
import Testing

/// One client port, two frontends, one backend: the backend could not tell the flows apart.
@Suite(.needsRoot) struct ReplyTupleTests {
    /// Two frontends with the same backend, and a flow through the first.
    private func withClash(_ scene: Scene, _ body: (Lab) throws -> Void) throws {
        try Lab.withLab { lab in
            try lab.serve([1, 2].map { scene.serving([scene.backend()], number: $0) })
            let first = scene.request()
            try lab.expect(first, in: scene.ingress, .becomes(first.sent(to: scene.backend())), .forwardNew)
            try body(lab)
        }
    }

    /// Sends a first packet through the frontend; returns what the client looks like to the backend.
    private func open(
        _ lab: Lab, _ scene: Scene, through number: Int, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> TransportEndpoint {
        let request = scene.request(to: scene.frontend(number))
        let outcome = try lab.run(request.bytes, in: scene.ingress)
        let client = try #require(PacketDissection(outcome.output).source, sourceLocation: sourceLocation)
        let wanted = request.readdressed(from: client, to: scene.backend()).bytes
        #expect(
            outcome.output == wanted, "\(PacketDiff(expected: wanted, actual: outcome.output))",
            sourceLocation: sourceLocation)
        #expect(outcome.counted[scene.ingress]?[.forwardNew] == 1, sourceLocation: sourceLocation)
        #expect(
            outcome.counted[scene.ingress]?[.flowPortRemapped] == (client == scene.client() ? nil : 1),
            sourceLocation: sourceLocation)
        return client
    }

    /// Packets of both directions, the backend seeing the client as `alias`.
    private func converse(
        _ lab: Lab, _ scene: Scene, through number: Int, as alias: TransportEndpoint,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let next = scene.request(.ack, to: scene.frontend(number))
        try lab.expect(
            next, in: scene.ingress, .becomes(next.readdressed(from: alias, to: scene.backend())), .forwardEstablished,
            sourceLocation: sourceLocation)
        let reply = scene.reply(.ack, to: alias)
        try lab.expect(
            reply, in: scene.egress, .becomes(reply.readdressed(from: scene.frontend(number), to: scene.client())),
            .reverseTranslated, sourceLocation: sourceLocation)
    }

    @Test("The second flow gets another source port, and both work in both directions", arguments: Scene.all)
    func remapped(_ scene: Scene) throws {
        try withClash(scene) { lab in
            let alias = try open(lab, scene, through: 2)
            #expect(alias.address == scene.client().address)
            #expect(Lab.settings.natPorts.contains(alias.port))
            for _ in 0..<2 {
                try converse(lab, scene, through: 1, as: scene.client())
                try converse(lab, scene, through: 2, as: alias)
            }
            let flows = try lab.flows()
            #expect(flows.count == 4)
            for flow in flows {
                #expect(flow.flags.contains(.remapped) == (flow.parties.frontend == scene.frontend(2)))
                #expect(flow.parties.client == scene.client())
            }
            // A SYN sent again keeps the port too.
            let again = scene.request(to: scene.frontend(2))
            try lab.expect(
                again, in: scene.ingress, .becomes(again.readdressed(from: alias, to: scene.backend())),
                .forwardEstablished)
        }
    }

    @Test("As many frontends as ports are tried have ports of their own", arguments: Scene.all)
    func manyFrontends(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve((1...12).map { scene.serving([scene.backend()], number: $0) })
            let aliases = try (1...12).map { try open(lab, scene, through: $0) }
            #expect(Set(aliases).count == 12)
            for (number, alias) in zip(1...12, aliases) { try converse(lab, scene, through: number, as: alias) }
        }
    }

    @Test("A finished flow's reply tuple is free", arguments: Scene.tcp)
    func finished(_ scene: Scene) throws {
        try withClash(scene) { lab in
            _ = try lab.run(scene.request(.rst).bytes, in: scene.ingress)
            #expect(try open(lab, scene, through: 2) == scene.client())
            try converse(lab, scene, through: 2, as: scene.client())
        }
    }

    @Test("An idle UDP flow's reply tuple is free; should it wake, it gets one of its own", arguments: Scene.udp)
    func idle(_ scene: Scene) throws {
        try withClash(scene) { lab in
            try lab.age(ticks: 230)
            #expect(try open(lab, scene, through: 2) == scene.client())
            try converse(lab, scene, through: 2, as: scene.client())
            // Its replies would now come back as the second frontend's.
            let request = scene.request()
            let outcome = try lab.run(request.bytes, in: scene.ingress)
            let alias = try #require(PacketDissection(outcome.output).source)
            #expect(alias != scene.client())
            try converse(lab, scene, through: 1, as: alias)
            try converse(lab, scene, through: 2, as: scene.client())
        }
    }

    @Test("A UDP flow's reply tuple is its own until its timeout of 120 s, 223 ticks, is over", arguments: Scene.udp)
    func quietUDP(_ scene: Scene) throws {
        try withClash(scene) { lab in
            try lab.age(ticks: 160)
            let alias = try open(lab, scene, through: 2)
            #expect(alias != scene.client())
            try converse(lab, scene, through: 1, as: scene.client())
            try converse(lab, scene, through: 2, as: alias)
        }
    }

    @Test("A TCP flow's reply tuple is its own however long it is silent", arguments: Scene.tcp)
    func silentTCP(_ scene: Scene) throws {
        try withClash(scene) { lab in
            try lab.age(ticks: 2000)
            let alias = try open(lab, scene, through: 2)
            #expect(alias != scene.client())
            try converse(lab, scene, through: 1, as: scene.client())
            try converse(lab, scene, through: 2, as: alias)
        }
    }

    @Test("With all ports tried taken, the flow is refused and counted; the others go on", arguments: Scene.all)
    func noPortLeft(_ scene: Scene) throws {
        try Lab.withLab { lab in
            // More frontends than ports tried for one tuple; tuples start at ports of their own, so take them all.
            try lab.serve([1, 2].map { scene.serving([scene.backend()], number: $0) })
            for port in [UInt16(40_000)] + Array(Lab.settings.natPorts) {
                _ = try lab.run(scene.request(from: scene.client(port: port)).bytes, in: scene.ingress)
            }
            let before = try lab.flows().count
            #expect(before == 2 * (Lab.settings.natPorts.count + 1))
            try lab.expect(scene.request(to: scene.frontend(2)), in: scene.ingress, .dropped, .dropPortClash)
            #expect(try lab.flows().count == before)
            try converse(lab, scene, through: 1, as: scene.client())
        }
    }
}
