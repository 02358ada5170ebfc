import Dataplane
import NeedletailABI
import NetTypes
import PacketKit
import Planning
import Resolver
import TestSupport
import Testing

/// Client to frontend: who gets the packet, and what it looks like then.
@Suite(.needsRoot) struct ForwardTests {
    @Test(arguments: Scene.all)
    func firstPacketGoesToABackendAndCreatesBothEntries(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            let request = scene.request()
            try lab.expect(request, in: scene.ingress, .becomes(request.sent(to: scene.backend())), .forwardNew)

            let image = try lab.image()
            let flags: FlowEntry.Flags = scene.transport == .tcp ? .syn : []
            let backend = try #require(image.backends.first { $0.value.endpoint == scene.backend() }?.key)
            let service = try #require(image.services.first { $0.value == scene.name(1) }?.key)
            let forward = try #require(try lab.flow(.forward, scene.client(), scene.frontend()))
            let reverse = try #require(try lab.flow(.reverse, scene.backend(), scene.client()))
            #expect(try lab.flows().count == 2)
            #expect(forward.rewritten == FlowTuple(source: scene.client(), destination: scene.backend()))
            #expect(reverse.rewritten == FlowTuple(source: scene.frontend(), destination: scene.client()))
            for flow in [forward, reverse] {
                #expect(flow.backend == backend)
                #expect(flow.service == service)
                #expect(flow.flags == flags)
                #expect(flow.state == .opening)
                #expect(flow.age < 30 && flow.idle < 30)
                #expect(flow.parties == (scene.client(), scene.frontend(), scene.backend()))
            }
        }
    }

    @Test(arguments: Scene.all)
    func aFlowStaysWithItsBackendWhenTheSetIsReplaced(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving(scene.backends(1...8))])
            let chosen = try lab.choice(scene.client(), scene.frontend(), scene.scope)
            try lab.expect(scene.request(), in: scene.ingress, .becomes(scene.request().sent(to: chosen)), .forwardNew)

            try lab.serve([scene.serving(scene.backends(11...18))], alsoServing: [chosen])
            let next = scene.request([.ack, .psh], payload: "more")
            try lab.expect(next, in: scene.ingress, .becomes(next.sent(to: chosen)), .forwardEstablished)

            // Another client's flow begins with the new set.
            let other = scene.request(from: scene.client(2))
            let theirs = try lab.choice(scene.client(2), scene.frontend(), scene.scope)
            #expect(scene.backends(11...18).contains(theirs))
            try lab.expect(other, in: scene.ingress, .becomes(other.sent(to: theirs)), .forwardNew)
        }
    }

    @Test(arguments: Scene.all)
    func eachScopeHasItsOwnBackends(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([
                scene.frontend(external: .these([scene.backend(1)]), internal: .these([scene.backend(2)])),
                scene.frontend(2, external: .refused(.noLocalEndpointsExternal), internal: .these([scene.backend(2)])),
                scene.frontend(3, external: .these([scene.backend(1)]), internal: .refused(.noLocalEndpointsInternal)),
            ])
            let request = scene.request()
            let mine = scene.scope == .external ? scene.backend(1) : scene.backend(2)
            try lab.expect(request, in: scene.ingress, .becomes(request.sent(to: mine)), .forwardNew)
            let (second, third) = (scene.request(to: scene.frontend(2)), scene.request(to: scene.frontend(3)))
            if scene.scope == .external {
                try lab.expect(second, in: scene.ingress, .dropped, .dropNoLocalEndpoints)
                let port = scene.client(port: 40_001)
                let allowed = scene.request(from: port, to: scene.frontend(3))
                try lab.expect(allowed, in: scene.ingress, .becomes(allowed.sent(to: mine)), .forwardNew)
            } else {
                try lab.expect(third, in: scene.ingress, .dropped, .dropNoLocalEndpoints)
                let allowed = scene.request(from: scene.client(port: 40_001), to: scene.frontend(2))
                try lab.expect(allowed, in: scene.ingress, .becomes(allowed.sent(to: mine)), .forwardNew)
            }
        }
    }

    @Test(arguments: Scene.all)
    func whatIsNoFrontendIsNotTouched(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            let other: TransportProtocol = scene.transport == .tcp ? .udp : .tcp
            let elsewhere = [
                scene.frontend(port: 81), scene.frontend(2), scene.frontend(port: 80 << 8),
                TransportEndpoint(scene.frontend().address, 80, other), scene.client(), scene.backend(),
            ]
            for destination in elsewhere {
                let source = TransportEndpoint(scene.client().address, 40_000, destination.transport)
                let packet = PacketBuilder(from: source, to: destination, flags: .syn)
                try lab.expect(packet, in: scene.ingress, .untouched, .passNotService)
            }
            // From, not to, the frontend.
            let backwards = scene.request(from: scene.frontend(), to: scene.client())
            try lab.expect(backwards, in: scene.ingress, .untouched, .passNotService)
            #expect(try lab.flows() == [])
        }
    }

    @Test(
        "Without backends new flows are refused: with an answer, or silently where there are some on other nodes",
        arguments: Scene.all)
    func refusals(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            for refusal in [Refusal.noEndpoints, .noLocalEndpointsExternal, .noLocalEndpointsInternal] {
                try lab.serve([scene.frontend(external: .refused(refusal), internal: .refused(refusal))])
                if refusal == .noEndpoints {
                    try lab.expectRefusal(of: scene.request(), scene)
                } else {
                    try lab.expect(scene.request(), in: scene.ingress, .dropped, .dropNoLocalEndpoints)
                }
                #expect(try lab.flows() == [])
            }
        }
    }

    @Test(arguments: Scene.all)
    func establishedFlowsGoOnWhereNewOnesAreRefused(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try lab.serve(
                [scene.frontend(external: .refused(.noEndpoints), internal: .refused(.noEndpoints))],
                alsoServing: [scene.backend()])
            let next = scene.request(.ack)
            try lab.expect(next, in: scene.ingress, .becomes(next.sent(to: scene.backend())), .forwardEstablished)
            try lab.expectRefusal(of: scene.request(from: scene.client(2)), scene)
        }
    }

    @Test(arguments: Scene.tcp)
    func aRetiredFrontendKeepsItsFlowsAndStartsNone(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try lab.serve([], alsoServing: [scene.backend()])
            let next = scene.request(.ack)
            try lab.expect(next, in: scene.ingress, .becomes(next.sent(to: scene.backend())), .forwardEstablished)
            let reply = scene.reply(.ack)
            try lab.expect(reply, in: scene.egress, .becomes(reply.sent(from: scene.frontend())), .reverseTranslated)
            for flags in [TCPFlags.syn, .ack] {
                let stranger = scene.request(flags, from: scene.client(2))
                try lab.expect(stranger, in: scene.ingress, .untouched, .passRetired)
            }
        }
    }

    @Test("A deleted UDP service's flows end with it (service semantics 2.9)", arguments: Scene.udp, [true, false])
    func retiredFrontend(_ scene: Scene, backendServesOthers: Bool) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try lab.serve([], alsoServing: backendServesOthers ? [scene.backend()] : [])
            let outcome = try lab.run(scene.request().bytes, in: scene.ingress)
            #expect(outcome.verdict == scene.ingress.pass)
            #expect(outcome.output == scene.request().bytes)
            #expect(outcome.counted[scene.ingress]?[.passRetired] == 1)
        }
    }

    @Test(arguments: Scene.tcp)
    func aTCPFlowOutlivesItsBackendsPlaceInTheService(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend(1)])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try lab.serve([scene.serving([scene.backend(2)])])
            let next = scene.request(.ack)
            try lab.expect(next, in: scene.ingress, .becomes(next.sent(to: scene.backend(1))), .forwardEstablished)
        }
    }

    @Test(arguments: Scene.udp)
    func aUDPFlowLeavesABackendThatIsGone(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend(1)])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try lab.serve([scene.serving([scene.backend(2)])])
            let request = scene.request()
            try lab.expect(
                request, in: scene.ingress, .becomes(request.sent(to: scene.backend(2))), .flowReselected, .forwardNew)
            #expect(try lab.flow(.reverse, scene.backend(1), scene.client()) == nil)
            let late = scene.reply(from: scene.backend(1))
            try lab.expect(late, in: scene.egress, .untouched, .passNotService)
            let reply = scene.reply(from: scene.backend(2))
            try lab.expect(reply, in: scene.egress, .becomes(reply.sent(from: scene.frontend())), .reverseTranslated)
            try lab.expect(
                request, in: scene.ingress, .becomes(request.sent(to: scene.backend(2))), .forwardEstablished)
            #expect(try lab.flows().count == 2)
        }
    }

    @Test(
        "All that UDP flows need is refused too when the last backend goes (service semantics 2.9)",
        arguments: Scene.udp)
    func udpWithoutBackends(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.beAbleToAnswer()
            try lab.serve([scene.serving([scene.backend()])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try lab.serve([scene.frontend(external: .refused(.noEndpoints), internal: .refused(.noEndpoints))])
            let request = scene.request()
            try lab.expect(
                request, in: scene.ingress, .answered(scene.refusal(of: request)), .dropNoEndpoints,
                scene.refusalCounter)
            #expect(try lab.flows() == [])
            // From then on like a new flow.
            try lab.expectRefusal(of: request, scene)
        }
    }

    @Test(arguments: Scene.all)
    func aTerminatingBackendKeepsItsFlowsAndGetsNone(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend(1)])])
            _ = try lab.run(scene.request().bytes, in: scene.ingress)
            try lab.serve([scene.serving([scene.backend(2)])], alsoServing: [scene.backend(1)])
            let next = scene.request(.ack)
            try lab.expect(next, in: scene.ingress, .becomes(next.sent(to: scene.backend(1))), .forwardEstablished)
            let other = scene.request(from: scene.client(2))
            try lab.expect(other, in: scene.ingress, .becomes(other.sent(to: scene.backend(2))), .forwardNew)
        }
    }

    @Test(arguments: Scene.all)
    func clientsWithTheSamePortAreToldApart(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            for number in 1...3 {
                let request = scene.request(from: scene.client(number))
                try lab.expect(request, in: scene.ingress, .becomes(request.sent(to: scene.backend())), .forwardNew)
            }
            for number in 1...3 {
                let reply = scene.reply(to: scene.client(number))
                try lab.expect(
                    reply, in: scene.egress, .becomes(reply.sent(from: scene.frontend())), .reverseTranslated)
            }
        }
    }

    @Test(
        "Both scopes' programs share the flow table: a packet that passes two hooks is translated once",
        arguments: Scene.all)
    func translatedOnce(_ scene: Scene) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.frontend(external: .these([scene.backend()]), internal: .these([scene.backend()]))])
            let translated = scene.request().sent(to: scene.backend())
            try lab.expect(scene.request(), in: scene.ingress, .becomes(translated), .forwardNew)
            for program in [DatapathProgram.externalXDP, .externalIngress, .workloadIngress] {
                try lab.expect(translated, in: program, .untouched, .passNotService)
            }
            for program in [DatapathProgram.externalEgress, .workloadEgress] {
                try lab.expect(translated, in: program, .untouched, .passNotService)
            }
        }
    }
}
