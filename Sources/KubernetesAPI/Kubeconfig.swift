internal import FoundationEssentials
internal import Manifests

/// Reads a kubeconfig (`v1` Config, client-go `tools/clientcmd`): one file, of which one context counts.
struct Kubeconfig {
    private let file: String
    private let root: Cursor

    /// Reads a file and takes from it what a context names.
    ///
    /// - Parameters:
    ///   - context: The context; `nil` is `current-context`.
    ///   - server: A URL in place of the cluster's.
    static func read(_ file: String, context: String?, server: String?) throws(ClusterError) -> ClusterAccess {
        let bytes: [UInt8]
        switch FileReading(path: file, limit: 16 << 20) {
        case .read(let read, _): bytes = read
        case .unsettled: throw ClusterError(subject: file, message: "somebody is writing it: try again")
        case .failed(let reason): throw ClusterError(subject: file, message: "the kubeconfig \(reason)")
        }
        return try parse(bytes, file: file, context: context, server: server)
    }

    /// Takes from a kubeconfig's text what a context names.
    static func parse(
        _ bytes: [UInt8], file: String, context: String?, server: String?
    ) throws(ClusterError) -> ClusterAccess {
        do throws(ManifestProblem) {
            let documents = try Documents.read(bytes, file: file)
            guard let root = documents.first, !root.isNull else {
                throw ManifestProblem(file: file, message: "empty: expected a kubeconfig")
            }
            guard documents.count == 1 else {
                throw ManifestProblem(file: file, message: "several documents: expected one kubeconfig")
            }
            if let kind = try root.field("kind")?.string(), kind != "Config" {
                throw ManifestProblem(file: file, path: "kind", message: "\(kind): expected Config, a kubeconfig")
            }
            return try Kubeconfig(file: file, root: root).access(context: context, server: server)
        } catch {
            throw ClusterError(error)
        }
    }

    private func access(context: String?, server: String?) throws(ManifestProblem) -> ClusterAccess {
        let chosen = try chosenContext(context)
        guard let cluster = try named(try chosen.required("cluster"), in: "clusters", content: "cluster") else {
            throw chosen.problem("a context without a cluster")
        }
        var access = ClusterAccess(server: try serverURL(of: cluster, override: server))
        try readCluster(cluster, into: &access)
        if let name = try chosen.field("user"), !(try name.string()).isEmpty,
            let user = try named(name, in: "users", content: "user")
        {
            try readUser(user, cluster, into: &access)
        }
        return access
    }

    // MARK: Contexts

    private func chosenContext(_ context: String?) throws(ManifestProblem) -> Cursor {
        let name: String
        if let context {
            name = context
        } else {
            name = try root.field("current-context")?.string() ?? ""
            guard !name.isEmpty else {
                throw ManifestProblem(
                    file: file, path: "current-context",
                    message: "missing: set it, or choose a context (\(try names("contexts")))")
            }
        }
        guard let entry = try entry(name, in: "contexts") else {
            let place = context == nil ? "current-context" : "contexts"
            throw ManifestProblem(
                file: file, path: place, message: "there is no context \"\(name)\": there are \(try names("contexts"))")
        }
        return try entry.required("context")
    }

    /// The content of the entry that a reference names.
    private func named(
        _ reference: Cursor, in list: String, content: String
    ) throws(ManifestProblem) -> Cursor? {
        let name = try reference.string()
        guard let entry = try entry(name, in: list) else {
            throw reference.problem("there is no \"\(name)\" in \(list): there are \(try names(list))")
        }
        return try entry.field(content)
    }

    private func entry(_ name: String, in list: String) throws(ManifestProblem) -> Cursor? {
        // The first of several with one name counts, as for client-go.
        for entry in try entries(list) where try entry.required("name").string() == name { return entry }
        return nil
    }

    private func entries(_ list: String) throws(ManifestProblem) -> [Cursor] {
        try root.field(list)?.elements() ?? []
    }

    private func names(_ list: String) throws(ManifestProblem) -> String {
        var names: [String] = []
        for entry in try entries(list) { names.append(try entry.required("name").string()) }
        return names.isEmpty ? "none" : names.joined(separator: ", ")
    }

    // MARK: Clusters

    private func serverURL(of cluster: Cursor, override: String?) throws(ManifestProblem) -> ServerURL {
        if let override {
            guard let url = ServerURL(override) else {
                throw ManifestProblem(
                    file: "server", message: "\(override): expected a URL such as https://192.0.2.1:6443")
            }
            return url
        }
        let field = try cluster.required("server")
        let text = try field.string()
        guard let url = ServerURL(text) else {
            throw field.problem("\(text): expected a URL such as https://192.0.2.1:6443")
        }
        return url
    }

    private func readCluster(_ cluster: Cursor, into access: inout ClusterAccess) throws(ManifestProblem) {
        access.authority = try material("certificate-authority", in: cluster)
        access.serverName = try text("tls-server-name", in: cluster)
        if let field = try cluster.field("insecure-skip-tls-verify") {
            access.isInsecure = try field.boolean()
            guard !access.isInsecure || access.authority == nil else {
                throw field.problem("true makes no use of a certificate-authority: remove one of the two")
            }
        }
        if let field = try cluster.field("disable-compression") { access.acceptsCompression = !(try field.boolean()) }
        if let field = try cluster.field("proxy-url"), let text = try text("proxy-url", in: cluster) {
            access.proxy = try proxy(text, field)
        }
    }

    private func proxy(_ text: String, _ field: Cursor) throws(ManifestProblem) -> ClusterAccess.Proxy {
        let expected = "expected http://[user:password@]host:port or socks5://host:port"
        guard let scheme = text[...].scheme else { throw field.problem("\(text): \(expected)") }
        var rest = text.dropFirst(scheme.count + 3)
        if rest.last == "/" { rest.removeLast() }
        var user: String?
        var password: String?
        if let at = rest.lastIndex(of: "@") {
            let parts = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            user = PercentEncoding.decoded(parts[0])
            password = parts.count > 1 ? PercentEncoding.decoded(parts[1]) : ""
            rest = rest[rest.index(after: at)...]
        }
        guard let (host, port) = HostAndPort.read(rest) else { throw field.problem("\(expected), found another form") }
        switch scheme {
        case "http":
            return .init(kind: .http, host: host, port: port ?? 80, user: user, password: password)
        case "socks5":
            guard user == nil else { throw field.problem("a socks5 proxy with a user is not supported") }
            return .init(kind: .socks, host: host, port: port ?? 1080)
        default: throw field.problem("\(scheme) proxies are not supported: \(expected)")
        }
    }

    // MARK: Users

    private func readUser(
        _ user: Cursor, _ cluster: Cursor, into access: inout ClusterAccess
    ) throws(ManifestProblem) {
        for key in ["as", "as-uid", "as-groups", "as-user-extra"] {
            guard let field = try user.field(key) else { continue }
            throw field.problem("acting as somebody else is not supported: remove it, or choose another user")
        }
        if let field = try user.field("auth-provider") {
            throw field.problem(
                "auth-provider is not supported, as by client-go since 1.26: use an exec plugin, a token or a certificate"
            )
        }
        access.certificate = try material("client-certificate", in: user)
        access.privateKey = try material("client-key", in: user)
        guard (access.certificate == nil) == (access.privateKey == nil) else {
            throw user.problem("client-certificate and client-key go together: one of them is missing")
        }
        let token = try text("token", in: user)
        let tokenFile = try path("tokenFile", in: user)
        let name = try text("username", in: user)
        let plugin = try user.field("exec")
        guard [token ?? tokenFile.map(\.0), name, plugin?.path].filter({ $0 != nil }).count < 2 else {
            throw user.problem("only one of token and tokenFile, username and password, and exec can be used")
        }
        if let (path, place) = tokenFile {
            access.authorization = .tokenFile(.file(path, place), fallback: token)
        } else if let token {
            guard BearerToken.isValid(token) else { throw user.problem("token: expected a single line of text") }
            access.authorization = .token(token)
        } else if let name {
            access.authorization = .basic(user: name, password: try text("password", in: user) ?? "")
        } else if let plugin {
            access.authorization = .plugin(
                try ExecPlugin(
                    plugin, directory: directory, cluster: ExecPlugin.cluster(cluster, access.server, access.authority))
            )
        }
    }

    // MARK: Values

    /// Text that is not empty: client-go takes an empty one for an absent one.
    private func text(_ key: String, in cursor: Cursor) throws(ManifestProblem) -> String? {
        guard let text = try cursor.field(key)?.string(), !text.isEmpty else { return nil }
        return text
    }

    /// The file that a key names, from the kubeconfig's directory on.
    private func path(_ key: String, in cursor: Cursor) throws(ManifestProblem) -> (String, ClusterAccess.Place)? {
        guard let field = try cursor.field(key), let path = try text(key, in: cursor) else { return nil }
        return (path.first == "/" ? path : "\(directory)/\(path)", ClusterAccess.Place(subject: file, key: field.path))
    }

    /// PEM text, as `KEY-data` (which counts if both are there) or in the file that `KEY` names.
    private func material(_ key: String, in cursor: Cursor) throws(ManifestProblem) -> ClusterAccess.Material? {
        if let field = try cursor.field("\(key)-data"), let text = try text("\(key)-data", in: cursor) {
            guard let bytes = Data(base64Encoded: text.filter { !$0.isWhitespace }) else {
                throw field.problem("expected PEM text in base64")
            }
            return .inline(Array(bytes), ClusterAccess.Place(subject: file, key: field.path))
        }
        return try path(key, in: cursor).map { .file($0.0, $0.1) }
    }

    /// The directory that relative paths start from.
    private var directory: String {
        guard let slash = file.lastIndex(of: "/") else { return "." }
        return slash == file.startIndex ? "/" : String(file[..<slash])
    }
}

extension ClusterError {
    init(_ problem: ManifestProblem) {
        let place = [problem.file, problem.line.map(String.init), problem.column.map(String.init)]
        self.init(
            subject: place.compactMap { $0 }.joined(separator: ":"), key: problem.path, message: problem.message)
    }
}
