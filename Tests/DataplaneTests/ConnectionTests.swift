import Dataplane
import NeedletailABI
import NetTypes
import PacketKit
import Planning
import Resolver
import TestSupport
import Testing

/// The life of a TCP connection as the flow table sees it.
@Suite(.needsRoot) struct ConnectionTests {
    /// Both entries' state, which must be the same.
    private func state(_ lab: Lab, _ scene: Scene, sourceLocation: SourceLocation = #_sourceLocation) throws
        -> FlowEntry.State
    {
        let flows = try lab.flows()
        #expect(flows.count == 2, sourceLocation: sourceLocation)
        #expect(Set(flows.map(\.flags)).count == 1, sourceLocation: sourceLocation)
        return try #require(flows.first).state
    }

    private func forward(_ lab: Lab, _ scene: Scene, _ flags: TCPFlags, to backend: TransportEndpoint? = nil) throws {
        let packet = scene.request(flags)
        try lab.expect(
            packet, in: scene.ingress, .becomes(packet.sent(to: backend ?? scene.backend())), .forwardEstablished)
    }

    private func reverse(_ lab: Lab, _ scene: Scene, _ flags: TCPFlags, from backend: TransportEndpoint? = nil) throws {
        let packet = scene.reply(flags, from: backend)
        try lab.expect(packet, in: scene.egress, .becomes(packet.sent(from: scene.frontend())), .reverseTranslated)
    }

    @Test("Opening, established, closing, closed: the same in both entries", arguments: Scene.tcp)
    func life(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            try lab.expect(
                scene.request(), in: scene.ingress, .becomes(scene.request().sent(to: scene.backend())), .forwardNew)
            #expect(try state(lab, scene) == .opening)
            try forward(lab, scene, .syn)
            #expect(try state(lab, scene) == .opening)
            try reverse(lab, scene, [.syn, .ack])
            #expect(try state(lab, scene) == .established)
            try forward(lab, scene, .ack)
            #expect(try state(lab, scene) == .established)
            try forward(lab, scene, [.fin, .ack])
            #expect(try state(lab, scene) == .closing)
            try reverse(lab, scene, .ack)
            #expect(try state(lab, scene) == .closing)
            try reverse(lab, scene, [.fin, .ack])
            #expect(try state(lab, scene) == .closed)
            // The last acknowledgment still has to arrive.
            try forward(lab, scene, .ack)
            #expect(try state(lab, scene) == .closed)
        }
    }

    @Test("The backend may be the one to finish first", arguments: Scene.tcp)
    func finishedByTheBackend(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try reverse(lab, scene, [.fin, .ack])
            #expect(try state(lab, scene) == .closing)
            try reverse(lab, scene, [.fin, .ack])
            #expect(try state(lab, scene) == .closing, "a FIN sent again is no second FIN")
            try forward(lab, scene, [.fin, .ack])
            #expect(try state(lab, scene) == .closed)
        }
    }

    @Test("A reset from either side closes, and is delivered", arguments: Scene.tcp, [true, false])
    func reset(_ scene: Scene, byTheClient: Bool) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try reverse(lab, scene, [.syn, .ack])
            byTheClient ? try forward(lab, scene, .rst) : try reverse(lab, scene, [.rst, .ack])
            #expect(try state(lab, scene) == .closed)
        }
    }

    @Test("A reset that the backend ignores ends nothing: it goes on talking", arguments: Scene.tcp)
    func ignoredReset(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try reverse(lab, scene, [.syn, .ack])
            try forward(lab, scene, .rst)
            try forward(lab, scene, .ack)
            #expect(try state(lab, scene) == .closed)
            try reverse(lab, scene, .ack)
            #expect(try state(lab, scene) == .established)
        }
    }

    @Test(
        "An answer to a connection whose local port is a frontend's passes, with all that follows", arguments: Scene.tcp
    )
    func answerToTheNodesOwnConnection(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            for flags in [[.syn, .ack], .ack, [.fin, .ack]] as [TCPFlags] {
                try lab.expect(scene.request(flags), in: scene.ingress, .untouched, .passNotService)
            }
            // The same tuple may be a client's later.
            let packet = scene.request(.syn)
            try lab.expect(
                packet, in: scene.ingress, .becomes(packet.sent(to: scene.backend())), .forwardNew, .flowReselected)
        }
    }

    @Test(arguments: Scene.udp)
    func anAnsweredUDPFlowIsEstablished(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try forward(lab, scene, [])
            #expect(try state(lab, scene) == .opening)
            try reverse(lab, scene, [])
            #expect(try state(lab, scene) == .established)
        }
    }

    @Test("A SYN sent again stays with its backend, whatever the frontend's set is by then", arguments: Scene.tcp)
    func retransmittedSYN(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend(1)]), scene.serving([scene.backend(1)], number: 2)])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            // Backend 1 still serves the second frontend.
            try lab.serve([scene.serving([scene.backend(2)]), scene.serving([scene.backend(1)], number: 2)])
            try forward(lab, scene, .syn, to: scene.backend(1))
        }
    }

    @Test("A SYN whose backend takes no new connections goes to one that does", arguments: Scene.tcp, [true, false])
    func unansweredSYN(_ scene: Scene, isTerminating: Bool) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend(1)])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try lab.serve([scene.serving([scene.backend(2)])], alsoServing: isTerminating ? [scene.backend(1)] : [])
            try lab.expect(
                scene.request(), in: scene.ingress, .becomes(scene.request().sent(to: scene.backend(2))),
                .flowReselected, .forwardNew)
            #expect(try lab.flow(.reverse, scene.backend(1), scene.client()) == nil)
            #expect(try state(lab, scene) == .opening)
        }
    }

    @Test("An old SYN of a connection with a terminating backend does not tear it away (rule 2)", arguments: Scene.tcp)
    func duplicateSYN(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend(1)])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try reverse(lab, scene, [.syn, .ack])
            try forward(lab, scene, .ack)
            try lab.serve([scene.serving([scene.backend(2)])], alsoServing: [scene.backend(1)])
            try forward(lab, scene, .syn, to: scene.backend(1))
            try forward(lab, scene, .ack, to: scene.backend(1))
        }
    }

    @Test(
        "A SYN that uses a finished connection's tuple again picks a backend anew", arguments: Scene.tcp,
        [[TCPFlags.fin], [.rst]])
    func reuse(_ scene: Scene, ending: [TCPFlags]) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend(1)])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try reverse(lab, scene, [.syn, .ack])
            for flags in ending {
                try forward(lab, scene, flags.union(.ack))
                try reverse(lab, scene, flags.union(.ack))
            }
            try lab.serve([scene.serving([scene.backend(2)])], alsoServing: [scene.backend(1)])
            // Anything but a SYN is of the old connection.
            try forward(lab, scene, .ack)
            try lab.expect(
                scene.request(), in: scene.ingress, .becomes(scene.request().sent(to: scene.backend(2))),
                .flowReselected, .forwardNew)
            #expect(try lab.flow(.reverse, scene.backend(1), scene.client()) == nil)
            #expect(try state(lab, scene) == .opening)
            try reverse(lab, scene, [.syn, .ack], from: scene.backend(2))
            try forward(lab, scene, .ack, to: scene.backend(2))
            #expect(try state(lab, scene) == .established)
        }
    }

    @Test("A connection without an entry is picked up where its slot says", arguments: Scene.tcp)
    func pickUp(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving(scene.backends(1...8))])
            let backend = try lab.choice(scene.client(), scene.frontend(), scene.scope)
            let packet = scene.request([.ack, .psh])
            try lab.expect(
                packet, in: scene.ingress, .becomes(packet.sent(to: backend)), .flowPickedUp, .forwardNew)
            #expect(try state(lab, scene) == .established)
            try reverse(lab, scene, .ack, from: backend)
        }
    }

    @Test("Picked up at its end, a connection is closing or closed", arguments: Scene.tcp)
    func pickUpAtTheEnd(_ scene: Scene) throws {
        for (flags, expected) in [(TCPFlags.fin, FlowEntry.State.closing), (.rst, .closed)] {
            try Lab.withLab { lab in
                try lab.serve([scene.serving([scene.backend()])])
                let packet = scene.request(flags.union(.ack))
                try lab.expect(
                    packet, in: scene.ingress, .becomes(packet.sent(to: scene.backend())), .flowPickedUp, .forwardNew)
                #expect(try state(lab, scene) == expected)
            }
        }
    }

    @Test("A direct connection is rid of a finished flow's replies", arguments: Scene.tcp)
    func directConnection(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            let direct = scene.request(.syn, to: scene.backend())
            // While the flow is open, the tuple is its own.
            try lab.expect(direct, in: scene.ingress, .untouched, .passNotService)
            #expect(try lab.flows().count == 2)
            try forward(lab, scene, .rst)
            try lab.expect(
                scene.request(.ack, to: scene.backend()), in: scene.ingress, .untouched, .passNotService)
            #expect(try lab.flows().count == 2, "only a SYN begins a connection")
            try lab.expect(direct, in: scene.ingress, .untouched, .flowStaleCleared, .passNotService)
            #expect(try lab.flow(.reverse, scene.backend(), scene.client()) == nil)
            try lab.expect(scene.reply(), in: scene.egress, .untouched, .passNotService)
        }
    }

    @Test("Replies that no flow knows are not touched", arguments: Scene.all)
    func unknownReply(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            try lab.expect(scene.reply(), in: scene.egress, .untouched, .passNotService)
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            for other in [
                scene.reply(from: scene.backend(2)), scene.reply(from: scene.backend(port: 8081)),
                scene.reply(to: scene.client(2)), scene.reply(to: scene.client(port: 40_001)),
                scene.request(to: scene.frontend()), scene.request(to: scene.backend()),
            ] {
                try lab.expect(other, in: scene.egress, .untouched, .passNotService)
            }
        }
    }

    @Test("A reply outlives its Service", arguments: Scene.all)
    func replyWithoutService(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try lab.perform([.frontend(scene.frontend(), nil)])
            try reverse(lab, scene, .ack)
        }
    }
}
