import Foundation
import SystemPackage
import Testing

@testable import BPF

/// These need no kernel.
@Suite struct ErrorTests {
    @Test(
        arguments: [
            (Errno.notPermitted, "bpf_map_create", "CAP_BPF"),
            (.argListTooLong, "bpf_map_update_elem", "max_entries"),
            (.fileExists, "bpf_obj_pin", "pinned there already"),
            (.noSuchFileOrDirectory, "bpf_obj_pin", "mounted bpf file system"),
            (.noMemory, "bpf_map_create", "lower max_entries"),
            (.operationNotSupportedByDevice, "bpf_link_create", "network namespace"),
        ] as [(Errno, String, String)])
    func adviceFollowsFromErrnoAndOperation(errno: Errno, operation: String, advice: String) {
        let error = BPFError(errno: errno, operation: operation, subject: "x")
        #expect(error.advice?.contains(advice) == true)
        #expect(error.description.contains(advice))
        #expect(error.description.contains("errno \(errno.rawValue)"))
        #expect(error.description.hasPrefix("\(operation) failed on x"))
    }

    @Test func kernelsOwnErrnoHasWords() {
        let error = BPFError(errno: Errno(rawValue: 524), operation: "bpf_map_update_batch", subject: "map m")
        #expect(error.code == .unsupported)
        #expect(error.description.contains("ENOTSUPP"))
    }

    @Test func verifierLogIsCutToItsEnd() throws {
        let steps = (0..<40).map { "\($0): (07) r1 += 1" }
        let text =
            ([
                "libbpf: prog 'main': BPF program load failed: Permission denied",
                "libbpf: prog 'main': -- BEGIN PROG LOAD LOG --",
            ] + steps + [
                "R1 offset is outside of the packet", "processed 41 insns (limit 1000000)",
                "-- END PROG LOAD LOG --", "libbpf: failed to load object 'x'",
            ]).joined(separator: "\n")
        let error = BPFError(errno: EACCES, operation: "bpf_object__load", object: "x", log: text)
        #expect(error.code == .verifierRejected)
        #expect(error.subject == "program main")
        #expect(
            error.detail.split(separator: "\n") == [
                "(35 lines omitted)", "35: (07) r1 += 1", "36: (07) r1 += 1", "37: (07) r1 += 1", "38: (07) r1 += 1",
                "39: (07) r1 += 1", "R1 offset is outside of the packet",
            ])
        #expect(error.log == text)
    }

    @Test(arguments: [
        ("6.1.0-18-amd64", "6.1.0"), ("6.18.44-fc-v657", "6.18.44"), ("5.15", "5.15.0"), ("7", "7.0.0"), ("", "0.0.0"),
        ("6.6rc1.x", "6.6.0"),
    ])
    func kernelReleaseIsRead(release: String, version: String) {
        #expect(KernelVersion(release: release).description == version)
    }

    @Test func kernelVersionsAreOrdered() {
        let ordered = ["5.15.200", "6.1", "6.1.9", "6.6", "6.18", "7.0"].map { KernelVersion(release: $0) }
        #expect(ordered == ordered.shuffled().sorted())
    }
}

extension BPFTests {
    @Test func libbpfPrintsNothing() async throws {
        let result = try #require(
            await #expect(processExitsWith: .success, observing: [\.standardErrorContent, \.standardOutputContent]) {
                var object = try Fixture.open()
                try object.setAutoload(true, program: "xdp_rejected")
                _ = try? object.load()
                _ = try? BPFObject(image: frame(), name: "garbage").programNames
            })
        #expect(String(decoding: result.standardErrorContent, as: UTF8.self) == "")
        #expect(!String(decoding: result.standardOutputContent, as: UTF8.self).contains("libbpf"))
    }

    @Test func missingCapabilitiesAreExplained() async {
        await #expect(processExitsWith: .success) {
            try #require(setuid(65534) == 0)
            let error = #expect(throws: BPFError.self) {
                _ = try BPFMap<UInt32, UInt32>.create(type: .lruHash, name: "m", maxEntries: 1)
            }
            #expect(error?.code == .system(.notPermitted))
            #expect(error?.description.contains("CAP_BPF") == true)
        }
    }

    /// In a process of its own, where no other test opens or closes anything.
    @Test func nothingLeaksDescriptors() async {
        await #expect(processExitsWith: .success) {
            func useEverything() async throws {
                let object = try Fixture.open()
                let loaded = try object.load()
                let map = try loaded.map("entries", key: TestKey.self, value: TestValue.self)
                try map.update(TestKey(), TestValue())
                _ = map.info
                _ = try loaded.program("xdp_verdict").testRun(packet: frame())
                _ = try? loaded.map("entries", key: UInt8.self, value: UInt8.self)
                _ = try loaded.ringBuffer("events", record: TestEvent.self)
                _ = try KernelFeatures.supportsTCX()
                var rejected = try Fixture.open()
                try rejected.setAutoload(true, program: "xdp_rejected")
                _ = try? rejected.load()
                _ = try? BPFObject(image: frame(), name: "garbage").programNames
                try withBPFFileSystem { directory in
                    try map.pin(at: directory + "/m")
                    _ = try BPFMap<TestKey, TestValue>.open(pinnedAt: directory + "/m")
                    _ = try? BPFMap<TestKey, TestKey>.open(pinnedAt: directory + "/m")
                    _ = try? Program.open(pinnedAt: directory + "/m")
                }
                try await withVeth { left in
                    let link = try Fixture.load().program("xdp_other").attachXDP(interface: left, mode: .generic)
                    #expect(link.interface == left)
                }
            }
            try await useEverything()
            let before = try openDescriptors()
            for _ in 0..<5 { try await useEverything() }
            // A cancelled dispatch source closes its descriptors a moment later.
            var after = before
            for _ in 0..<100 {
                after = try openDescriptors()
                if after.count <= before.count { break }
                usleep(20_000)
            }
            #expect(after.count <= before.count, "before \(before), after \(after)")
        }
    }
}
