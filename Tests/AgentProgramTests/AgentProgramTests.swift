import AgentSettings
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

    @Test("Without a source it says where one may come from")
    func noSource() throws {
        let outcome = try run(["--node-name", "node"])
        #expect(outcome.code == 64)
        for word in ["--manifests", "--kubeconfig", "KUBERNETES_SERVICE_HOST", "--help"] {
            #expect(outcome.errors.contains(word))
        }
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
            (["--kubeconfig", ""], "name a file"),
            (["--master", "192.0.2.1"], "write a URL such as"),
            (["--cluster-cidr", "198.18.0.0/16,198.19.0.0/16"], "one prefix of each family"),
            (["--detect-local-mode", "Pods"], "ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix"),
            (["--nodeport-addresses", "primary,192.0.2.0/24"], "primary stands alone"),
            (["--healthz-bind-address", "host:1"], "0.0.0.0:10256"),
            (["--proxy-mode", "userspace"], "one mode, needletail"),
            (["--feature-gates", "A"], "AllowServiceExternalIPs=false"),
            (["--service-proxy-name", "a b"], "values of labels"),
            (["--oom-score-adj", "1001"], "from -1000 to 1000"),
            (["--on-kube-proxy", "hope"], "warn, refuse or ignore"),
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

    @Test("What kube-proxy's flags mean, in both ways of writing them")
    func kubeProxyFlags() throws {
        let outcome = try run([
            "--write-config-to", "-", "--hostname-override=Node-1", "--masquerade-all", "--v=4",
            "--bind-address-hard-fail=true", "--external-ips=false", "--cluster-cidr=198.18.0.0/16,2001:db8::/64",
            "--nodeport-addresses=primary", "--master", "https://192.0.2.1:6443", "--kube-api-qps=20",
        ])
        #expect(outcome.code == 0)
        for line in [
            "nodeName: \"node-1\"", "masquerade: \"all\"", "logLevel: \"debug\"", "bindAddressHardFail: true",
            "externalIPs: false", "clusterCIDR: [\"198.18.0.0/16\", \"2001:db8::/64\"]", "requestsPerSecond: 20",
            "server: \"https://192.0.2.1:6443\"",
        ] {
            #expect(outcome.output.contains(line))
        }
        #expect(try run(["-v", "6", "--write-config-to", "-"]).output.contains("logLevel: \"trace\""))
    }

    @Test("Each flag of a setting changes that setting")
    func everyFlag() throws {
        let help = try run(["run", "--help"]).output
        for setting in Setting.all {
            #expect(help.contains("--\(setting.flag)"))
            let refused = try run(["--\(setting.flag)=\u{1}", "--max-sets", "x"])
            let first = try #require(refused.errors.split(separator: "\n").first)
            // Texts that may be anything are taken, and what is wrong is the other flag.
            let takesAnything = [
                "manifests", "kubeconfig", "context", "pod-bridge-interface", "pod-interface-name-prefix",
            ]
            #expect(first.contains("--\(takesAnything.contains(setting.flag) ? "max-sets" : setting.flag)"))
        }
    }

    @Test("Flags go before the file, and what is written reads back")
    func file() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "agent-program-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: directory) }
        let (file, written) = (directory.appending(path: "a.yaml").path(), directory.appending(path: "b.yaml").path())
        try """
        apiVersion: needletail.io/v1alpha1
        kind: AgentConfiguration
        nodeName: from-the-file
        limits: {sets: 1234, backends: 777}
        """.write(toFile: file, atomically: true, encoding: .utf8)
        #expect(try run(["--config", file, "--max-sets", "99", "--write-config-to", written]).code == 0)
        let text = try String(contentsOfFile: written, encoding: .utf8)
        for line in ["nodeName: \"from-the-file\"", "  sets: 99\n", "  backends: 777\n"] {
            #expect(text.contains(line))
        }
        #expect(try run(["--config", written, "--write-config-to", "-"]).output == text)

        try "apiVersion: needletail.io/v1alpha1\nkind: AgentConfiguration\nlimit: {}\n".write(
            toFile: file, atomically: true, encoding: .utf8)
        let refused = try run(["--config", file])
        #expect(refused.code == 1)
        #expect(refused.errors.contains("\(file):3:8: limit: there is no such key; did you mean limits?"))
        #expect(try run(["--config", directory.appending(path: "none").path()]).errors.contains("No such file"))
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
        // kube-proxy's way of saying it.
        #expect(try run(["--cleanup", "--pin-directory", directory.path()]).output.contains("nothing to clean up"))
        let allowed = try run(cleanup)
        #expect(allowed.code == 0)
        #expect(allowed.output.contains("nothing to clean up"))
    }
}
