import CLibbpf
import Foundation
import SystemPackage
import Testing

@testable import BPF

extension BPFTests {
    @Suite struct ObjectTests {
        @Test func listsWhatTheFileDefines() throws {
            let object = try Fixture.open()
            #expect(object.programNames.contains("xdp_verdict"))
            #expect(Set(object.mapNames).isSuperset(of: ["entries", "counters", "per_cpu", "window", "events"]))
            let spec = try object.mapSpec("entries")
            #expect(spec.type == .hash)
            #expect((spec.keySize, spec.valueSize) == (8, 16))
            #expect(spec.maxEntries == 64)
            #expect(try object.mapSpec("window").flags == .mappable)
        }

        @Test func layoutComesFromTheObjectsBTF() throws {
            let object = try Fixture.open()
            let layout = try object.layout(ofStruct: "test_key")
            #expect(layout.size == MemoryLayout<TestKey>.size)
            #expect(layout.offset(of: "port") == MemoryLayout<TestKey>.offset(of: \.port))
            #expect(layout.members.map(\.name) == ["number", "port", "kind", "reserved"])
            #expect(layout.members.map(\.size) == [4, 2, 1, 1])
            #expect(try object.layout(ofStruct: "test_value").offset(of: "flags") == 8)
            let error = #expect(throws: BPFError.self) { try Fixture.open().layout(ofStruct: "no_such") }
            #expect(error?.code == .notFound)
        }

        @Test(arguments: [UInt32(1), 2, 3])
        func constantsReachTheProgram(verdict: UInt32) throws {
            var object = try Fixture.open()
            try object.setConstant("verdict", to: verdict)
            try object.setConstant("increment", to: UInt64(5))
            let loaded = try object.load()
            #expect(try loaded.program("xdp_verdict").testRun(packet: frame()).verdict == verdict)
            #expect(try loaded.map("counters", key: UInt32.self, value: UInt64.self).lookup(0) == 5)
        }

        @Test func constantOfTheWrongSizeIsRefused() throws {
            let error = #expect(throws: BPFError.self) {
                var object = try Fixture.open()
                try object.setConstant("small", to: UInt32(1))
            }
            #expect(error?.code == .layoutMismatch)
            #expect(error?.description.contains("2 bytes in the object, 4 in UInt32") == true)
        }

        @Test func unknownNamesAreAnsweredWithTheKnownOnes() throws {
            let constant = #expect(throws: BPFError.self) {
                var object = try Fixture.open()
                try object.setConstant("verdikt", to: UInt32(1))
            }
            #expect(constant?.code == .notFound)
            #expect(constant?.detail.contains("verdict, increment, small") == true)
            let map = #expect(throws: BPFError.self) {
                try Fixture.load().map("x", key: UInt32.self, value: UInt32.self)
            }
            #expect(map?.code == .notFound)
            #expect(map?.detail.contains("entries") == true)
        }

        @Test func maxEntriesCanBeRaisedBeforeTheLoad() throws {
            var object = try Fixture.open()
            try object.setMaxEntries(1000, ofMap: "entries")
            let map = try object.load().map("entries", key: TestKey.self, value: TestValue.self)
            #expect(map.info.maxEntries == 1000)
        }

        @Test(arguments: [(UInt32(0), Errno.invalidArgument), (4_000_000_000, .argListTooLong)])
        func mapThatCannotBeCreatedIsNamed(entries: UInt32, errno: Errno) {
            let error = #expect(throws: BPFError.self) {
                var object = try Fixture.open()
                try object.setMaxEntries(entries, ofMap: "entries")
                _ = try object.load()
            }
            #expect(error?.subject == "map entries of object fixture")
            #expect(error?.code == .system(errno))
            #expect(error?.advice?.contains("max_entries") == true)
        }

        @Test func rejectedProgramCarriesItsVerifierLog() throws {
            let error = #expect(throws: BPFError.self) {
                var object = try Fixture.open()
                try object.setAutoload(true, program: "xdp_rejected")
                _ = try object.load()
            }
            #expect(error?.code == .verifierRejected)
            #expect(error?.subject == "program xdp_rejected")
            #expect(error?.errno == .permissionDenied)
            #expect(error?.detail.contains("invalid access to packet") == true)
            #expect(error?.log.contains("BEGIN PROG LOAD LOG") == true)
        }

        @Test func programThatWasNotLoadedCannotBeHad() throws {
            let loaded = try Fixture.load()
            do throws(BPFError) {
                _ = try loaded.program("xdp_rejected")
                Issue.record("a handle for a program that was not loaded")
            } catch {
                #expect(error.code == .notFound)
                #expect(error.advice?.contains("autoload") == true)
            }
        }

        @Test(arguments: ["", "not an object", String(repeating: "\u{7f}ELF", count: 100)])
        func garbageIsAnErrorWithAReason(text: String) throws {
            let error = #expect(throws: BPFError.self) {
                _ = try BPFObject(image: Array(text.utf8), name: "garbage").programNames
            }
            #expect(error?.operation == "bpf_object__open_mem")
            #expect(error?.errno != nil)
            #expect(error?.description.contains("Unknown error") == false)
        }

        @Test func truncatedObjectsNeverCrash() throws {
            let whole = try [UInt8](Data(contentsOf: URL(fileURLWithPath: Fixture.path)))
            for length in stride(from: 0, to: whole.count, by: 997) {
                _ = try? BPFObject(image: Array(whole[..<length]), name: "truncated").programNames
            }
        }
    }

    @Suite struct PinTests {
        @Test func pinnedMapIsReusedWithItsContents() throws {
            try withBPFFileSystem { directory in
                let path = directory + "/entries"
                let first = try Fixture.load().map("entries", key: TestKey.self, value: TestValue.self)
                try first.update(TestKey(number: 1, port: 7), TestValue(count: 41))
                try first.pin(at: path)
                #expect(try MapInfo(pinnedAt: path).id == first.info.id)

                var object = try Fixture.open()
                try object.reuseMap("entries", pinnedAt: path)
                let loaded = try object.load()
                let second = try loaded.map("entries", key: TestKey.self, value: TestValue.self)
                #expect(second.info.id == first.info.id)
                _ = try loaded.program("xdp_verdict").testRun(packet: frame())
                let value = try BPFMap<TestKey, TestValue>.open(pinnedAt: path).lookup(TestKey(number: 1, port: 7))
                #expect(value?.count == 42)
            }
        }

        /// The kernel adds flags of its own to some types; they must not look like differences.
        @Test func everyKindOfMapCanBeReused() throws {
            try withBPFFileSystem { directory in
                let first = try Fixture.load()
                for name in first.mapNames where !name.contains(".") {
                    try first.pinMap(name, at: "\(directory)/\(name)")
                }
                var object = try Fixture.open()
                for name in object.mapNames where !name.contains(".") {
                    try object.reuseMap(name, pinnedAt: "\(directory)/\(name)")
                }
                let second = try object.load()
                let counters = try second.map("counters", key: UInt32.self, value: UInt64.self)
                #expect(try counters.info.id == MapInfo(pinnedAt: directory + "/counters").id)
            }
        }

        @Test func reuseListsEveryDifference() throws {
            try withBPFFileSystem { directory in
                let path = directory + "/entries"
                let wrong = try BPFMap<UInt32, TestValue>.create(
                    type: .hash, name: "entries", maxEntries: 32, flags: .noPreallocation)
                try wrong.pin(at: path)
                let error = #expect(throws: BPFError.self) {
                    var object = try Fixture.open()
                    try object.reuseMap("entries", pinnedAt: path)
                }
                #expect(error?.code == .incompatibleMap)
                #expect(
                    error?.detail == """
                        key_size: 4 pinned, 8 wanted, max_entries: 32 pinned, 64 wanted, \
                        map_flags: 0x1 pinned, 0x0 wanted
                        """)
            }
        }

        @Test func aPinIsOfOneKind() throws {
            try withBPFFileSystem { directory in
                let loaded = try Fixture.load()
                try loaded.pinMap("counters", at: directory + "/map")
                let program = try loaded.program("xdp_verdict")
                try program.pin(at: directory + "/program")
                #expect(try Program.open(pinnedAt: directory + "/program").id == program.id)
                #expect(try Program.open(id: program.id).name == "xdp_verdict")

                func code(_ body: () throws -> Void) -> BPFError.Code? {
                    #expect(throws: BPFError.self) { try body() }?.code
                }
                #expect(code { _ = try Program.open(pinnedAt: directory + "/map") } == .wrongKind)
                #expect(code { _ = try Link.open(pinnedAt: directory + "/map") } == .wrongKind)
                #expect(code { _ = try BPFMap<UInt32, UInt64>.open(pinnedAt: directory + "/program") } == .wrongKind)
                #expect(code { _ = try BPFMap<UInt32, UInt64>.open(pinnedAt: directory + "/none") } == .notFound)
                #expect(code { try program.pin(at: directory + "/program") } == .system(.fileExists))
            }
        }

        @Test func fileSystemIsMountedOnce() throws {
            try withBPFFileSystem { directory in
                #expect(BPFFileSystem.isMounted(at: directory))
                #expect(!BPFFileSystem.isMounted(at: directory + "/a"))
                let mounted = try BPFFileSystem.ensureMounted(containing: directory + "/a/b")
                #expect(mounted == nil)
                #expect(BPFFileSystem.isMounted(at: directory + "/a/b"))
            }
            let fresh = "/tmp/bpf-tests-\(getpid())/pins"
            #expect(try BPFFileSystem.ensureMounted(containing: fresh) == fresh)
            #expect(BPFFileSystem.isMounted(at: fresh))
            try BPFFileSystem.unmount(at: fresh)
            #expect(!BPFFileSystem.isMounted(at: fresh))
            try FileManager.default.removeItem(atPath: "/tmp/bpf-tests-\(getpid())")
        }
    }
}
