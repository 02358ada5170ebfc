import BPF
import NeedletailABI
import NetTypes
import PacketKit
import Planning
import Resolver
import TestSupport
import Testing

@testable import Dataplane

/// Elements recycled under a reader, and maps that contradict themselves: never a foreign backend (rule 1).
@Suite(.needsRoot) struct RaceTests {
    @Test("A frontend element that has become another key's is not used", arguments: Scene.all)
    func recycledFrontend(_ scene: Scene) throws {
        let strangers = [
            scene.frontend(2), scene.frontend(port: 81),
            TransportEndpoint(scene.frontend().address, 80, scene.transport == .tcp ? .udp : .tcp),
        ]
        for stranger in strangers {
            try Lab.withLab { lab in
                try lab.serve([scene.serving([scene.backend()])])
                let record = try #require(try lab.image().frontends[scene.frontend()])
                let maps = lab.datapath.maps
                scene.family == .v4
                    ? try maps.frontends4.update(nt_frontend_key4(scene.frontend()), record.wire(for: stranger))
                    : try maps.frontends6.update(nt_frontend_key6(scene.frontend()), record.wire(for: stranger))
                try lab.expect(scene.request(), in: scene.ingress, .dropped, .raceRetried, .dropRace)
                #expect(try lab.flows() == [])
            }
        }
    }

    /// A flow to backend 1 whose entries are those of another flow, which leads to backend 2.
    private func withRecycledFlow(_ scene: Scene, _ body: (Lab) throws -> Void) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend(1)])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            let (flows4, flows6) = (
                lab.datapath.maps.flows4[scene.transport], lab.datapath.maps.flows6[scene.transport]
            )
            for flow in try lab.flows() {
                if scene.family == .v4 {
                    let key = nt_flow_key4(flow.onWire, flow.direction)
                    var value = try #require(try flows4.lookup(key))
                    value.head.check ^= 1
                    (value.src, value.dst) = (scene.backend(2).address.words.0, scene.backend(2).address.words.0)
                    try flows4.update(key, value)
                } else {
                    let key = nt_flow_key6(flow.onWire, flow.direction)
                    var value = try #require(try flows6.lookup(key))
                    value.head.check ^= 1
                    (value.src, value.dst) = (scene.backend(2).address.words, scene.backend(2).address.words)
                    try flows6.update(key, value)
                }
            }
            try body(lab)
        }
    }

    @Test("A flow entry that has become another flow's is not used, and replaced", arguments: Scene.all)
    func recycledForwardEntry(_ scene: Scene) throws {
        try withRecycledFlow(scene) { lab in
            // The reply entry is foreign too: whether it is taken over or avoided is up to the program.
            let outcome = try lab.run(scene.request().bytes, in: scene.ingress)
            let dissection = PacketDissection(outcome.output)
            #expect(outcome.verdict == scene.ingress.pass)
            #expect(dissection.destination == scene.backend(1))
            #expect(dissection.wrongChecksums == [])
            let client = try #require(dissection.source)
            let reply = scene.reply(to: client)
            try lab.expect(
                reply, in: scene.egress, .becomes(reply.readdressed(from: scene.frontend(), to: scene.client())),
                .reverseTranslated)
        }
    }

    @Test("A reply whose entry has become another flow's is not translated", arguments: Scene.all)
    func recycledReplyEntry(_ scene: Scene) throws {
        try withRecycledFlow(scene) { lab in
            try lab.expect(scene.reply(from: scene.backend(1)), in: scene.egress, .untouched, .passNotService)
        }
    }

    @Test("A freed set or backend is nobody's, though a frontend should still name it", arguments: Scene.all)
    func freed(_ scene: Scene) throws {
        try Lab.withLab { lab in
            // The first set of the slot array belongs to another frontend.
            try lab.serve([scene.serving([scene.backend(1)], number: 1)])
            try lab.serve([scene.serving([scene.backend(1)], number: 1), scene.serving([scene.backend(2)], number: 2)])
            let image = try lab.image()
            let record = try #require(image.frontends[scene.frontend(2)])
            let id = try #require(image.backends.first { $0.value.endpoint == scene.backend(2) }?.key)
            let request = scene.request(to: scene.frontend(2))
            func expectRefused(_ writes: [MapWrite], sourceLocation: SourceLocation = #_sourceLocation) throws {
                try lab.perform(writes)
                try lab.expect(
                    request, in: scene.ingress, .dropped, .dropBadSlot, sourceLocation: sourceLocation)
                #expect(try lab.flows() == [], sourceLocation: sourceLocation)
            }
            let backend = try #require(image.backends[id])
            var foreign = backend
            let other: TransportProtocol = scene.transport == .tcp ? .udp : .tcp
            foreign.endpoint = TransportEndpoint(backend.endpoint.address, 8080, other)
            try expectRefused([.backend(id, foreign)])
            try expectRefused([.backend(id, nil)])
            try lab.perform([.backend(id, backend)])
            let mine = try #require(scene.scope == .external ? record.sets.first : record.sets.last)
            let set = try #require(image.sets[mine])
            try expectRefused([.set(mine, nil)])
            try lab.perform([.set(mine, set)])
            try lab.expect(request, in: scene.ingress, .becomes(request.sent(to: scene.backend(2))), .forwardNew)
        }
    }
}
