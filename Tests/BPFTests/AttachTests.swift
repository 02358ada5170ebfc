import CLibbpf
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import BPF

extension BPFTests {
    @Suite struct AttachTests {
        @Test(arguments: XDPMode.allCases)
        func xdpRunsAndIsReplacedAtOnce(mode: XDPMode) async throws {
            try await withVeth { left in
                let loaded = try Fixture.load()
                let counters = try loaded.map("counters", key: UInt32.self, value: UInt64.self)
                let right = Int32(if_nametoindex("right"))
                let first = try loaded.program("xdp_verdict")
                let second = try loaded.program("xdp_other")
                let link = try first.attachXDP(interface: left, mode: mode)
                #expect(link.kind == .xdp)
                #expect(link.interface == left)
                #expect(link.programID == first.id)

                let before = try counters.lookup(0) ?? 0
                try send(5, outOf: right)
                #expect(try eventually { try counters.lookup(0) ?? 0 >= before + 5 })

                let busy = #expect(throws: BPFError.self) { _ = try second.attachXDP(interface: left, mode: mode) }
                #expect(busy?.errno == .resourceBusy)

                try link.replace(with: second)
                #expect(link.programID == second.id)
                let other = try counters.lookup(1) ?? 0
                try send(5, outOf: right)
                #expect(try eventually { try counters.lookup(1) ?? 0 >= other + 5 })

                #expect(throws: BPFError.self) { try link.replace(with: loaded.program("tc_pass")) }
            }
        }

        @Test func pinnedLinkOutlivesItsHandleAndAnUnpinnedOneDoesNot() async throws {
            try await withVeth { left in
                try withBPFFileSystem { directory in
                    let path = directory + "/link"
                    let program = try Fixture.load().program("xdp_verdict")
                    func attachable() -> Bool {
                        (try? program.attachXDP(interface: left, mode: .generic)) != nil
                    }
                    do {
                        let link = try program.attachXDP(interface: left, mode: .generic)
                        try link.pin(at: path)
                    }
                    #expect(!attachable())
                    do {
                        let link = try Link.open(pinnedAt: path)
                        #expect(link.kind == .xdp)
                        #expect(link.programID == program.id)
                        try link.unpin(at: path)
                        #expect(!attachable())
                    }
                    #expect(attachable())

                    let link = try program.attachXDP(interface: left, mode: .generic)
                    try link.detach()
                    #expect(link.interface == 0)
                    #expect(attachable())
                }
            }
        }

        @Test(.needsTCX, arguments: TrafficDirection.allCases)
        func tcxChainsPrograms(direction: TrafficDirection) async throws {
            #expect(try KernelFeatures.supportsTCX())
            try await withVeth { left in
                let loaded = try Fixture.load()
                let counters = try loaded.map("counters", key: UInt32.self, value: UInt64.self)
                let first = try loaded.program("tc_mark").attachTCX(interface: left, direction: direction)
                let second = try loaded.program("tc_pass").attachTCX(interface: left, direction: direction)
                #expect(first.kind == .tcx)
                #expect(second.interface == left)
                try send(4, outOf: direction == .egress ? left : Int32(if_nametoindex("right")))
                #expect(try eventually { try counters.lookup(3) ?? 0 >= 4 })
                #expect(try counters.lookup(2) ?? 0 >= 4)
            }
        }

        @Test func clsactIsIdempotent() async throws {
            try await withVeth { left in
                let loaded = try Fixture.load()
                let counters = try loaded.map("counters", key: UInt32.self, value: UInt64.self)
                let first = try loaded.program("tc_mark")
                let second = try loaded.program("tc_pass")
                func query() throws -> UInt32? {
                    try Program.queryClsact(interface: left, direction: .ingress, handle: 1, priority: 10)
                }
                #expect(try query() == nil)
                #expect(try !Program.detachClsact(interface: left, direction: .ingress, handle: 1, priority: 10))
                let attachment = try first.attachClsact(
                    interface: left, direction: .ingress, handle: 1, priority: 10)
                #expect(attachment.createdQdisc)
                #expect(try query() == first.id)
                for _ in 0..<2 {
                    let again = try second.attachClsact(interface: left, direction: .ingress, handle: 1, priority: 10)
                    #expect(!again.createdQdisc)
                }
                #expect(try query() == second.id)
                try send(3, outOf: Int32(if_nametoindex("right")))
                #expect(try eventually { try counters.lookup(3) ?? 0 >= 3 })

                #expect(try Program.detachClsact(interface: left, direction: .ingress, handle: 1, priority: 10))
                #expect(try query() == nil)
                #expect(try Program.removeClsact(interface: left))
                #expect(try !Program.removeClsact(interface: left))
                #expect(throws: BPFError.self) {
                    try first.attachClsact(interface: left, direction: .ingress, handle: 0, priority: 10)
                }
                let gone = #expect(throws: BPFError.self) {
                    try first.attachClsact(interface: 4242, direction: .egress, handle: 1, priority: 1)
                }
                #expect(gone?.description.contains("interface 4242") == true)
            }
        }

        @Test func missingDeviceIsNamed() async throws {
            try await withVeth { _ in
                let error = #expect(throws: BPFError.self) {
                    _ = try Fixture.load().program("xdp_other").attachXDP(interface: 4242, mode: .generic)
                }
                #expect(error?.subject == "XDP of interface 4242")
                #expect(error?.advice?.contains("network namespace") == true)
            }
        }

        @Test(.needsCgroup2) func cgroupLinkLivesWithItsHandle() throws {
            let directory = try #require(cgroup2Root) + "/bpf-tests-\(getpid())"
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
            defer { rmdir(directory) }
            let program = try Fixture.load().program("sock_connect4")
            let link = try program.attachCgroup(directory: directory, type: .connect4)
            #expect(link.kind == .cgroup)
            #expect(link.programID == program.id)
            #expect(link.interface == 0)
            #expect(throws: BPFError.self) { try program.attachCgroup(directory: directory, type: .connect6) }
            let outside = #expect(throws: BPFError.self) { try program.attachCgroup(directory: "/", type: .connect4) }
            #expect(outside?.advice?.contains("cgroup v2") == true)
        }
    }

    @Suite struct RunTests {
        @Test func outputAndVerdictComeBack() throws {
            let run = try Fixture.load().program("xdp_rewrite").testRun(packet: frame(100))
            #expect(run.verdict == 3)
            #expect(run.output == [0xde, 0xad, 0xbe, 0xef] + frame(100))
        }

        @Test func outputThatDoesNotFitIsAnError() throws {
            let program = try Fixture.load().program("xdp_rewrite")
            let error = #expect(throws: BPFError.self) { try program.testRun(packet: frame(100), outputCapacity: 50) }
            #expect(error?.errno == .noSpace)
            #expect(throws: BPFError.self) { try program.testRun(packet: []) }
            #expect(throws: BPFError.self) { try program.testRun(packet: frame(), repeat: 0) }
        }

        @Test func contextGoesInAndOut() throws {
            var context = __sk_buff()
            context.mark = 41
            let run = try Fixture.load().program("tc_mark").testRun(
                packet: frame(), context: withUnsafeBytes(of: context) { Array($0) })
            #expect(run.signedVerdict == -1)
            let mark = run.context.withUnsafeBytes {
                $0.loadUnaligned(fromByteOffset: MemoryLayout<__sk_buff>.offset(of: \.mark) ?? 0, as: UInt32.self)
            }
            #expect(mark == 42)
        }
    }

    @Suite struct RingBufferTests {
        @Test func recordsArriveInOrder() async throws {
            let loaded = try Fixture.load()
            let ring = try loaded.ringBuffer("events", record: TestEvent.self)
            let program = try loaded.program("xdp_event")
            var events: [TestEvent] = []
            var batches = ring.batches.makeAsyncIterator()
            // At most 256 batches wait for a reader, so no burst may make more of them than that.
            for total in stride(from: 100, through: 1000, by: 100) {
                _ = try program.testRun(packet: frame(80), repeat: 100)
                while events.count < total, let batch = await batches.next() { events += batch }
            }
            #expect(events.map(\.sequence) == Array(0..<1000))
            #expect(events.allSatisfy { $0.length == 80 })
            #expect((ring.malformedRecords, ring.droppedRecords) == (0, 0))
        }

        @Test func shortRecordsAreCountedNotRead() async throws {
            struct Large: BitwiseCopyable, Sendable {
                var words: (UInt64, UInt64, UInt64)
            }
            let loaded = try Fixture.load()
            let ring = try loaded.ringBuffer("events", record: Large.self)
            _ = try loaded.program("xdp_event").testRun(packet: frame(), repeat: 10)
            #expect(try eventually { ring.malformedRecords == 10 })
        }

        @Test func pinnedRingIsReadFromItsPin() async throws {
            let loaded = try Fixture.load()
            let ring = try withBPFFileSystem { directory in
                try loaded.pinMap("events", at: directory + "/events")
                return try RingBuffer<TestEvent>.open(pinnedAt: directory + "/events")
            }
            let program = try loaded.program("xdp_event")
            // Several wake-ups, each with its own batch.
            for count in [1, 2, 3] {
                _ = try program.testRun(packet: frame(), repeat: count)
                usleep(20_000)
            }
            var seen = 0
            for await batch in ring.batches {
                seen += batch.count
                if seen == 6 { break }
            }
            #expect(seen == 6)
        }

        @Test func streamEndsWithTheReader() async throws {
            let loaded = try Fixture.load()
            var ring: RingBuffer<TestEvent>? = try loaded.ringBuffer("events")
            let batches = try #require(ring?.batches)
            ring = nil
            for await _ in batches {}
            #expect(throws: BPFError.self) { _ = try loaded.ringBuffer("counters", record: TestEvent.self) }
        }
    }
}

/// Whether the condition comes to hold within two seconds.
func eventually(_ condition: () throws -> Bool) throws -> Bool {
    for _ in 0..<200 {
        if try condition() { return true }
        usleep(10_000)
    }
    return false
}
