import Foundation
import Synchronization

/// A directory that is removed with all it holds.
struct TemporaryDirectory: Sendable {
    let path: String

    static func with<Result>(_ body: (TemporaryDirectory) throws -> Result) throws -> Result {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        return try body(directory)
    }

    static func with<Result: Sendable>(
        _ body: @Sendable (TemporaryDirectory) async throws -> Result
    ) async throws -> Result {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        return try await body(directory)
    }

    private init() throws {
        path = NSTemporaryDirectory() + "/needletail-api-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    private func remove() { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file by replacing it, as rotation does. Returns its path.
    @discardableResult func write(_ name: String, _ text: String, mode: Int = 0o600) -> String {
        let file = "\(path)/\(name)"
        let next = "\(path)/.\(name)-\(UUID().uuidString)"
        _ = FileManager.default.createFile(
            atPath: next, contents: Data(text.utf8), attributes: [.posixPermissions: mode])
        rename(next, file)
        return file
    }

    func read(_ name: String) -> String {
        FileManager.default.contents(atPath: "\(path)/\(name)").map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    func remove(_ name: String) { try? FileManager.default.removeItem(atPath: "\(path)/\(name)") }
}

/// Waits until something holds. The limit is a guard against hanging, not a measurement.
func eventually(
    within limit: Duration = .seconds(60), _ condition: @Sendable () async -> Bool
) async -> Bool {
    let end = ContinuousClock.now + limit
    while ContinuousClock.now < end, !Task.isCancelled {
        if await condition() { return true }
        try? await Task.sleep(for: .milliseconds(10))
    }
    return await condition()
}

/// What several tasks add to.
final class Collected<Element: Sendable>: Sendable {
    private let elements = Mutex<[Element]>([])

    var all: [Element] { elements.withLock { $0 } }

    func add(_ element: Element) { elements.withLock { $0.append(element) } }
}
