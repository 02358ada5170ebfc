import AgentSettings
import Foundation
import Testing

/// What docs/ and deploy/ say, beside what the agent takes.
@Suite struct DocumentationTests {
    /// The root of the tree: these tests read files of it.
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private func file(_ path: String) throws -> String {
        try String(contentsOf: Self.root.appending(path: path), encoding: .utf8)
    }

    private func row(_ setting: Setting) -> String {
        let initial = setting.initial.map { $0.isEmpty ? "nothing" : "`\($0)`" } ?? ""
        let help = setting.help.replacing("|", with: "\\|").replacing("*", with: "\\*")
        return "| `\(setting.key)` | `--\(setting.flag)` | \(initial) | \(help) |"
    }

    @Test("docs/configuration.md has a row for each setting, with flag, default and meaning, and no other")
    func settings() throws {
        let text = try file("docs/configuration.md")
        // Rows that begin with a flag are of other tables.
        let rows = text.split(separator: "\n").filter { $0.hasPrefix("| `") && !$0.hasPrefix("| `--") }
        let table = rows.filter { $0.contains("| `--") }.map(String.init)
        #expect(table == Setting.all.map(row))
    }

    @Test("docs/configuration.md tells of each flag of kube-proxy's")
    func kubeProxyFlags() throws {
        let text = try file("docs/configuration.md")
        for flag in KubeProxyFlag.all { #expect(text.contains("`--\(flag.name)"), "--\(flag.name)") }
    }

    @Test(
        "Examples of AgentConfiguration in the documents are accepted",
        arguments: ["docs/configuration.md", "docs/kubernetes.md"])
    func examples(path: String) throws {
        let blocks = try file(path).components(separatedBy: "```yaml\n").dropFirst()
            .compactMap { $0.components(separatedBy: "\n```").first }
            .filter { $0.contains("kind: AgentConfiguration") }
        #expect(path != "docs/configuration.md" || !blocks.isEmpty)
        for block in blocks { _ = try SettingsFile.parse(Array(block.utf8), file: path) }
    }
}
