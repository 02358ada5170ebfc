import BPF
import Dataplane
import NeedletailABI
import NetTypes
import TestSupport
import Testing

@testable import Benchmark

@Suite(.serialized, .needsRoot) struct RigTests {
    private static let flows = FlowCount(largest: ())

    private func stray(_ family: IPFamily) -> Frame {
        let site = BenchSite(family: family)
        return Frame(from: site.clients(.external, .tcp), to: site.stranger, .data)
    }

    @Test(arguments: [IPFamily.v4, .v6]) func runsThatHitAnotherCounterAreReported(_ family: IPFamily) throws {
        let flows = try #require(FlowCount(16))
        let frame = stray(family)
        let rig = try Rig(Rig.Size(tcp: 4096), node: try PacketNode())
        let problems = try [
            Expectation(counters: [.forwardEstablished]), Expectation(counters: [.passNotService, .answerReset]),
            Expectation(counters: [.passNotService], verdict: .send), Expectation(counters: [.passNotService]),
        ].map { try rig.run(.externalXDP, frame, .scattered(flows), runs: 10, expecting: $0).problem }
        #expect(
            problems == [
                "external_xdp: not-service 10 of 0, forward-established 0 of 10", "external_xdp: reset 0 of 10",
                "external_xdp: verdict 2, not 3", nil,
            ])
    }

    @Test("A measurement whose packets meet something else than they should has failed, with its samples")
    func aBrokenExpectationFails() throws {
        let node = try PacketNode()
        let flows = try #require(FlowCount(1))
        let settings = try RunSettings(suites: [.packet], flows: [flows], duration: 0.01, repeats: 1)
        let frame = stray(.v4)
        let run = PacketRun(settings, node)
        let rig = try Rig(Rig.Size(tcp: 4096), node: node)
        try run.take(
            PacketRun.key("established", "external_xdp", .v4, flows), rig, .externalXDP, frame, flows,
            expecting: Expectation(counters: [.forwardEstablished]))
        let outcome = run.answers
        #expect(outcome.count == 1 && outcome[0].samples.count == 1)
        #expect(
            outcome[0].outcome
                == .failed("external_xdp: not-service 3333 of 0, forward-established 0 of 3333"))
    }

    @Test(arguments: [Floor.lruHit, .denseHit]) func aFloorThatMissesIsReported(_ floor: Floor) throws {
        let programs = try BenchPrograms(tableEntries: 4096)
        let flows = try #require(FlowCount(16))
        let frame = stray(.v4)
        #expect(try programs.run(floor, frame, .ordered(flows), runs: 16).failures == 16)
        let insert: Floor = floor == .lruHit ? .lruInsert : .denseInsert
        #expect(try programs.run(insert, frame, .ordered(flows), runs: 16).failures == 0)
        let hit = try programs.run(floor, frame, .scattered(flows), runs: 100)
        #expect(hit.failures == 0 && hit.run.verdict == Hook.xdp.send)
    }

    @Test("A full dense table takes new flows in, in place of older ones of the same line")
    func theDenseTableReplaces() throws {
        let programs = try BenchPrograms(tableEntries: 48)
        #expect(programs.denseEntries == 48)
        let frame = stray(.v4)
        for next in stride(from: UInt64(0), to: 480, by: 16) {
            let walk = Walk.endless(from: next)
            #expect(try programs.run(.denseInsert, frame, walk, runs: 16).failures == 0)
            // The last of them is there, whatever it displaced.
            #expect(try programs.run(.denseHit, frame, .endless(from: next + 15), runs: 1).failures == 0)
        }
        let missing = try programs.run(.denseHit, frame, .endless(from: 0), runs: 480).failures
        #expect((432...479).contains(missing))
    }

    @Test(arguments: [IPFamily.v4, .v6]) func theStatelessFloorTranslatesEveryFlow(_ family: IPFamily) throws {
        let programs = try BenchPrograms(tableEntries: 4096, backends: 7)
        let (run, failures) = try programs.run(
            .stateless, stray(family), .scattered(Self.flows), runs: 10_000)
        #expect(failures == 0 && run.verdict == Hook.xdp.send)
        #expect(PacketValidity.isValid(run.output))
    }

    static func frames(_ family: IPFamily) -> [Frame] {
        let site = BenchSite(family: family)
        let (tcp, udp) = (site.clients(.external, .tcp), site.clients(.workload, .udp))
        return [
            Frame(from: tcp, to: site.stranger, .syn), Frame(from: tcp, to: site.stranger, .data),
            Frame(to: tcp, from: site.stranger, .data), Frame(from: udp, to: site.web(.workload, .udp), .datagram),
            Frame(to: udp, from: site.backend(.udp), .datagram),
            Frame(from: tcp, to: site.many(.external), .syn, services: 10_000),
            Frame(from: tcp, to: site.backend(.tcp), .error(from: site.router, to: tcp.address)),
            Frame(to: tcp, from: site.web(.external, .tcp), .error(from: site.router, to: site.node)),
        ]
    }

    /// Every packet is one that a receiver would take: all checksums are right, whatever the flow.
    @Test(arguments: [IPFamily.v4, .v6], 0..<8)
    func restoredPacketsAreValidAndOfDistinctFlows(_ family: IPFamily, _ number: Int) throws {
        let programs = try BenchPrograms(tableEntries: 4096)
        let frame = Self.frames(family)[number]
        let flows = try #require(FlowCount(1 << 20))
        var seen: Set<[UInt8]> = []
        for next in stride(from: UInt64(0), to: 1 << 20, by: 4099) {
            for hook in Hook.allCases {
                let run = try programs.run(
                    programs.empty(hook), on: hook, frame, .scattered(flows, from: next), runs: 1)
                #expect(run.verdict == hook.pass)
                #expect(PacketValidity.isValid(run.output), "run \(next)")
                seen.insert(run.output)
            }
        }
        #expect(seen.count == (1 << 20) / 4099 + 1)
    }

    @Test("Packets to many Services go to all of them, and no others")
    func manyServicesAreAllAddressed() throws {
        let programs = try BenchPrograms(tableEntries: 4096)
        let site = BenchSite(family: .v4)
        let frame = Frame(from: site.clients(.workload, .tcp), to: site.many(.workload), .data, services: 12)
        let flows = try #require(FlowCount(64))
        var counts: [[UInt8]: Int] = [:]
        for next in 0..<UInt64(64) {
            let walk = Walk.scattered(flows, from: next)
            let run = try programs.run(programs.empty(.xdp), on: .xdp, frame, walk, runs: 1)
            counts[Array(run.output[30..<34]), default: 0] += 1
        }
        #expect(Set(counts.keys) == Set((0..<12).map { [198, 19, 0, UInt8($0)] }))
        #expect(counts.values.allSatisfy { (5...6).contains($0) })
    }
}

/// Whether a receiver would take an Ethernet frame: lengths and checksums are right, also of what an ICMP error quotes.
enum PacketValidity {
    static func isValid(_ frame: [UInt8]) -> Bool { isValidIP(Array(frame[14...]), isQuoted: false) }

    private static func isValidIP(_ packet: [UInt8], isQuoted: Bool) -> Bool {
        let isV4 = packet[0] >> 4 == 4
        let header = isV4 ? 20 : 40
        let length = isV4 ? Int(packet[2]) << 8 | Int(packet[3]) : header + (Int(packet[4]) << 8 | Int(packet[5]))
        let transport = packet[isV4 ? 9 : 6]
        let segment = Array(packet[header...])
        guard !isV4 || InternetChecksum.sum(packet[..<header]) == 0xFFFF else { return false }
        // Of a quoted packet there is only the beginning.
        if isQuoted { return length > packet.count && segment.count == 8 }
        guard length == packet.count else { return false }
        var pseudo = Array(packet[(isV4 ? 12 : 8)..<header]) + [0, transport, 0, UInt8(segment.count)]
        if transport == 1 { pseudo = [] }
        guard InternetChecksum.sum(pseudo + segment) == 0xFFFF else { return false }
        if transport == 17 { return segment[6] | segment[7] != 0 }
        return transport == 6 || isValidIP(Array(segment[8...]), isQuoted: true)
    }
}
