import BPF
import NeedletailABI
import NetTypes
import PacketKit
import Resolver
import TestSupport
import Testing

@testable import Dataplane

/// Packets of plain flows go by a mark for a while, and nobody can tell the difference.
@Suite(.needsRoot) struct MarkTests {
    /// A request that leaves the state of its flow alone.
    private func data(_ scene: Scene, to frontend: Int = 1) -> PacketBuilder {
        scene.request(.ack, to: scene.frontend(frontend))
    }

    /// Opens a flow and has it marked. Returns its backend.
    private func marked(_ lab: Lab, _ scene: Scene, through frontend: Int = 1) throws -> TransportEndpoint {
        let opened = try lab.run(scene.request(to: scene.frontend(frontend)).bytes, in: scene.ingress)
        let backend = try #require(PacketDissection(opened.output).destination)
        let packet = data(scene, to: frontend)
        try lab.expect(packet, in: scene.ingress, .becomes(packet.sent(to: backend)), .forwardEstablished)
        return backend
    }

    private func forget(_ lab: Lab) throws {
        for flows in lab.datapath.maps.flows4.all { for (key, _) in try flows.entries() { try flows.delete(key) } }
        for flows in lab.datapath.maps.flows6.all { for (key, _) in try flows.entries() { try flows.delete(key) } }
    }

    @Test("The flow table is not asked for a while, and then again", arguments: Scene.all)
    func marksEnd(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving(scene.backends(1...8))])
            let backend = try marked(lab, scene)
            try forget(lab)
            let packet = data(scene)
            try lab.expect(packet, in: scene.ingress, .becomes(packet.sent(to: backend)), .forwardEstablished)
            #expect(try lab.flows().isEmpty, "it went by its mark")
            try FlowTable(lab.datapath.maps).unmark()
            let outcome = try lab.run(packet.bytes, in: scene.ingress)
            #expect(outcome.output == packet.sent(to: backend).bytes)
            #expect(try lab.flows().count == 2, "it began anew")
        }
    }

    @Test("A flow stays with its backend when its slot is given to another", arguments: Scene.all)
    func slotsChange(_ scene: Scene) throws {
        try Lab.withLab { lab in
            var moved = 0
            for port in UInt16(40_000)..<40_040 {
                try lab.forgetClients()
                try lab.serve([scene.serving(scene.backends(1...2))])
                let client = scene.client(port: port)
                let syn = scene.request(from: client)
                let opened = try lab.run(syn.bytes, in: scene.ingress)
                let backend = try #require(PacketDissection(opened.output).destination)
                let packet = scene.request(.ack, from: client)
                for _ in 0..<2 {
                    try lab.expect(packet, in: scene.ingress, .becomes(packet.sent(to: backend)), .forwardEstablished)
                }
                try lab.serve([scene.serving(scene.backends(1...8))])
                if try lab.choice(client, scene.frontend(), scene.scope) != backend { moved += 1 }
                for _ in 0..<3 {
                    try lab.expect(packet, in: scene.ingress, .becomes(packet.sent(to: backend)), .forwardEstablished)
                }
                // And back to what it was at first.
                try lab.serve([scene.serving(scene.backends(1...2))])
                try lab.expect(packet, in: scene.ingress, .becomes(packet.sent(to: backend)), .forwardEstablished)
            }
            #expect(moved > 0, "no slot changed: nothing was shown")
        }
    }

    @Test("A tuple whose flow is of another kind now is not marked any more", arguments: Scene.tcp)
    func remapped(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([1, 2].map { scene.serving([scene.backend()], number: $0) })
            _ = try marked(lab, scene, through: 2)
            // The connection ends, and another one gets its reply tuple before it is opened again.
            _ = try lab.run(scene.request(.rst, to: scene.frontend(2)).bytes, in: scene.ingress)
            let other = scene.request(to: scene.frontend(1))
            try lab.expect(other, in: scene.ingress, .becomes(other.sent(to: scene.backend())), .forwardNew)
            let again = try lab.run(scene.request(to: scene.frontend(2)).bytes, in: scene.ingress)
            let alias = try #require(PacketDissection(again.output).source)
            #expect(alias != scene.client())
            let packet = data(scene, to: 2)
            for _ in 0..<2 {
                try lab.expect(
                    packet, in: scene.ingress, .becomes(packet.readdressed(from: alias, to: scene.backend())),
                    .forwardEstablished)
            }
        }
    }

    @Test("A connection of the node itself is left alone though its tuple was marked", arguments: Scene.tcp)
    func answers(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try marked(lab, scene)
            try forget(lab)
            try lab.expect(scene.request([.syn, .ack]), in: scene.ingress, .untouched, .passNotService)
            for _ in 0..<2 { try lab.expect(data(scene), in: scene.ingress, .untouched, .passNotService) }
        }
    }

    @Test("A mark is not for clients that come to another set", arguments: Scene.udp)
    func endpointsGone(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend(1)])])
            _ = try marked(lab, scene)
            try lab.serve([scene.serving([scene.backend(2)])])
            let packet = scene.request()
            try lab.expect(
                packet, in: scene.ingress, .becomes(packet.sent(to: scene.backend(2))), .forwardNew, .flowReselected)
        }
    }

    @Test("Flows beyond what the lines have room for are served all the same", arguments: Scene.all)
    func crowds(_ scene: Scene) throws {
        try Lab.withLab { lab in
            let table = FlowTable(lab.datapath.maps)
            try lab.datapath.maps.marking.update(0, nt_marking(mask: 0, pad: 0))
            defer { try? table.fitMarks(toFlows: 1 << 14) }
            try lab.serve([scene.serving(scene.backends(1...8))])
            let clients = (0..<40).map { scene.client(port: 40_000 + UInt16($0)) }
            for client in clients { _ = try lab.run(scene.request(from: client).bytes, in: scene.ingress) }
            for _ in 0..<3 {
                for client in clients {
                    let backend = try lab.choice(client, scene.frontend(), scene.scope)
                    let packet = scene.request(.ack, from: client)
                    try lab.expect(packet, in: scene.ingress, .becomes(packet.sent(to: backend)), .forwardEstablished)
                }
            }
        }
    }

    @Test("A sender may reply as soon as a flow leads there, and for good", arguments: Scene.all)
    func silence(_ scene: Scene) throws {
        try Lab.withLab { lab in
            // Others than those of all other tests, whose bits may be clear by now.
            let backend = scene.backend(77, port: 7_000 + UInt16(scene.ingress.rawValue))
            try lab.serve([scene.serving([backend])])
            let reply = scene.reply(.ack, from: backend)
            try lab.expect(reply, in: scene.egress, .untouched, .passNotService)
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try lab.expect(reply, in: scene.egress, .becomes(reply.sent(from: scene.frontend())), .reverseTranslated)
            // Its forward entry alone may be left, which restores the other.
            let lost = try #require(try lab.flow(.reverse, backend, scene.client()))
            try lab.evict(lost)
            try lab.age(ticks: 100)
            _ = try lab.run(scene.request(.ack).bytes, in: scene.ingress)
            try lab.expect(reply, in: scene.egress, .becomes(reply.sent(from: scene.frontend())), .reverseTranslated)
        }
    }

    @Test("There are lines for the flows there are, within the map", arguments: [0, 1, 5_000, 1 << 30])
    func fitting(_ flows: Int) throws {
        try Lab.withLab { lab in
            let maps = lab.datapath.maps
            defer { try? FlowTable(maps).fitMarks(toFlows: 1 << 14) }
            try maps.marking.update(0, nt_marking(mask: 0, pad: 0))
            try FlowTable(maps).fitMarks(toFlows: flows)
            let lines = Int(try #require(try maps.marking.lookup(0)).mask) + 1
            #expect(lines & (lines - 1) == 0)
            #expect(lines <= Int(maps.marks.info.maxEntries))
            #expect(lines * Int(NT_MARKS_PER_LINE) >= min(flows, Int(maps.marks.info.maxEntries)))
        }
    }
}
