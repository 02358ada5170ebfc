import BPF
import Dataplane
import Foundation
import NeedletailABI
import NetTypes
import Planning
import Testing

/// What the command line tool asks of the programs: what would become of a packet, and what they do now.
@Suite(.serialized, .requiresBPF, .timeLimit(.minutes(2)))
struct WatchingTests {
    let datapath: TestDatapath

    init() throws { datapath = try Scene.datapath() }

    /// All that a packet may leave behind.
    private struct Trace: Equatable {
        let flows: Set<FlowEntry>
        let counters: CounterReading
        let statistics: [ServiceID: ServiceStatistics]

        init(_ datapath: TestDatapath) throws {
            let maps = datapath.datapath.maps
            var flows: Set<FlowEntry> = []
            try FlowTable(maps).forEach { flow in
                var flow = flow
                (flow.age, flow.idle) = (0, 0)
                flows.insert(flow)
            }
            self.flows = flows
            counters = try CounterReading(maps)
            statistics = try ServiceStatistics.read(maps)
        }
    }

    @Test("A traced packet meets what the next real one meets, and leaves nothing behind")
    func twins() throws {
        try Datapath.pinTraceTwins(datapath.settings, pins: datapath.pins)
        let client = try endpoint("198.18.2.9:41000/TCP")
        let web = try endpoint("198.18.0.10:80/TCP")
        let open = try endpoint("198.18.2.1:40001/TCP")
        let packets: [(Packet, DatapathProgram, DatapathCounter)] = [
            (Packet(client, web, flags: Packet.syn), .workloadIngress, .forwardNew),
            (Packet(open, web, flags: Packet.ack), .workloadIngress, .forwardEstablished),
            (Packet(client, try endpoint("198.18.2.1:80/TCP"), flags: Packet.syn), .workloadIngress, .passNotService),
            (Packet(client, try endpoint("198.18.2.1:80/TCP"), flags: Packet.ack), .workloadEgress, .passNotService),
        ]
        for (packet, program, counter) in packets {
            let before = try Trace(datapath)
            let traced = try TraceProgram(program, pinnedIn: datapath.pins).run(packet.bytes)
            #expect(try Trace(datapath) == before)
            #expect(traced.counters == [counter])
            let live = try #require(datapath.datapath.programs[program]).testRun(packet: packet.bytes)
            #expect(traced.run.signedVerdict == live.signedVerdict)
            #expect(traced.run.output == live.output)
        }
    }

    @Test func theRecordNamesWhatWasChosen() throws {
        try Datapath.pinTraceTwins(datapath.settings, pins: datapath.pins)
        let web = try endpoint("198.18.0.10:80/TCP")
        let client = try endpoint("198.18.2.9:41000/TCP")
        let outcome = try TraceProgram(.workloadIngress, pinnedIn: datapath.pins)
            .run(Packet(client, web, flags: Packet.syn).bytes)
        let frontend = try #require(datapath.image.frontends[web])
        let record = outcome.record
        #expect(record.service == frontend.service)
        #expect(.set(record.set) == frontend.internal)
        let backend = try #require(datapath.image.backends[record.backend])
        #expect(Packet(outcome.run.output)?.destination == backend.endpoint)
        #expect(record.flags & (NT_TRACE_FRONTEND | NT_TRACE_SLOT) == NT_TRACE_FRONTEND | NT_TRACE_SLOT)
        // The next one begins anew.
        let other = try TraceProgram(.workloadIngress, pinnedIn: datapath.pins)
            .run(Packet(client, client, flags: Packet.syn).bytes)
        #expect(other.record.service.rawValue == 0 && other.record.flags & NT_TRACE_FRONTEND == 0)
    }

    @Test func newTwinsTakeThePlaceOfOldOnesAndGoWithTheRest() throws {
        #expect(throws: DatapathError.self) { try TraceProgram(.externalXDP, pinnedIn: datapath.pins) }
        for _ in 0..<2 { try Datapath.pinTraceTwins(datapath.settings, pins: datapath.pins) }
        for program in DatapathProgram.attachable {
            #expect(try TraceProgram(program, pinnedIn: datapath.pins).original == program)
        }
        #expect(datapath.pins.entries(in: "trace").count == DatapathProgram.attachable.count)
        _ = try Attachments.removeAll(datapath.pins)
        #expect(try !datapath.pins.isPresent())
    }

    @Test("Who watches is told of flows and refusals, as long as it watches")
    func events() async throws {
        let client = try endpoint("192.0.2.9:41000/TCP")
        let (web, empty) = (try endpoint("192.0.2.1:30080/TCP"), try endpoint("198.18.0.12:80/TCP"))
        func send() throws {
            for frontend in [web, empty] {
                try datapath.send(Packet(client, frontend, flags: Packet.syn), by: .externalIngress)
            }
            _ = try FlowTable(datapath.datapath.maps).flush { $0.parties.client == client }
        }
        try send()
        var watch: EventWatch? = try EventWatch(pinnedIn: datapath.pins)
        #expect(throws: DatapathError.self) { try EventWatch(pinnedIn: datapath.pins) }
        try send()
        var events: [DatapathEvent] = []
        if let batches = watch?.batches {
            for await batch in batches {
                events += batch
                if events.count >= 2 { break }
            }
        }
        #expect(events.map(\.kind) == [.newFlow, .refused])
        #expect(events.map(\.counter) == [.forwardNew, .dropNoEndpoints])
        #expect(events.map(\.packet.destination) == [web, empty])
        #expect(events.allSatisfy { $0.packet.source == client && $0.program == .externalIngress })
        #expect(events.map(\.service) == [web, empty].map { datapath.image.frontends[$0]?.service })
        #expect(events.first?.backend.flatMap { datapath.image.backends[$0] } != nil)
        #expect(events.last?.backend == nil)
        watch = nil
        try send()
        // Only what comes after it began is told to the next one.
        let next = try EventWatch(.refused, pinnedIn: datapath.pins)
        try send()
        try next.stop()
        try send()
        var told: [DatapathEvent] = []
        for await batch in next.batches {
            told += batch
            break
        }
        #expect(told.map(\.counter) == [.dropNoEndpoints])
    }

    @Test func recordsThatNoProgramWritesAreNotMisread() {
        var wire = nt_event()
        (wire.family, wire.protocol) = (4, 6)
        #expect(DatapathEvent(wire) != nil)
        for (path, value) in [
            (\nt_event.family, 5), (\.protocol, 99), (\.program, 6), (\.counter, Int(NT_COUNTER_COUNT)),
        ] {
            var broken = wire
            broken[keyPath: path as WritableKeyPath<nt_event, UInt8>] = UInt8(value)
            #expect(DatapathEvent(broken) == nil)
        }
    }
}
