import Foundation
import Testing

/// The built program: flags in, text and exit codes out. Nothing here gets as far as the kernel.
@Suite(.serialized, .timeLimit(.minutes(5))) struct AgentProgramTests {
    private struct Outcome {
        let code: Int32
        let output: String
        let errors: String
    }

    private func run(_ arguments: [String], as user: [String] = []) throws -> Outcome {
        let products = URL(filePath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
            .deletingLastPathComponent()
        let command = user + [products.appending(path: "needletail-agent").path()] + arguments
        let process = Process()
        process.executableURL = URL(filePath: command[0])
        process.arguments = Array(command.dropFirst())
        process.environment = ["COLUMNS": "80", "PATH": "/usr/bin:/bin"]
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        let complaint = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Outcome(
            code: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
            errors: String(decoding: complaint, as: UTF8.self))
    }

    /// With these flags and nothing wrong the agent would run.
    private func run(with flags: [String]) throws -> Outcome {
        try run(["--manifests", "/nonexistent", "--node-name", "node"] + flags)
    }

    @Test("Help fits 80 columns, shows whole commands and says where all flags are")
    func help() throws {
        let help = try run(["--help"])
        #expect(help.code == 0)
        #expect(help.output.split(separator: "\n").filter { $0.count > 80 } == [])
        // A line that ArgumentParser had to break would not be here in one piece.
        for line in [
            "needletail-agent --manifests /etc/needletail --node-name $(hostname)",
            "--external-devices eth0 --workload-devices 'veth*,cali*'",
            "`needletail-agent run --help` lists all flags with their defaults; the",
        ] {
            #expect(help.output.contains(line))
        }

        let flags = try run(["run", "--help"])
        #expect(flags.code == 0)
        #expect(flags.output.split(separator: "\n").filter { $0.count > 80 } == [])
        // Defaults are shown as they would be written.
        for text in ["eth*,en*,bond*,!eni*", "61000-65535", "/sys/fs/bpf/needletail", "131072", "21600"] {
            #expect(flags.output.contains(text))
        }
    }

    @Test(arguments: [
        ([], "--manifests"), (["--manifests", "m"], "--node-name"), (["--node-name", "node"], "--manifests"),
    ])
    func missingFlagsAreNamed(arguments: [String], missing: String) throws {
        let outcome = try run(arguments)
        #expect(outcome.code == 64)
        #expect(outcome.errors.contains("Missing expected argument '\(missing)"))
        #expect(outcome.errors.contains("--help"))
    }

    @Test(
        "A refused value comes with its flag and the reason",
        arguments: [
            (["--external-devices", ""], "empty; write a name"),
            (["--workload-devices", "a b"], "hold no blanks"),
            (["--external-devices", "!!x"], "\"!!x\""),
            (["--nodeport-addresses", "192.0.2.0/24,1.2.3.4/99"], "\"1.2.3.4/99\" is no prefix"),
            (["--nat-ports", "100-1"], "first port is above the last"),
            (["--nat-ports", "0-1"], "two ports from 1 to 65535"),
            (["--max-tcp-flows", "99999999999"], "from 2 to 268435456"),
            (["--max-udp-flows", "many"], "from 2 to 268435456"),
            (["--answer-limit", "few"], "from 0 to 1000000000"),
            (["--max-sets", "1"], "from 2 to 268435456"),
            (["--tcp-closed", "0"], "from 1 to 31536000"),
            (["--collect-interval", "soon"], "from 1 to 31536000"),
            (["--node-name", "A B"], "DNS-1123"),
            (["--node-name", "a..b"], "DNS-1123"),
            (["--node-name", "a-"], "DNS-1123"),
            (["--node-name", ""], "DNS-1123"),
            (["--manifests", ""], "name a directory"),
            (["--pin-directory", "relative"], "absolute path"),
        ])
    func refusedValues(flag: [String], reason: String) throws {
        let outcome = try run(with: flag)
        #expect(outcome.code == 64)
        #expect(outcome.output.isEmpty)
        let first = try #require(outcome.errors.split(separator: "\n").first)
        #expect(first.contains("'\(flag[0])"))
        #expect(first.contains(reason))
    }

    @Test("Capitals in a node's name are no error")
    func capitals() throws {
        // The last flag is refused, so that the agent does not start.
        let outcome = try run(with: ["--node-name", "Node-1.Example", "--max-sets", "x"])
        #expect(outcome.code == 64)
        #expect(!outcome.errors.contains("DNS-1123"))
    }

    @Test(.enabled(if: geteuid() == 0, "needs root: gives a directory to somebody else"))
    func cleanupSaysThatItMayNotLook() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "agent-program-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: directory) }
        // Somebody else's, for a root without the capabilities that pass over permissions.
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o700, .ownerAccountID: 65534], ofItemAtPath: directory.path())
        let cleanup = ["cleanup", "--pin-directory", directory.path()]
        let user = ["/usr/bin/setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]

        let refused = try run(cleanup, as: user)
        #expect(refused.code == 1)
        #expect(refused.errors.contains("run this as root"))
        let allowed = try run(cleanup)
        #expect(allowed.code == 0)
        #expect(allowed.output.contains("nothing to clean up"))
    }
}
