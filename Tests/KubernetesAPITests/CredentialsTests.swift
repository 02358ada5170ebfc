import ServiceModel
import Testing

@testable import KubernetesAPI

@Suite(.timeLimit(.minutes(5))) struct CredentialsTests {
    private static let place = ClusterAccess.Place(subject: "kubeconfig", key: "users[0].user.exec")

    private func credentials(_ file: String, fallback: String? = nil) -> Credentials {
        Credentials(.tokenFile(.file(file, Self.place), fallback: fallback), timeout: .seconds(60))
    }

    @Test func aRotatedTokenIsTakenUp() async throws {
        try await TemporaryDirectory.with { directory in
            let credentials = credentials(directory.write("token", "first\n"))
            let first = try await credentials.present()
            #expect(first.authorization == "Bearer first")
            #expect(await credentials.refused(first) == false, "the file still holds what was refused")
            directory.write("token", " second ")
            #expect(await credentials.refused(first))
            #expect(try await credentials.present().authorization == "Bearer second")
            // For a moment there is none, or half of one.
            directory.write("token", "")
            #expect(try await credentials.present().authorization == "Bearer second")
            directory.remove("token")
            #expect(try await credentials.present().authorization == "Bearer second")
        }
    }

    @Test func aTokenFileThatIsNotThereIsAnErrorUntilItIs() async throws {
        try await TemporaryDirectory.with { directory async throws in
            let credentials = credentials("\(directory.path)/token")
            let error = await #expect(throws: ClusterError.self) { try await credentials.present() }
            #expect(error?.description.contains("\(directory.path)/token") == true)
            directory.write("token", "two lines\nof text")
            await #expect(throws: ClusterError.self) { try await credentials.present() }
            directory.write("token", "late")
            #expect(try await credentials.present().authorization == "Bearer late")
            let fallback = self.credentials("\(directory.path)/none", fallback: "old")
            #expect(try await fallback.present().authorization == "Bearer old")
        }
    }

    @Test func namesAndPasswords() async throws {
        let credentials = Credentials(.basic(user: "admin", password: "pä:ss"), timeout: .seconds(1))
        #expect(try await credentials.present().authorization == "Basic YWRtaW46cMOkOnNz")
    }

    // MARK: Plugins

    /// A plugin that runs a script; each run adds a line to the file `runs`.
    private func plugin(
        _ directory: TemporaryDirectory, version: String = "v1", _ script: String
    ) throws -> ExecPlugin {
        directory.write("plugin", "#!/bin/sh\necho run >> '\(directory.path)/runs'\n\(script)\n", mode: 0o700)
        let access = try Kubeconfig.parse(
            Array(
                KubeconfigTests.config(
                    user: """
                        exec:
                          apiVersion: client.authentication.k8s.io/\(version)
                          command: ./plugin
                          args: ["--for", "x y"]
                          env: [{name: GREETING, value: hello}]
                          installHint: Get it at the store.
                          provideClusterInfo: true
                          interactiveMode: Never
                        """
                ).utf8), file: "\(directory.path)/config", context: nil, server: nil)
        guard case .plugin(let plugin) = access.authorization else { throw ClusterError(subject: "", message: "none") }
        return plugin
    }

    private static func credential(_ status: String, version: String = "v1") -> String {
        """
        cat <<END
        {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/\(version)", "status": {\(status)}}
        END
        """
    }

    private func runs(_ directory: TemporaryDirectory) -> Int { directory.read("runs").count { $0 == "\n" } }

    @Test(arguments: ["v1", "v1beta1"]) func aPluginIsRunOnceForAllAndAgainWhenRefused(_ version: String) async throws {
        try await TemporaryDirectory.with { directory in
            let script =
                "printf '%s|%s|%s' \"$1\" \"$2\" \"$GREETING\" > '\(directory.path)/given'\n"
                + "printf '%s' \"$KUBERNETES_EXEC_INFO\" > '\(directory.path)/info'\n"
                + Self.credential(#""token": "t$(wc -l < '\#(directory.path)/runs' | tr -d ' ')""#, version: version)
            let credentials = Credentials(
                .plugin(try plugin(directory, version: version, script)), timeout: .seconds(60))
            async let one = credentials.present()
            async let two = credentials.present()
            let presented = try await [one, two]
            #expect(presented.map(\.authorization) == ["Bearer t1", "Bearer t1"])
            #expect(try await credentials.present().authorization == "Bearer t1")
            #expect(directory.read("given") == "--for|x y|hello")
            #expect(
                directory.read("info")
                    == #"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/\#(version)","#
                    + #""spec":{"interactive":false,"cluster":{"server":"https://192.0.2.1:6443"}}}"#)
            #expect(await credentials.refused(presented[0]))
            #expect(try await credentials.present().authorization == "Bearer t2")
            #expect(runs(directory) == 2)
        }
    }

    @Test func whatHasExpiredIsAskedForAgain() async throws {
        try await TemporaryDirectory.with { directory in
            let script = Self.credential(#""token": "t", "expirationTimestamp": "2020-01-01T00:00:00Z""#)
            let credentials = Credentials(.plugin(try plugin(directory, script)), timeout: .seconds(60))
            _ = try await credentials.present()
            _ = try await credentials.present()
            #expect(runs(directory) == 2)
            let lasting = Self.credential(#""token": "t", "expirationTimestamp": "2999-01-01T00:00:00Z""#)
            let other = Credentials(.plugin(try plugin(directory, lasting)), timeout: .seconds(60))
            _ = try await other.present()
            _ = try await other.present()
            #expect(runs(directory) == 3)
        }
    }

    @Test func aPluginMayGiveACertificate() async throws {
        try await TemporaryDirectory.with { directory in
            let script = Self.credential(#""clientCertificateData": "CERT", "clientKeyData": "KEY""#)
            let credentials = Credentials(.plugin(try plugin(directory, script)), timeout: .seconds(60))
            let presented = try await credentials.present()
            #expect(presented.authorization == nil)
            #expect(try presented.certificate?.read() == Array("CERT".utf8))
            #expect(try presented.privateKey?.read() == Array("KEY".utf8))
        }
    }

    /// Each error names the kubeconfig's key and the command, and says how to get the plugin.
    @Test(arguments: [
        ("echo 'no account' >&2; exit 3", "no account"),
        ("true", "printed nothing"),
        ("echo '{]'", "not YAML"),
        (credential(#""token": "x""#, version: "v1beta1"), "expected client.authentication.k8s.io/v1"),
        (credential(""), "neither a token nor a certificate"),
        (credential(#""clientKeyData": "x""#), "go together"),
        (credential(#""token": "x", "expirationTimestamp": "soon""#), "expected a time"),
        (credential(#""token": "a\\nb""#), "single line"),
    ])
    func aPluginThatFails(_ script: String, _ message: String) async throws {
        try await TemporaryDirectory.with { directory in
            let credentials = Credentials(.plugin(try plugin(directory, script)), timeout: .seconds(60))
            let error = await #expect(throws: ClusterError.self) { try await credentials.present() }
            let text = error?.description ?? ""
            #expect(text.contains(message), "\(text)")
            #expect(
                text.contains("\(directory.path)/config: users[0].user.exec: \(directory.path)/./plugin"), "\(text)")
            #expect(text.hasSuffix("Get it at the store."), "\(text)")
        }
    }

    @Test func aPluginThatHangsIsEnded() async throws {
        try await TemporaryDirectory.with { directory in
            let credentials = Credentials(
                .plugin(try plugin(directory, "sleep 600\necho")), timeout: .milliseconds(200))
            let error = await #expect(throws: ClusterError.self) { try await credentials.present() }
            #expect(error?.message.contains("did not end") == true)
        }
    }

    @Test func aPluginThatIsNotThere() async throws {
        try await TemporaryDirectory.with { directory in
            let plugin = try plugin(directory, "true")
            directory.remove("plugin")
            let credentials = Credentials(.plugin(plugin), timeout: .seconds(60))
            let error = await #expect(throws: ClusterError.self) { try await credentials.present() }
            #expect(error?.message.contains("not found") == true, "\(String(describing: error))")
        }
    }
}
