import Foundation
import Manifests
import ServiceModel
import Synchronization
import Testing

struct FirstReadingTests {
    /// A Service whose file is replaced all the time is there all the time, for whoever begins to follow, too.
    @Test(.timeLimit(.minutes(5))) func aFileReplacedUnderTheFirstReadingIsNotMissing() async throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("manifests-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: path) }
        // Long enough that reading takes some time.
        let text = serviceYAML + String(repeating: "# padding\n", count: 20_000)
        func replace() throws {
            try text.write(toFile: "\(path)/.new", atomically: false, encoding: .utf8)
            guard rename("\(path)/.new", "\(path)/web.yaml") == 0 else { throw POSIXError(.EIO) }
        }
        try replace()
        try await withThrowingTaskGroup { group in
            let isDone = Stop()
            group.addTask { while !isDone.isSet { try replace() } }
            defer { isDone.set() }
            for _ in 0..<30 {
                var catalog = Catalog()
                var batches = try ManifestDirectory(path: path).follow().makeAsyncIterator()
                while !catalog.isSynced { _ = catalog.apply(try #require(await batches.next()).events) }
                #expect(catalog.services.count == 1)
            }
        }
    }
}

private final class Stop: Sendable {
    private let flag = Atomic(false)
    var isSet: Bool { flag.load(ordering: .relaxed) }
    func set() { flag.store(true, ordering: .relaxed) }
}
