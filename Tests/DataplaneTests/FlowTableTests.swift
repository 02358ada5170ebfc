import BPF
import NeedletailABI
import NetTypes
import PacketKit
import Planning
import Resolver
import TestSupport
import Testing

@testable import Dataplane

/// The control plane's view of the flows: how old they are, what they use, and when they end.
@Suite(.needsRoot) struct FlowTableTests {
    /// The scenes that make flows of both families and transports.
    private static let scenes = Scene.all.filter { $0.ingress == .workloadIngress }

    /// How a flow gets to a state.
    private static func bring(_ lab: Lab, _ scene: Scene, to state: FlowEntry.State) throws {
        var packets: [(PacketBuilder, DatapathProgram)] = [(scene.request(), scene.ingress)]
        if state != .opening { packets.append((scene.reply(), scene.egress)) }
        if state == .closing || state == .closed { packets.append((scene.request([.fin, .ack]), scene.ingress)) }
        if state == .closed { packets.append((scene.reply([.fin, .ack]), scene.egress)) }
        for (packet, program) in packets { _ = try lab.run(packet.bytes, in: program) }
        try #require(try lab.flows().allSatisfy { $0.state == state })
    }

    private static func timeout(_ state: FlowEntry.State) -> WritableKeyPath<FlowTimeouts, Int> {
        switch state {
        case .opening: \.tcpOpening
        case .established: \.tcpEstablished
        case .closing: \.tcpClosing
        case .closed: \.tcpClosed
        }
    }

    private static func timeouts(
        _ own: WritableKeyPath<FlowTimeouts, Int>, _ seconds: Int, others: Int
    ) -> FlowTimeouts {
        var timeouts = FlowTimeouts()
        for path in FlowEntry.State.allCases.map(timeout) + [\.udpOpening, \.udpEstablished] {
            timeouts[keyPath: path] = others
        }
        timeouts[keyPath: own] = seconds
        return timeouts
    }

    @Test("A TCP flow ends after the timeout of its state, and of no other", arguments: FlowEntry.State.allCases)
    func tcpTimeouts(_ state: FlowEntry.State) throws {
        for scene in Self.scenes where scene.transport == .tcp {
            try expectTimeout(Self.timeout(state), scene) { try Self.bring($0, scene, to: state) }
        }
    }

    @Test("A UDP flow ends after another time when it has been answered", arguments: [false, true])
    func udpTimeouts(_ isAnswered: Bool) throws {
        for scene in Self.scenes where scene.transport == .udp {
            try expectTimeout(isAnswered ? \.udpEstablished : \.udpOpening, scene) {
                try Self.bring($0, scene, to: isAnswered ? .established : .opening)
            }
        }
    }

    private func expectTimeout(
        _ own: WritableKeyPath<FlowTimeouts, Int>, _ scene: Scene, _ prepare: (Lab) throws -> Void
    ) throws {
        try Lab.withLab { lab in
            try lab.serve([scene.serving([scene.backend()])])
            try prepare(lab)
            try lab.age(ticks: 200)
            let table = FlowTable(lab.datapath.maps)
            // 200 ticks are 107 s, or a little more by now.
            let kept = try table.collect(Self.timeouts(own, 150, others: 0))
            #expect(kept.expired == 0)
            #expect(kept.entries[scene.family] == 2)
            let ended = try table.collect(Self.timeouts(own, 100, others: 9999))
            #expect(ended.expired == 2)
            #expect(ended.entries == [.v4: 0, .v6: 0])
            #expect(ended.usage == FlowUsage())
            #expect(try lab.flows() == [])
        }
    }

    @Test("A packet of either direction keeps a flow", arguments: [true, false])
    func aLiveFlowIsKept(_ fromTheClient: Bool) throws {
        for scene in Self.scenes {
            try Lab.withLab { lab in
                try lab.serve([scene.serving([scene.backend()])])
                try Self.bring(lab, scene, to: .established)
                try lab.age(ticks: 50_000)
                _ =
                    try fromTheClient
                    ? lab.run(scene.request(.ack).bytes, in: scene.ingress)
                    : lab.run(scene.reply(.ack).bytes, in: scene.egress)
                #expect(try FlowTable(lab.datapath.maps).collect(FlowTimeouts()).expired == 0)
                #expect(try lab.flows().count == 2)
            }
        }
    }

    /// Two flows of each family and transport, through frontends 1 and 2 to backends 1 and 2.
    private func withFlows(_ body: (Lab) throws -> Void) throws {
        try Lab.withLab { lab in
            try lab.serve(
                Self.scenes.flatMap { scene in
                    [scene.serving([scene.backend(1)]), scene.serving([scene.backend(2)], number: 2)]
                })
            for scene in Self.scenes {
                for number in [1, 2] {
                    let request = scene.request(to: scene.frontend(number))
                    _ = try lab.run(request.bytes, in: scene.ingress)
                }
            }
            try #require(try lab.flows().count == 16)
            try body(lab)
        }
    }

    @Test func usageNamesAllThatFlowsNeed() throws {
        try withFlows { lab in
            let image = try lab.image()
            let pass = try FlowTable(lab.datapath.maps).collect(FlowTimeouts())
            #expect(pass.expired == 0)
            #expect(pass.entries == [.v4: 8, .v6: 8])
            #expect(pass.usage.frontends == Set(image.frontends.keys))
            #expect(pass.usage.services == Set(image.services.keys))
            let backends = Self.scenes.flatMap { $0.backends(1...2) }
            #expect(Set(pass.usage.backends.map { image.backends[$0]?.endpoint }) == Set(backends))
        }
    }

    @Test("Only candidates are noted where there are any")
    func usageOfCandidates() throws {
        try withFlows { lab in
            let image = try lab.image()
            var candidates = ReclaimCandidates()
            let frontend = try #require(image.frontends.first)
            // Not every backend has a flow.
            let backend = try #require(try lab.flows().first?.backend)
            candidates.frontends = [frontend.key, TransportEndpoint(frontend.key.address, 1, .tcp)]
            candidates.services = [frontend.value.service]
            candidates.backends = [backend, BackendID(rawValue: 511)]
            var expected = FlowUsage()
            expected.frontends = [frontend.key]
            expected.services = [frontend.value.service]
            expected.backends = [backend]
            let table = FlowTable(lab.datapath.maps)
            #expect(try table.collect(FlowTimeouts(), noting: candidates).usage == expected)
            #expect(try table.collect(FlowTimeouts(), noting: ReclaimCandidates()).usage == FlowUsage())
        }
    }

    @Test("A table of many batches is gone through whole; expired entries go, others stay")
    func largeTable() throws {
        let map = try BPFMap<nt_flow_key4, nt_flow4>.create(type: .lruHash, name: "flows", maxEntries: 200_000)
        let now = FlowTable.currentTick()
        try Self.fill(map, entries: 60_000) { $0.isMultiple(of: 3) ? now &- 1000 : now }
        var pass = FlowTable.Pass()
        try FlowTable.collect(map, .v4, .tcp, FlowTimeouts(), ReclaimCandidates(), &pass)
        #expect(pass.expired == 20_000)
        #expect(pass.entries[.v4] == 40_000)
        #expect(try map.count() == 40_000)
    }

    /// Entries of TCP flows that wait for an answer, last seen at these ticks.
    static func fill(_ map: BPFMap<nt_flow_key4, nt_flow4>, entries: Int, seen: (Int) -> UInt32) throws {
        for start in stride(from: 0, to: entries, by: 10_000) {
            let numbers = start..<min(start + 10_000, entries)
            let keys = numbers.map { number in
                nt_flow_key4(
                    FlowTuple(
                        source: TransportEndpoint(
                            IPAddress(v4: 0xC612_0000 + UInt32(number >> 16)), UInt16(truncatingIfNeeded: number), .tcp),
                        destination: TransportEndpoint(IPAddress(v4: 0xC000_0201), 80, .tcp)), .forward)
            }
            let values = numbers.map { number in
                var value = nt_flow4()
                value.head.seen = seen(number)
                value.head.flags = NT_FLOW_SYN
                value.head.backend = BackendID(rawValue: 1)
                return value
            }
            try map.update(keys: keys.span, values: values.span)
        }
    }

    @Test("Flushing takes both directions of what is picked, and nothing else")
    func flush() throws {
        let scene = try #require(Self.scenes.first)
        let filters: [(String, Int, (FlowEntry) -> Bool)] = [
            ("a backend", 1, { $0.parties.backend == scene.backend(2) }),
            ("a frontend", 1, { $0.parties.frontend == scene.frontend(1) }),
            ("a protocol", 4, { $0.transport == .udp }),
            ("a family", 4, { $0.onWire.source.address.family == .v6 }),
            ("a client", 2, { $0.parties.client == scene.client() }),
            ("nothing", 0, { _ in false }),
            ("everything", 8, { _ in true }),
        ]
        for (name, count, matches) in filters {
            try withFlows { lab in
                #expect(try FlowTable(lab.datapath.maps).flush(matches) == count, "\(name)")
                let left = try lab.flows()
                #expect(left.count == 16 - 2 * count, "\(name)")
                #expect(!left.contains { matches($0.asForward) }, "\(name)")
            }
        }
    }

    @Test("A filter sees each flow from its client, whichever direction's entry is left")
    func flushHalves() throws {
        let scene = try #require(Self.scenes.first)
        try withFlows { lab in
            let forward = try #require(try lab.flow(.forward, scene.client(), scene.frontend()))
            let reverse = try #require(try lab.flow(.reverse, scene.backend(), scene.client()))
            #expect(reverse.asForward.onWire == forward.onWire)
            #expect(reverse.asForward.rewritten == forward.rewritten)
            try lab.evict(forward)
            _ = try FlowTable(lab.datapath.maps).flush { $0.onWire.destination == scene.frontend() }
            #expect(try lab.flow(.reverse, scene.backend(), scene.client()) == nil)
            #expect(try lab.flows().count == 14)
        }
    }
}
