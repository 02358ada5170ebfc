import Foundation
import Manifests
import ServiceModel
import Testing

/// A directory that is followed, with what its batches add up to.
private final class Followed {
    let path: String
    private(set) var catalog = Catalog()
    private(set) var problems: [ManifestProblem] = []
    private(set) var batches = 0
    private var iterator: AsyncStream<ManifestBatch>.Iterator

    init(create: Bool = true) throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("manifests-\(UUID().uuidString)").path
        if create { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false) }
        iterator = try ManifestDirectory(path: path).follow().makeAsyncIterator()
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Reads batches until a condition holds.
    func until(_ condition: (Followed) -> Bool) async throws {
        while !condition(self) {
            let batch = try #require(await iterator.next())
            _ = catalog.apply(batch.events)
            problems = batch.problems
            batches += 1
            if batches == 1, batch.events.contains(.synced) { #expect(batch.events.last == .synced) }
        }
    }

    func write(_ text: String, to name: String, atomically: Bool = false) throws {
        try text.write(toFile: "\(path)/\(name)", atomically: atomically, encoding: .utf8)
    }

    func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: "\(path)/\(name)") }

    var names: [String] { catalog.services.keys.map(\.name).sorted() }

    func port(of name: String) -> Int? {
        catalog.services[ObjectName(namespace: "default", name: name)]?.ports.first?.port
    }
}

@Suite(.timeLimit(.minutes(5))) struct ManifestDirectoryTests {
    @Test func addChangeRemove() async throws {
        let followed = try Followed()
        try await followed.until { $0.catalog.isSynced }
        try followed.write(smallService("a"), to: "a.yaml")
        try followed.write(smallService("b"), to: "b.yml")
        try followed.write(smallService("c"), to: ".hidden.yaml")
        try followed.write(smallService("d"), to: "d.txt")
        try await followed.until { $0.names == ["a", "b"] }
        try followed.write(smallService("a", port: "81"), to: "a.yaml")
        try await followed.until { $0.port(of: "a") == 81 }
        try followed.write(smallService("a", port: "82"), to: "a.yaml", atomically: true)
        try await followed.until { $0.port(of: "a") == 82 }
        try followed.remove("b.yml")
        try await followed.until { $0.names == ["a"] }
        #expect(followed.problems.isEmpty)
    }

    @Test func whatIsThereComesFirst() async throws {
        let followed = try Followed(create: false)
        try await followed.until { !$0.problems.isEmpty }
        #expect(!followed.catalog.isSynced)
        let staging = followed.path + ".new"
        try FileManager.default.createDirectory(atPath: staging, withIntermediateDirectories: false)
        for name in ["a", "b", "c"] {
            try smallService(name).write(toFile: "\(staging)/\(name).json", atomically: false, encoding: .utf8)
        }
        try FileManager.default.moveItem(atPath: staging, toPath: followed.path)
        try await followed.until { $0.catalog.isSynced }
        #expect(followed.names == ["a", "b", "c"] && followed.problems.isEmpty)
    }

    @Test func aBrokenFileKeepsWhatItHad() async throws {
        let followed = try Followed()
        try followed.write(smallService("a") + "---\n" + smallService("b"), to: "ab.yaml")
        try await followed.until { $0.names == ["a", "b"] }
        try followed.write(smallService("a", port: "81") + "---\n" + smallService("b", port: "70000"), to: "ab.yaml")
        try followed.write(smallService("c"), to: "c.yaml")
        try await followed.until { !$0.problems.isEmpty && $0.names == ["a", "b", "c"] }
        #expect(followed.problems.map(\.description) == ["ab.yaml:17:11: spec.ports[0].port: 70000: must be 1-65535"])
        #expect(followed.port(of: "a") == 80)
        try followed.write(smallService("a", port: "81"), to: "ab.yaml")
        try await followed.until { $0.problems.isEmpty && $0.names == ["a", "c"] }
        #expect(followed.port(of: "a") == 81)
    }

    @Test func theFirstFileWins() async throws {
        let followed = try Followed()
        try followed.write(smallService("a", port: "2"), to: "2.yaml")
        try await followed.until { $0.port(of: "a") == 2 }
        try followed.write(smallService("a", port: "1"), to: "1.yaml")
        try await followed.until { $0.port(of: "a") == 1 }
        #expect(followed.problems.map(\.file) == ["2.yaml"])
        #expect(followed.problems.first?.message.contains("Service default/a is in 1.yaml already") == true)
        try followed.remove("1.yaml")
        try await followed.until { $0.port(of: "a") == 2 && $0.problems.isEmpty }
    }

    @Test func renameReplaces() async throws {
        let followed = try Followed()
        try followed.write(smallService("a"), to: "a.yaml")
        try await followed.until { $0.names == ["a"] }
        try followed.write(smallService("a", port: "81"), to: "a.tmp")
        #expect(rename("\(followed.path)/a.tmp", "\(followed.path)/a.yaml") == 0)
        try await followed.until { $0.port(of: "a") == 81 }
        #expect(rename("\(followed.path)/a.yaml", "\(followed.path)/a.off") == 0)
        try await followed.until { $0.names.isEmpty }
    }

    @Test func symbolicLinksAreSwapped() async throws {
        let followed = try Followed()
        let files = FileManager.default
        for (version, port) in [("..v1", "81"), ("..v2", "82")] {
            try files.createDirectory(atPath: "\(followed.path)/\(version)", withIntermediateDirectories: false)
            try followed.write(smallService("a", port: port), to: "\(version)/a.yaml")
        }
        try files.createSymbolicLink(atPath: "\(followed.path)/..data", withDestinationPath: "..v1")
        try files.createSymbolicLink(atPath: "\(followed.path)/a.yaml", withDestinationPath: "..data/a.yaml")
        try await followed.until { $0.port(of: "a") == 81 }
        try files.createSymbolicLink(atPath: "\(followed.path)/..data_tmp", withDestinationPath: "..v2")
        #expect(rename("\(followed.path)/..data_tmp", "\(followed.path)/..data") == 0)
        try await followed.until { $0.port(of: "a") == 82 }
    }

    @Test func aVanishedDirectoryLeavesEverythingInForce() async throws {
        let followed = try Followed()
        try followed.write(smallService("a"), to: "a.yaml")
        try await followed.until { $0.names == ["a"] }
        let files = FileManager.default
        try files.moveItem(atPath: followed.path, toPath: followed.path + ".away")
        defer { try? files.removeItem(atPath: followed.path + ".away") }
        try await followed.until { !$0.problems.isEmpty }
        #expect(followed.names == ["a"])
        #expect(followed.problems.first?.message.contains("stays in force") == true)
        try files.createDirectory(atPath: followed.path, withIntermediateDirectories: false)
        try followed.write(smallService("b"), to: "b.yaml")
        try await followed.until { $0.names == ["b"] && $0.problems.isEmpty }
    }

    @Test func halfOfAFileIsNotLookedAt() async throws {
        let followed = try Followed()
        try followed.write(smallService("a") + "---\n" + smallService("b"), to: "ab.yaml")
        try followed.write(smallService("c"), to: "c.yaml")
        try await followed.until { $0.names == ["a", "b", "c"] }
        // A file that is quiet for a second is looked at even so: on a machine that is too busy to get there in time,
        // the attempt says nothing.
        for attempt in 81...90 {
            let before = followed.port(of: "a")
            let started = ContinuousClock.now
            let writer = try #require(FileHandle(forWritingAtPath: "\(followed.path)/ab.yaml"))
            try writer.truncate(atOffset: 0)
            try writer.write(contentsOf: Data(smallService("a", port: "\(attempt)").utf8))
            try followed.write(smallService("c", port: "\(attempt)"), to: "c.yaml")
            try await followed.until { $0.port(of: "c") == attempt }
            let (names, port) = (followed.names, followed.port(of: "a"))
            let wasInTime = ContinuousClock.now - started < .milliseconds(900)
            try writer.write(contentsOf: Data("---\n\(smallService("b"))".utf8))
            try writer.close()
            try await followed.until { $0.port(of: "a") == attempt && $0.names == ["a", "b", "c"] }
            if wasInTime {
                #expect(names == ["a", "b", "c"])
                #expect(port == before)
                return
            }
        }
        Issue.record("ten attempts took more than 900 ms each")
    }

    @Test func whatIsNoFile() async throws {
        let followed = try Followed()
        #expect(mkfifo("\(followed.path)/pipe.yaml", 0o600) == 0)
        try FileManager.default.createDirectory(
            atPath: "\(followed.path)/directory.yaml", withIntermediateDirectories: false)
        try FileManager.default.createSymbolicLink(
            atPath: "\(followed.path)/nowhere.yaml", withDestinationPath: "missing")
        try followed.write(smallService("a"), to: "z.yaml")
        try await followed.until { $0.names == ["a"] && $0.problems.count == 3 }
        #expect(followed.problems.map(\.file) == ["directory.yaml", "nowhere.yaml", "pipe.yaml"])
    }

    @Test func rewritesInQuickSuccessionAreNotMissed() async throws {
        let followed = try Followed()
        try await followed.until { $0.catalog.isSynced }
        for port in 100..<200 { try followed.write(smallService("a", port: "\(port)"), to: "a.yaml") }
        try await followed.until { $0.port(of: "a") == 199 }
    }

    @Test func endingTheReaderEndsTheFollower() async throws {
        let followed = try Followed()
        try await followed.until { $0.catalog.isSynced }
        let before = watches(on: followed.path)
        let stream = try ManifestDirectory(path: followed.path).follow()
        let reader = Task { for await _ in stream {} }
        while watches(on: followed.path) == before { try await Task.sleep(for: .milliseconds(5)) }
        reader.cancel()
        await reader.value
        while watches(on: followed.path) > before { try await Task.sleep(for: .milliseconds(5)) }
    }

    /// How many inotify descriptors of this process watch a directory.
    private func watches(on path: String) -> Int {
        var status = stat()
        guard stat(path, &status) == 0 else { return 0 }
        let mark = "ino:\(String(status.st_ino, radix: 16)) "
        let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fdinfo")) ?? []
        return descriptors.count { name in
            let info = (try? String(contentsOfFile: "/proc/self/fdinfo/\(name)", encoding: .utf8)) ?? ""
            return info.contains("inotify") && info.contains(mark)
        }
    }
}
