import Dataplane
import NeedletailABI
import NetTypes
import PacketKit
import Resolver
import TestSupport
import Testing

/// The LRU may evict either direction's entry; the other restores it.
@Suite(.needsRoot) struct FlowRepairTests {
    private func without(_ direction: FlowDirection, _ scene: Scene, _ body: (Lab, FlowEntry) throws -> Void) throws {
        try Lab.withLab { lab in
            try lab.serve([1, 2].map { scene.serving([scene.backend()], number: $0) })
            // The flow of a remapped port: the hardest to restore.
            for number in [1, 2] {
                _ = try lab.run(scene.request(to: scene.frontend(number)).bytes, in: scene.ingress)
            }
            let lost = try #require(
                try lab.flows().first { $0.direction == direction && $0.parties.frontend == scene.frontend(2) })
            try lab.evict(lost)
            // At most once a tick a packet looks after its peer.
            try lab.age(ticks: 100)
            try body(lab, lost)
        }
    }

    private func expectRestored(_ lab: Lab, _ lost: FlowEntry) throws {
        let found = try #require(try lab.flow(lost.direction, lost.onWire.source, lost.onWire.destination))
        #expect(found.rewritten == lost.rewritten)
        #expect(found.backend == lost.backend)
        #expect(found.service == lost.service)
        #expect(found.flags.isSuperset(of: lost.flags))
        #expect(found.idle < 30)
        #expect(found.age >= 50, "the flow is as old as it was: \(found.age)")
    }

    @Test(arguments: Scene.all)
    func aRequestRestoresTheReplyPath(_ scene: Scene) throws {
        try without(.reverse, scene) { lab, lost in
            let packet = scene.request(.ack, to: scene.frontend(2))
            let alias = lost.onWire.destination
            try lab.expect(
                packet, in: scene.ingress, .becomes(packet.readdressed(from: alias, to: scene.backend())),
                .flowRepaired, .forwardEstablished)
            try expectRestored(lab, lost)
            let reply = scene.reply(to: alias)
            try lab.expect(
                reply, in: scene.egress, .becomes(reply.readdressed(from: scene.frontend(2), to: scene.client())),
                .reverseTranslated)
        }
    }

    @Test(arguments: Scene.all)
    func aReplyRestoresTheRequestPath(_ scene: Scene) throws {
        try without(.forward, scene) { lab, lost in
            let reply = scene.reply(.ack, to: lost.rewritten.source)
            try lab.expect(
                reply, in: scene.egress, .becomes(reply.readdressed(from: scene.frontend(2), to: scene.client())),
                .flowRepaired, .reverseTranslated)
            try expectRestored(lab, lost)
            let packet = scene.request(.ack, to: scene.frontend(2))
            try lab.expect(
                packet, in: scene.ingress,
                .becomes(packet.readdressed(from: lost.rewritten.source, to: scene.backend())),
                .forwardEstablished)
        }
    }

    @Test("What the packet that restores an entry says is in the entry", arguments: Scene.tcp)
    func restoredWithNews(_ scene: Scene) throws {
        for (flags, expected) in [(TCPFlags.fin, FlowEntry.State.closing), (.rst, .closed)] {
            try without(.reverse, scene) { lab, lost in
                _ = try lab.run(scene.request(flags, to: scene.frontend(2)).bytes, in: scene.ingress)
                let found = try #require(try lab.flow(.reverse, lost.onWire.source, lost.onWire.destination))
                #expect(found.state == expected)
            }
            try without(.forward, scene) { lab, lost in
                _ = try lab.run(scene.reply(flags, to: lost.rewritten.source).bytes, in: scene.egress)
                let found = try #require(try lab.flow(.forward, lost.onWire.source, lost.onWire.destination))
                #expect(found.state == expected)
                #expect(found.flags.contains(.replied))
            }
        }
    }

    @Test("A packet of one direction keeps both entries young", arguments: Scene.all)
    func bothStayYoung(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try lab.age(ticks: 100)
            _ = try lab.run(scene.request(.ack).bytes, in: scene.ingress)
            #expect(try lab.flows().allSatisfy { $0.idle < 30 && $0.age >= 50 })
            try lab.age(ticks: 100)
            _ = try lab.run(scene.reply(.ack).bytes, in: scene.egress)
            #expect(try lab.flows().count == 2)
            #expect(try lab.flows().allSatisfy { $0.idle < 30 && $0.age >= 100 })
        }
    }

    @Test("A flow whose reply tuple another was given, its own entry lost, begins anew", arguments: Scene.all)
    func takenReplyTuple(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([1, 2].map { scene.serving([scene.backend()], number: $0) })
            let first = scene.request(to: scene.frontend(1))
            try lab.expect(first, in: scene.ingress, .becomes(first.sent(to: scene.backend())), .forwardNew)
            let lost = try #require(try lab.flow(.reverse, scene.backend(), scene.client()))
            try lab.evict(lost)
            let second = scene.request(to: scene.frontend(2))
            try lab.expect(second, in: scene.ingress, .becomes(second.sent(to: scene.backend())), .forwardNew)
            // At most once a tick a packet looks after its peer.
            try lab.age(ticks: 100)
            let next = scene.request(.ack, to: scene.frontend(1))
            let outcome = try lab.run(next.bytes, in: scene.ingress)
            let alias = try #require(PacketDissection(outcome.output).source)
            #expect(alias != scene.client(), "the backend sees both flows as one")
            #expect(Lab.settings.natPorts.contains(alias.port))
            #expect(outcome.output == next.readdressed(from: alias, to: scene.backend()).bytes)
            var counted: [DatapathCounter: Int] = [
                .flowReplyTaken: 1, .flowReselected: 1, .flowPortRemapped: 1, .forwardNew: 1,
            ]
            if scene.transport == .tcp { counted[.flowPickedUp] = 1 }
            #expect(outcome.counted == [scene.ingress: counted])
            for (number, client) in [(1, alias), (2, scene.client())] {
                let request = scene.request(.ack, to: scene.frontend(number))
                try lab.expect(
                    request, in: scene.ingress, .becomes(request.readdressed(from: client, to: scene.backend())),
                    .forwardEstablished)
                let reply = scene.reply(.ack, to: client)
                try lab.expect(
                    reply, in: scene.egress,
                    .becomes(reply.readdressed(from: scene.frontend(number), to: scene.client())), .reverseTranslated)
            }
        }
    }

    @Test("Both lost, the slot still leads to the same backend", arguments: Scene.tcp)
    func bothLost(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving(scene.backends(1...8))])
            let first = try lab.run(scene.request().bytes, in: scene.ingress)
            let backend = try #require(PacketDissection(first.output).destination)
            for flow in try lab.flows() { try lab.evict(flow) }
            let next = scene.request(.ack)
            try lab.expect(next, in: scene.ingress, .becomes(next.sent(to: backend)), .flowPickedUp, .forwardNew)
        }
    }
}
