import BPF
import Foundation
import NeedletailABI
import NetTypes
import TestSupport
import Testing

@testable import Benchmark

@Suite(.serialized, .needsRoot) struct RigTests {
    private func frame(_ family: IPFamily, isReply: Bool, peer: KeyPath<BenchService, TransportEndpoint>) -> Frame {
        let service = BenchService(family: family)
        return Frame(
            clients: service.clients(.external), peer: service[keyPath: peer], isReply: isReply, kind: .data)
    }

    @Test(arguments: [IPFamily.v4, .v6]) func runsThatHitAnotherCounterAreReported(_ family: IPFamily) throws {
        let rig = try Rig(tableFlows: 4096)
        let flows = try #require(FlowCount(16))
        let stray = frame(family, isReply: false, peer: \.stranger)
        let wrong = try rig.run(
            .externalXDP, stray, .scattered(flows), runs: 10, expecting: .forwardEstablished)
        #expect(wrong.problem == "external_xdp: not-service 10 of 0, forward-established 0 of 10")
        let right = try rig.run(.externalXDP, stray, .scattered(flows), runs: 10, expecting: .passNotService)
        #expect(right.problem == nil)
    }

    @Test func aFloorThatMissesIsReported() throws {
        let programs = try BenchPrograms(tableEntries: 4096)
        let flows = try #require(FlowCount(16))
        let miss = try programs.run(
            .lruHit, frame(.v4, isReply: false, peer: \.stranger), .ordered(flows), runs: 16)
        #expect(miss.problem != nil)
        let insert = frame(.v4, isReply: false, peer: \.stranger)
        #expect(try programs.run(.lruInsert, insert, .ordered(flows), runs: 16).problem == nil)
        #expect(try programs.run(.lruHit, insert, .scattered(flows), runs: 100).problem == nil)
    }

    /// Every packet is one that a receiver would take: both checksums are right, whatever the flow.
    @Test(arguments: [IPFamily.v4, .v6], [false, true])
    func restoredPacketsAreValidAndOfDistinctFlows(_ family: IPFamily, _ isReply: Bool) throws {
        let programs = try BenchPrograms(tableEntries: 4096)
        let frame = frame(family, isReply: isReply, peer: \.stranger)
        let flows = try #require(FlowCount(1 << 20))
        var seen: Set<[UInt8]> = []
        for next in stride(from: UInt64(0), to: 1 << 20, by: 4099) {
            for hook in Hook.allCases {
                let run = try programs.run(
                    programs.empty(hook), on: hook, frame, .scattered(flows, from: next), runs: 1)
                #expect(run.signedVerdict == hook.pass)
                #expect(Self.isValid(run.output, family), "run \(next)")
                seen.insert(run.output)
            }
        }
        #expect(seen.count == (1 << 20) / 4099 + 1)
    }

    private static func isValid(_ packet: [UInt8], _ family: IPFamily) -> Bool {
        let header = family == .v4 ? 20 : 40
        let addresses = packet[(14 + header - family.bitWidth / 4)..<(14 + header)]
        let segment = packet[(14 + header)...]
        let pseudo: [UInt8] = [0, TransportProtocol.tcp.rawValue, 0, UInt8(segment.count)]
        let isHeaderRight = family == .v6 || InternetChecksum.sum(packet[14..<(14 + header)]) == 0xFFFF
        return isHeaderRight && InternetChecksum.sum(addresses + pseudo + segment) == 0xFFFF
    }
}
