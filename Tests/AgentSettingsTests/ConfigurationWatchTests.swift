import AgentSettings
import Foundation
import Testing

@Suite(.timeLimit(.minutes(2))) struct ConfigurationWatchTests {
    private let directory: URL
    private var path: String { directory.appending(path: "agent.yaml").path() }

    init() throws {
        directory = FileManager.default.temporaryDirectory.appending(path: "configuration-watch-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
    }

    private func text(_ body: String) -> String {
        "apiVersion: needletail.io/v1alpha1\nkind: AgentConfiguration\n\(body)\n"
    }

    private func write(_ text: String) throws {
        try text.write(toFile: path, atomically: true, encoding: .utf8)
    }

    @Test("Changes are told once each, whether the file is replaced, rewritten, broken or gone")
    func changes() async throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        try write(text("nodeName: a"))
        let watch = try ConfigurationWatch(path, every: .milliseconds(20))
        #expect(try watch.settings().settings.nodeName == "a")
        var changes = watch.changes().makeAsyncIterator()

        try write(text("nodeName: b"))
        #expect(await changes.next() == .changed)
        // Another content that is as good: told again, since it is another one.
        try write(text("nodeName: c"))
        #expect(await changes.next() == .changed)
        try write(text("nodName: c"))
        guard case .invalid(let problem) = await changes.next() else {
            Issue.record("a broken file is not told")
            return
        }
        #expect(problem.description.contains("did you mean nodeName?"))
        try FileManager.default.removeItem(atPath: path)
        guard case .invalid(let problem) = await changes.next() else {
            Issue.record("a missing file is not told")
            return
        }
        #expect(problem.description.contains(path))
        // As the kubelet does it: a symbolic link to a directory that changes.
        let data = directory.appending(path: "data").path()
        try text("nodeName: a").write(toFile: data, atomically: false, encoding: .utf8)
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: data)
        #expect(await changes.next() == .restored)
        // What it began with is what the agent runs by.
        #expect(try watch.settings().settings.nodeName == "a")
    }

    @Test("Begins with an error if there is no file")
    func absent() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let problem = #expect(throws: SettingsProblem.self) { _ = try ConfigurationWatch(path) }
        #expect(problem?.description.contains(path) == true)
    }
}
