internal import FoundationEssentials
internal import Manifests
internal import ServiceModel
internal import Subprocess
internal import SystemPackage

/// A command that prints credentials: `client.authentication.k8s.io`, v1 and v1beta1 (client-go `plugin/pkg/client/auth/exec`).
struct ExecPlugin: Sendable, Hashable {
    /// What a plugin is told of the cluster, as JSON, when `provideClusterInfo` is set.
    typealias ClusterInfo = JSONText

    var command: String
    var arguments: [String]
    var environment: [String: String]
    var apiVersion: String
    var installHint: String
    var cluster: ClusterInfo?
    /// Where it is written.
    var place: ClusterAccess.Place

    private static let versions = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"]

    /// Reads the `exec` of a user of a kubeconfig.
    init(
        _ cursor: Cursor, directory: String, cluster: @autoclosure () throws(ManifestProblem) -> ClusterInfo
    ) throws(ManifestProblem) {
        place = ClusterAccess.Place(subject: cursor.file, key: cursor.path)
        let version = try cursor.required("apiVersion")
        apiVersion = try version.string()
        guard Self.versions.contains(apiVersion) else {
            throw version.problem("\(apiVersion): expected \(Self.versions.joined(separator: " or "))")
        }
        let name = try cursor.required("command").string()
        // A bare name is looked for in PATH.
        command = name.contains("/") && name.first != "/" ? "\(directory)/\(name)" : name
        arguments = []
        for argument in try cursor.field("args")?.elements() ?? [] { arguments.append(try argument.string()) }
        environment = [:]
        for variable in try cursor.field("env")?.elements() ?? [] {
            environment[try variable.required("name").string()] = try variable.field("value")?.string() ?? ""
        }
        installHint = try cursor.field("installHint")?.string() ?? ""
        if let mode = try cursor.field("interactiveMode") {
            switch try mode.string() {
            case "Never", "IfAvailable": break
            case "Always": throw mode.problem("Always: an agent has no terminal; use a plugin that needs none")
            case let other: throw mode.problem("\(other): expected Never, IfAvailable or Always")
            }
        } else if apiVersion == Self.versions[0] {
            throw cursor.problem("interactiveMode is missing: \(apiVersion) asks for one of Never, IfAvailable, Always")
        }
        if try cursor.field("provideClusterInfo")?.boolean() == true { self.cluster = try cluster() }
    }

    /// What `spec.cluster` of an ExecCredential says.
    static func cluster(
        _ cluster: Cursor, _ server: ServerURL, _ authority: ClusterAccess.Material?
    ) throws(ManifestProblem) -> ClusterInfo {
        var fields: [(String, JSONText)] = [("server", .string(server.text))]
        if let name = try cluster.field("tls-server-name")?.string() {
            fields.append(("tls-server-name", .string(name)))
        }
        if try cluster.field("insecure-skip-tls-verify")?.boolean() == true {
            fields.append(("insecure-skip-tls-verify", .boolean(true)))
        }
        if let bytes = try? authority?.read() {
            fields.append(("certificate-authority-data", .string(Data(bytes).base64EncodedString())))
        }
        if let proxy = try cluster.field("proxy-url")?.string() { fields.append(("proxy-url", .string(proxy))) }
        for `extension` in try cluster.field("extensions")?.elements() ?? []
        where try `extension`.required("name").string() == "client.authentication.k8s.io/exec" {
            if let config = try `extension`.field("extension") { fields.append(("config", try JSONText(config))) }
        }
        return .object(fields)
    }

    /// What it printed.
    struct Credential: Sendable {
        var token: String?
        var certificate: ClusterAccess.Material?
        var privateKey: ClusterAccess.Material?
        /// When to ask again; `nil`: when the server refuses it.
        var expires: RFC3339Time?
    }

    /// Runs the command.
    func run(timeout: Duration) async throws(ClusterError) -> Credential {
        var spec: [(String, JSONText)] = [("interactive", .boolean(false))]
        if let cluster { spec.append(("cluster", cluster)) }
        let info = JSONText.object([
            ("kind", .string("ExecCredential")), ("apiVersion", .string(apiVersion)), ("spec", .object(spec)),
        ])
        var variables: [Environment.Key: String?] = [:]
        for (name, value) in environment { variables[Environment.Key(rawValue: name) ?? ""] = value }
        variables["KUBERNETES_EXEC_INFO"] = info.text
        // What it has started itself ends with it, and does not hold its output open.
        var options = PlatformOptions()
        options.createSession = true
        options.teardownSequence = [
            .send(signal: .kill, toProcessGroup: true, allowedDurationToNextStep: .seconds(1))
        ]
        let command = Configuration(
            executable: self.command.contains("/") ? .path(FilePath(self.command)) : .name(self.command),
            arguments: Arguments(arguments), environment: .inherit.updating(variables), platformOptions: options)
        let result: Result<Credential, ClusterError>
        do {
            result = try await withThrowingTaskGroup(of: Result<Credential, ClusterError>.self) { group in
                group.addTask {
                    let ran = try await Subprocess.run(
                        command, output: .string(limit: 1 << 20), error: .string(limit: 1 << 20))
                    do throws(ClusterError) {
                        return .success(
                            try read(ran.standardOutput, ran.standardError, ran.terminationStatus))
                    } catch {
                        return .failure(error)
                    }
                }
                group.addTask {
                    try await Task.sleep(for: timeout)
                    return .failure(error("did not end within \(timeout)"))
                }
                defer { group.cancelAll() }
                return try await group.next() ?? .failure(error("was not run"))
            }
        } catch let failure as SubprocessError where failure.code == .executableNotFound {
            throw error("not found")
        } catch {
            throw self.error("cannot be run: \(error)")
        }
        return try result.get()
    }

    private func read(
        _ output: String, _ errors: String, _ status: TerminationStatus
    ) throws(ClusterError) -> Credential {
        guard status.isSuccess else {
            let said = errors.split(separator: "\n").last.map { ": \($0.prefix(200))" } ?? ""
            throw error("failed (\(status))\(said)")
        }
        do throws(ManifestProblem) {
            guard let root = try Documents.read(Array(output.utf8), file: command).first, !root.isNull else {
                throw ManifestProblem(file: command, message: "printed nothing")
            }
            let kind = try root.required("kind").string()
            let version = try root.required("apiVersion").string()
            guard kind == "ExecCredential", version == apiVersion else {
                throw root.problem("printed \(version) \(kind): expected \(apiVersion) ExecCredential")
            }
            return try credential(try root.required("status"))
        } catch {
            throw self.error("\(error.path.isEmpty ? "" : "\(error.path): ")\(error.message)")
        }
    }

    private func credential(_ status: Cursor) throws(ManifestProblem) -> Credential {
        var credential = Credential()
        let place = ClusterAccess.Place(subject: "output of \(command)", key: "status")
        credential.token = try status.field("token")?.string()
        if let certificate = try status.field("clientCertificateData")?.string(), !certificate.isEmpty {
            credential.certificate = .inline(Array(certificate.utf8), place)
        }
        if let key = try status.field("clientKeyData")?.string(), !key.isEmpty {
            credential.privateKey = .inline(Array(key.utf8), place)
        }
        guard (credential.certificate == nil) == (credential.privateKey == nil) else {
            throw status.problem("clientCertificateData and clientKeyData go together: one of them is missing")
        }
        if let token = credential.token, !BearerToken.isValid(token) {
            throw status.problem("token: expected a single line of text")
        }
        guard credential.token != nil || credential.certificate != nil else {
            throw status.problem("neither a token nor a certificate")
        }
        if let field = try status.field("expirationTimestamp") {
            let text = try field.string()
            guard let time = RFC3339Time(text) else { throw field.problem("\(text): expected a time as in RFC 3339") }
            credential.expires = time
        }
        return credential
    }

    private func error(_ message: String) -> ClusterError {
        place.error("\(command) \(message)\(installHint.isEmpty ? "" : ". \(installHint)")")
    }
}
