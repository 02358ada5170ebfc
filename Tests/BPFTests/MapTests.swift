import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import BPF

extension BPFTests {
    @Suite struct MapTests {
        private func hash(_ entries: UInt32, type: MapType = .hash) throws -> BPFMap<UInt32, UInt64> {
            try .create(type: type, name: "test_hash", maxEntries: entries)
        }

        @Test func entriesComeAndGo() throws {
            let map = try hash(4)
            #expect(try map.lookup(1) == nil)
            #expect(try !map.delete(1))
            try map.update(1, 10, mode: .noExist)
            #expect(try map.lookup(1) == 10)
            #expect(throws: BPFError.self) { try map.update(1, 11, mode: .noExist) }
            #expect(throws: BPFError.self) { try map.update(2, 11, mode: .exist) }
            try map.update(1, 12)
            #expect(try map.lookupAndDelete(1) == 12)
            #expect(try map.lookupAndDelete(1) == nil)
        }

        @Test func fullMapSaysSo() throws {
            let map = try hash(2)
            try map.update(1, 1)
            try map.update(2, 2)
            let error = #expect(throws: BPFError.self) { try map.update(3, 3) }
            #expect(error?.errno == .argListTooLong)
            #expect(error?.description.contains("test_hash") == true)
            #expect(error?.advice?.contains("max_entries") == true)
        }

        @Test func infoIsTheKernels() throws {
            let info = try hash(100).info
            #expect(info.type == .hash)
            #expect(info.name == "test_hash")
            #expect((info.keySize, info.valueSize, info.maxEntries) == (4, 8, 100))
            #expect(info.id > 0)
            #expect(try #require(info.memlock) >= 100 * 12)
        }

        @Test func typesOfTheWrongSizeAreRefused() throws {
            let error = #expect(throws: BPFError.self) {
                _ = try Fixture.load().map("entries", key: UInt32.self, value: TestValue.self)
            }
            #expect(error?.code == .layoutMismatch)
            #expect(error?.detail == "key/value of 8/16 bytes in the kernel, 4/16 in UInt32/TestValue")
            // The kernel writes one value per CPU: opened as a plain map, a lookup would write past its end.
            let perCPU = #expect(throws: BPFError.self) {
                _ = try Fixture.load().map("per_cpu", key: UInt32.self, value: UInt32.self)
            }
            #expect(perCPU?.advice == "open it as PerCPUMap")
        }

        @Test(arguments: [0, 1, 7, 5000], [MapType.hash, .lruHash, .array])
        func batchesWriteAndReadBackEverything(count: Int, type: MapType) throws {
            let map = try hash(8192, type: type)
            let keys = (0..<UInt32(count)).map { $0 }
            let values = keys.map { UInt64($0) &* 0x9e37_79b9_7f4a_7c15 | 1 }
            try map.update(keys: keys.span, values: values.span)
            var seen: [UInt32: UInt64] = [:]
            var batches = 0
            try map.forEachBatch(size: 512) { keys, values in
                batches += 1
                for index in keys.indices where values[index] != 0 { seen[keys[index]] = values[index] }
            }
            #expect(seen == Dictionary(uniqueKeysWithValues: zip(keys, values)))
            #expect(batches >= count / 512)
            #expect(try map.count() == (type == .array ? 8192 : count))
            #expect(try map.entries().count == map.count())
        }

        @Test func batchSmallerThanABucketGrows() throws {
            let map = try hash(4096)
            let keys = (0..<UInt32(4096)).map { $0 }
            let values = keys.map(UInt64.init)
            try map.update(keys: keys.span, values: values.span)
            var seen: Set<UInt32> = []
            try map.forEachBatch(size: 1) { keys, _ in
                for index in keys.indices { seen.insert(keys[index]) }
            }
            #expect(seen.count == 4096)
        }

        @Test func batchThatDoesNotFitSaysHowFarItCame() throws {
            let map = try hash(10)
            let keys = (0..<UInt32(16)).map { $0 }
            let values = keys.map(UInt64.init)
            let error = #expect(throws: BPFError.self) { try map.update(keys: keys.span, values: values.span) }
            #expect(error?.entriesDone == 10)
            #expect(error?.description.contains("after 10 entries") == true)
            #expect(try map.count() == 10)
            let tooFew = Array(values.dropLast())
            #expect(throws: BPFError.self) { try map.update(keys: keys.span, values: tooFew.span) }
        }

        @Test func batchDeletePassesOverMissingKeys() throws {
            let map = try hash(16)
            for key in [UInt32(1), 3, 5] { try map.update(key, 0) }
            let keys: [UInt32] = [0, 1, 2, 3, 4, 9]
            #expect(try map.delete(keys: keys.span) == 2)
            #expect(try map.entries().map(\.key) == [5])
        }

        @Test func arraysCannotBeDeletedFrom() throws {
            let map = try hash(16, type: .array)
            let keys: [UInt32] = [0, 1]
            #expect(throws: BPFError.self) { try map.delete(keys: keys.span) }
        }

        /// An LPM trie of a prefix length and four bytes.
        @Test func triesTakeTheSameCalls() throws {
            struct Prefix: BitwiseCopyable, Hashable {
                var length: UInt32
                var address: UInt32
            }
            let trie = try BPFMap<Prefix, UInt32>.create(
                type: .lpmTrie, name: "trie", maxEntries: 1000, flags: .noPreallocation)
            let keys = (0..<UInt32(600)).map { Prefix(length: 32, address: UInt32($0).bigEndian) }
            let values = (0..<UInt32(600)).map { $0 }
            try trie.update(keys: keys.span, values: values.span)
            var seen: [Prefix: UInt32] = [:]
            try trie.forEachBatch(size: 100) { keys, values in
                for index in keys.indices { seen[keys[index]] = values[index] }
            }
            #expect(seen.count == 600)
            #expect(seen[keys[599]] == 599)
        }

        @Test func bodyMayStopTheIteration() throws {
            struct Stop: Error {}
            let map = try hash(100, type: .array)
            var calls = 0
            #expect(throws: Stop.self) {
                try map.forEach { _, _ in
                    calls += 1
                    if calls == 3 { throw Stop() }
                }
            }
            #expect(calls == 3)
        }

        /// Maps of programs have no batch lookup and give out ids.
        @Test func mapsWithoutBatchesAreReadKeyByKey() throws {
            let loaded = try Fixture.load()
            let tail = try loaded.map("tail", key: UInt32.self, value: UInt32.self)
            let target = try loaded.program("xdp_other")
            let caller = try loaded.program("xdp_tail")
            #expect(try caller.testRun(packet: frame()).verdict == 1)
            let keys: [UInt32] = [1]
            let descriptors = [UInt32(target.fileDescriptor)]
            try tail.update(keys: keys.span, values: descriptors.span)
            #expect(try caller.testRun(packet: frame()).verdict == 2)
            #expect(try tail.entries().map { [$0.key, $0.value] } == [[1, target.id]])
        }

        @Test func perCPUValuesComeOnePerPossibleCPU() throws {
            let processors = try KernelFeatures.possibleCPUs()
            let loaded = try Fixture.load()
            let map = try loaded.perCPUMap("per_cpu", key: UInt32.self, value: UInt32.self)
            let written = (0..<processors).map { UInt32($0 * 100 + 1) }
            try map.update(0, written)
            #expect(try map.lookup(0) == written)
            _ = try loaded.program("xdp_verdict").testRun(packet: frame(), repeat: 10)
            #expect(try #require(try map.lookup(0)).reduce(0, +) == written.reduce(0, +) + 10)
            #expect(throws: BPFError.self) { try map.update(0, written + [1]) }
            #expect(try map.lookup(4) == nil)
            var seen: [UInt32: [UInt32]] = [:]
            try map.forEach { seen[$0] = $1 }
            #expect(seen.count == 4)
            #expect(seen[1] == Array(repeating: 0, count: processors))
        }

        @Test func mappedElementsAreTheMapsMemory() throws {
            let loaded = try Fixture.load()
            let map = try loaded.map("window", key: UInt32.self, value: UInt32.self)
            #expect(map.mappedStride == 8)
            try map.withMapped(elements: 1490..<1510, writable: true) { bytes in
                #expect(bytes.count == 20 * 8)
                bytes.storeBytes(of: 77, toByteOffset: 10 * 8, as: UInt32.self)
                #expect(try map.lookup(1500) == 77)
                _ = try loaded.program("xdp_window").testRun(packet: frame())
                #expect(bytes.load(fromByteOffset: 10 * 8, as: UInt32.self) == 78)
            }
            try map.update(4095, 5)
            let last = try map.withMapped(elements: 4095..<4096, writable: false) { $0.load(as: UInt32.self) }
            #expect(last == 5)
            #expect(try map.withMapped(elements: 7..<7, writable: false) { $0.count } == 0)
            let outside = #expect(throws: BPFError.self) {
                try map.withMapped(elements: 4095..<4097, writable: false) { _ in }
            }
            #expect(outside?.code == .invalidArgument)
            let counters = try loaded.map("counters", key: UInt32.self, value: UInt64.self)
            let plain = #expect(throws: BPFError.self) {
                try counters.withMapped(elements: 0..<1, writable: false) { _ in }
            }
            #expect(plain?.code == .unsupported)
        }

        /// Random writes of all kinds, compared with a dictionary after each.
        @Test(arguments: [UInt64(1), 2, 3])
        func behavesLikeADictionary(seed: UInt64) throws {
            var random = SeededGenerator(seed: seed)
            let map = try hash(64)
            var model: [UInt32: UInt64] = [:]
            for _ in 0..<400 {
                let keys = (0..<Int.random(in: 1...6, using: &random)).map { _ in
                    UInt32.random(in: 0..<40, using: &random)
                }
                switch Int.random(in: 0..<4, using: &random) {
                case 0:
                    let values = keys.map { _ in random.next() }
                    try map.update(keys: keys.span, values: values.span)
                    for (key, value) in zip(keys, values) { model[key] = value }
                case 1:
                    let deleted = try map.delete(keys: keys.span)
                    #expect(deleted == Set(keys).count { model[$0] != nil }, "seed \(seed)")
                    for key in keys { model[key] = nil }
                case 2:
                    #expect(try map.lookupAndDelete(keys[0]) == model.removeValue(forKey: keys[0]), "seed \(seed)")
                default:
                    #expect(try map.lookup(keys[0]) == model[keys[0]], "seed \(seed)")
                }
            }
            #expect(try Dictionary(uniqueKeysWithValues: map.entries().map { ($0.key, $0.value) }) == model)
        }
    }
}
