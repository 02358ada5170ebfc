import Foundation
import NetLab
import TestSupport
import Testing

/// Runs the built program as a user does, with its output in a pipe.
@Suite(.needsRoot, .serialized, .timeLimit(.minutes(3))) struct DemoTests {
    private struct Run {
        let end: ChildProcess.End
        let output: String
        let errors: String
    }

    /// A namespace to be started in; the demo makes its own.
    private let namespace: NetworkNamespace
    private let products: URL
    /// Where the demo makes its directory.
    private let directory = FileManager.default.temporaryDirectory.appending(path: "demo-tests-\(UUID())")

    init() throws {
        namespace = try NetworkNamespace(name: "demo tests")
        products = URL(filePath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
            .deletingLastPathComponent()
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    private func run(_ arguments: String..., signal: (after: String, Int32)? = nil) async throws -> Run {
        let process = try ChildProcess(
            products.appending(path: "needletail-demo").path(), arguments, in: namespace,
            environment: ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": directory.path()])
        return try await offPool {
            if let signal {
                _ = try process.waitForLine(timeout: .seconds(60)) { $0.contains(signal.after) }
                try process.signal(signal.1)
            }
            let end = try process.wait(timeout: .seconds(120))
            let text = { (stream: ChildProcess.Stream) in
                process.lines.filter { $0.stream == stream }.map(\.text).joined(separator: "\n")
            }
            return Run(end: end, output: text(.output), errors: text(.error))
        }
    }

    /// What is left of demos of this test: their directories, mounts, and processes that were given paths there.
    private func remains() throws -> [String] {
        let files = FileManager.default
        let processes = try files.contentsOfDirectory(atPath: "/proc").filter { Int($0) != nil }
        let commands = processes.compactMap { try? String(contentsOfFile: "/proc/\($0)/cmdline", encoding: .utf8) }
        let mounts = try String(contentsOfFile: "/proc/self/mounts", encoding: .utf8).split(separator: "\n")
        let elsewhere = (commands + mounts.map(String.init)).filter { $0.contains(directory.path()) }
        return try files.contentsOfDirectory(atPath: directory.path()) + elsewhere
    }

    /// Everything that was made is gone, and so is the place for it.
    private func expectNothingLeft() throws {
        #expect(try remains() == [])
        try FileManager.default.removeItem(at: directory)
    }

    /// An agent that is started with further options: the last of equal ones counts.
    private func agent(with options: String) throws -> URL {
        let script = FileManager.default.temporaryDirectory.appending(path: "agent-\(UUID()).sh")
        let agent = products.appending(path: "needletail-agent").path()
        let text = """
            #!/bin/sh
            [ "$1" = cleanup ] && exec \(agent) "$@"
            exec \(agent) "$@" \(options)
            """
        try text.write(to: script, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: script.path())
        return script
    }

    @Test func everyClaimHolds() async throws {
        let run = try await run("--quick")
        #expect(run.end == .exited(0), "\(run.output)\n\(run.errors)")
        let claims = run.output.split(separator: "\n").drop { !$0.hasPrefix("── Summary") }.dropFirst()
        #expect(claims.count { $0.hasPrefix(" ✓ ") } == 11)
        #expect(claims.last == " All 11 claims held.")
        for part in [
            "web-3", "gets no new ones", "no agent runs", "takes over", "its UDP flows are elsewhere",
            "no request failed",
        ] {
            #expect(claims.contains { $0.hasPrefix(" ✓ ") && $0.contains(part) }, "\(part)")
        }
        #expect(!run.output.contains("\u{1b}"), "no escape sequences in a pipe")
        // Up to where the demo shows what other programs write.
        let own = run.output.split(separator: "\n").prefix { !$0.hasPrefix("── 9.") }
        #expect(own.allSatisfy { $0.count <= 100 })
        #expect(run.errors.isEmpty)
        try expectNothingLeft()
    }

    @Test(arguments: [
        // Nobody translates what comes from outside.
        ("--external-devices none0", "The agent loaded its programs", "6 programs on 3 devices"),
        // NodePorts are served on addresses that nobody outside asks.
        (
            "--nodeport-addresses 198.18.0.0/24,2001:db8:ffff::/64", "ClusterIP and NodePort lead to both",
            "4 of 8 ways reach both"
        ),
    ])
    func claimsThatDoNotHoldAreSaid(_ options: String, _ claim: String, _ evidence: String) async throws {
        let script = try agent(with: options)
        defer { try? FileManager.default.removeItem(at: script) }
        let run = try await run("--quick", "--agent", script.path())
        #expect(run.end == .exited(1))
        let lines = run.output.split(separator: "\n").drop { !$0.hasPrefix("── Summary") }
        #expect(lines.contains { $0.hasPrefix(" ✗ \(claim)") }, "\(run.output)")
        #expect(lines.contains { $0.contains(evidence) }, "\(run.output)")
        #expect(lines.last?.hasSuffix("did not hold.") == true)
        try expectNothingLeft()
    }

    @Test(arguments: [
        ("/bin/false", "the agent exited with status 1"),
        ("/nonexistent/agent", "there is no program /nonexistent/agent"),
    ])
    func agentThatCannotRunIsAnError(_ agent: String, _ message: String) async throws {
        let run = try await run("--quick", "--agent", agent)
        #expect(run.end == .exited(1))
        #expect(run.errors.contains(message), "\(run.errors)")
        try expectNothingLeft()
    }

    @Test func agentThatDiesIsQuoted() async throws {
        let script = try agent(with: "--max-tcp-flows 1")
        defer { try? FileManager.default.removeItem(at: script) }
        let run = try await run("--quick", "--agent", script.path())
        #expect(run.end == .exited(1))
        #expect(run.errors.contains("its last lines:") && run.errors.contains("--max-tcp-flows"), "\(run.errors)")
        try expectNothingLeft()
    }

    @Test(arguments: [
        ("── 1.", SIGINT), ("── 2.", SIGTERM), ("── 4.", SIGINT), ("── 6.", SIGINT), ("── 7.", SIGHUP),
    ])
    func nothingIsLeftWhenItIsInterrupted(_ step: String, _ signal: Int32) async throws {
        let run = try await run("--quick", signal: (after: step, signal))
        #expect(run.end == .exited(128 + signal))
        #expect(run.errors.contains("stopped by"))
        #expect(!run.output.contains("Summary"))
        try expectNothingLeft()
    }

    @Test func nothingRunsOnWhenItIsKilled() async throws {
        let run = try await run("--quick", signal: (after: "── 4.", SIGKILL))
        #expect(run.end == .signaled(SIGKILL))
        let deadline = ContinuousClock.now + .seconds(5)
        while try remains().count > 1 && .now < deadline { usleep(1000) }
        // Neither mounts nor processes: only the directory, with nothing mounted on it.
        let left = try remains()
        #expect(left.count == 1 && left.allSatisfy { $0.hasPrefix("needletail-demo-") }, "\(left)")
        try FileManager.default.removeItem(at: directory)
    }
}
