import Testing

@testable import KubernetesAPI

@Suite struct KubeconfigTests {
    /// A kubeconfig with the given content of its one cluster and user.
    static func config(
        cluster: String = "server: https://192.0.2.1:6443", user: String = "token: abc", rest: String = ""
    ) -> String {
        """
        apiVersion: v1
        kind: Config
        current-context: main
        contexts:
        - name: main
          context: {cluster: here, user: me}
        clusters:
        - name: here
          cluster:
        \(indented(cluster))
        users:
        - name: me
          user:
        \(indented(user))
        \(rest)
        """
    }

    private static func indented(_ text: String) -> String {
        text.split(separator: "\n").map { "    \($0)" }.joined(separator: "\n")
    }

    private func parse(
        _ text: String, context: String? = nil, server: String? = nil
    ) throws(ClusterError) -> ClusterAccess {
        try Kubeconfig.parse(Array(text.utf8), file: "/etc/agent/kubeconfig", context: context, server: server)
    }

    @Test func theChosenContextNamesClusterAndUser() throws {
        let text = """
            current-context: one
            contexts:
            - {name: one, context: {cluster: a, user: u}}
            - {name: two, context: {cluster: b, user: v, namespace: ignored}}
            - {name: three, context: {cluster: b}}
            clusters:
            - {name: a, cluster: {server: "https://192.0.2.1"}}
            - {name: b, cluster: {server: "https://[2001:db8::1]:6443/prefix/"}}
            users:
            - {name: u, user: {token: first}}
            - {name: v, user: {username: admin, password: secret}}
            """
        let one = try parse(text)
        #expect(one.server.text == "https://192.0.2.1:443")
        #expect(one.authorization == .token("first"))
        let two = try parse(text, context: "two")
        #expect(two.server.text == "https://[2001:db8::1]:6443/prefix")
        #expect(two.server.host == "2001:db8::1")
        #expect(two.authorization == .basic(user: "admin", password: "secret"))
        #expect(try parse(text, context: "three").authorization == .none)
        #expect(try parse(text, server: "https://192.0.2.9:6443").server.host == "192.0.2.9")
    }

    @Test func jsonIsReadToo() throws {
        let access = try parse(
            #"{"current-context":"c","contexts":[{"name":"c","context":{"cluster":"k","user":"u"}}],"#
                + #""clusters":[{"name":"k","cluster":{"server":"https://api.example:6443"}}],"#
                + #""users":[{"name":"u","user":{"token":"t"}}]}"#)
        #expect(access.server.text == "https://api.example:6443")
    }

    @Test func clusterSettings() throws {
        let access = try parse(
            Self.config(
                cluster: """
                    server: https://api.example:6443
                    certificate-authority: pki/ca.crt
                    tls-server-name: kubernetes
                    proxy-url: http://us%40er:pass@proxy.example:3128/
                    disable-compression: true
                    """))
        #expect(access.serverName == "kubernetes")
        #expect(access.acceptsCompression == false)
        #expect(access.proxy == .init(kind: .http, host: "proxy.example", port: 3128, user: "us@er", password: "pass"))
        // Relative paths start from the kubeconfig's directory.
        guard case .file(let path, let place) = access.authority else {
            Issue.record("no file: \(String(describing: access.authority))")
            return
        }
        #expect(path == "/etc/agent/pki/ca.crt")
        #expect(place.key == "clusters[0].cluster.certificate-authority")
        let insecure = try parse(Self.config(cluster: "server: 192.0.2.1:6443\ninsecure-skip-tls-verify: true"))
        #expect(insecure.isInsecure && insecure.server.isSecure)
    }

    @Test func inlineDataCountsBeforeFiles() throws {
        let access = try parse(
            Self.config(
                user: """
                    client-certificate: cert.pem
                    client-certificate-data: Q0VSVA==
                    client-key: /keys/key.pem
                    client-key-data: |
                      S0
                      VZ
                    """))
        #expect(try access.certificate?.read() == Array("CERT".utf8))
        #expect(try access.privateKey?.read() == Array("KEY".utf8))
    }

    @Test func tokenFileCountsBeforeToken() throws {
        let access = try parse(Self.config(user: "tokenFile: token\ntoken: old"))
        guard case .tokenFile(.file(let path, _), let fallback) = access.authorization else {
            Issue.record("\(access.authorization)")
            return
        }
        #expect(path == "/etc/agent/token")
        #expect(fallback == "old")
    }

    @Test func plugin() throws {
        let access = try parse(
            Self.config(
                cluster: """
                    server: https://192.0.2.1:6443
                    certificate-authority-data: Q0E=
                    extensions:
                    - name: client.authentication.k8s.io/exec
                      extension: {audience: "a\\"b", numbers: [1, 2.5, true, null]}
                    """,
                user: """
                    exec:
                      apiVersion: client.authentication.k8s.io/v1
                      command: bin/get-token
                      args: [--cluster, main]
                      env: [{name: PROFILE, value: x}]
                      installHint: Install it.
                      provideClusterInfo: true
                      interactiveMode: IfAvailable
                    """))
        guard case .plugin(let plugin) = access.authorization else {
            Issue.record("\(access.authorization)")
            return
        }
        #expect(plugin.command == "/etc/agent/bin/get-token")
        #expect(plugin.arguments == ["--cluster", "main"])
        #expect(plugin.environment == ["PROFILE": "x"])
        #expect(
            plugin.cluster?.text
                == #"{"server":"https://192.0.2.1:6443","certificate-authority-data":"Q0E=","#
                + #""config":{"audience":"a\"b","numbers":[1,2.5,true,null]}}"#)
    }

    /// Each names the file, the key, and what is wrong.
    @Test(arguments: [
        ("", "empty", ""),
        ("a: [", "not YAML", ""),
        ("kind: Pod", "expected Config", "kind"),
        ("contexts: []", "missing", "current-context"),
        ("current-context: x\ncontexts: [{name: y, context: {cluster: c}}]", "there are y", "current-context"),
        ("current-context: x\ncontexts: [{name: x, context: {user: c}}]", "missing", "contexts[0].context.cluster"),
        (
            "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: []",
            #"no "c" in clusters"#, "contexts[0].context.cluster"
        ),
        (config(cluster: "certificate-authority: x"), "missing", "clusters[0].cluster.server"),
        (config(cluster: "server: 'ftp://192.0.2.1'"), "expected a URL", "clusters[0].cluster.server"),
        (config(cluster: "server: https://host:99999"), "expected a URL", "clusters[0].cluster.server"),
        (config(cluster: "server: 5"), "expected a string", "clusters[0].cluster.server"),
        (
            config(cluster: "server: https://h\ncertificate-authority-data: '%%'"), "base64",
            "clusters[0].cluster.certificate-authority-data"
        ),
        (
            config(cluster: "server: https://h\ninsecure-skip-tls-verify: maybe"), "true or false",
            "clusters[0].cluster.insecure-skip-tls-verify"
        ),
        (
            config(cluster: "server: https://h\ninsecure-skip-tls-verify: true\ncertificate-authority: x"),
            "remove one of the two", "clusters[0].cluster.insecure-skip-tls-verify"
        ),
        (
            config(cluster: "server: https://h\nproxy-url: https://p:1"), "https proxies are not supported",
            "clusters[0].cluster.proxy-url"
        ),
        (config(cluster: "server: https://h\nproxy-url: p:1"), "expected http://", "clusters[0].cluster.proxy-url"),
        (config(user: "client-certificate: x"), "go together", "users[0].user"),
        (config(user: "token: x\nusername: y"), "only one of", "users[0].user"),
        (config(user: #"token: "a\nb""#), "single line", "users[0].user"),
        (config(user: "auth-provider: {name: gcp}"), "use an exec plugin", "users[0].user.auth-provider"),
        (config(user: "token: x\nas: admin"), "acting as somebody else", "users[0].user.as"),
        (
            config(user: "exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}"),
            "expected client.auth",
            "users[0].user.exec.apiVersion"
        ),
        (
            config(user: "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}"), "missing",
            "users[0].user.exec.command"
        ),
        (
            config(user: "exec: {apiVersion: client.authentication.k8s.io/v1, command: x}"),
            "interactiveMode is missing",
            "users[0].user.exec"
        ),
        (
            config(
                user: "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}"),
            "no terminal", "users[0].user.exec.interactiveMode"
        ),
    ])
    func whatIsWrongIsNamed(_ text: String, _ message: String, _ key: String) {
        let error = #expect(throws: ClusterError.self) { try parse(text) }
        #expect(error?.subject.hasPrefix("/etc/agent/kubeconfig") == true, "\(String(describing: error))")
        #expect(error?.key == key, "\(String(describing: error))")
        #expect(error?.message.contains(message) == true, "\(String(describing: error))")
    }

    @Test func aServerByAddressCannotBeVerifiedThroughAProxy() throws {
        try TemporaryDirectory.with { directory in
            let file = directory.write(
                "config", Self.config(cluster: "server: https://192.0.2.1\nproxy-url: http://proxy.example"))
            let error = #expect(throws: ClusterError.self) {
                try ClusterAccess.from(ClusterSettings(kubeconfig: file), pod: PodEnvironment(host: nil, port: nil))
            }
            #expect(error?.message.contains("tls-server-name") == true)
        }
    }

    @Test func aFileThatIsNotThereIsAnError() {
        let error = #expect(throws: ClusterError.self) {
            try Kubeconfig.read("/nonexistent/kubeconfig", context: nil, server: nil)
        }
        #expect(error?.description.contains("/nonexistent/kubeconfig: the kubeconfig cannot be read") == true)
    }
}

@Suite struct AddressTests {
    @Test(arguments: [
        ("https://192.0.2.1:6443", "https://192.0.2.1:6443"),
        ("https://api.example", "https://api.example:443"),
        ("http://127.0.0.1", "http://127.0.0.1:80"),
        ("api.example:6443", "https://api.example:6443"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]:443"),
        ("HTTPS://api.example/k8s/clusters/c-1/", "https://api.example:443/k8s/clusters/c-1"),
    ])
    func urls(_ text: String, _ expected: String) {
        #expect(ServerURL(text)?.text == expected)
    }

    @Test(arguments: [
        "", "https://", "https://:6443", "https://h:0", "https://h:65536", "https://h:+1", "https://h:x",
        "https://[2001:db8::1", "https://[192.0.2.1]", "https://a b", "https://user@h", "https://h/?q", "unix:///x",
    ])
    func noURLs(_ text: String) {
        #expect(ServerURL(text) == nil)
    }

    @Test func inClusterByItsEnvironment() throws {
        let pod = PodEnvironment(host: "2001:db8::a", port: "443", directory: "/sa")
        let access = try ClusterAccess.inCluster(pod, server: nil)
        #expect(access.server.text == "https://[2001:db8::a]:443")
        guard case .file("/sa/ca.crt", _) = access.authority,
            case .tokenFile(.file("/sa/token", _), nil) = access.authorization
        else {
            Issue.record("\(access)")
            return
        }
        let named = try ClusterAccess.inCluster(
            PodEnvironment(host: nil, port: nil), server: "https://api.example:6443")
        #expect(named.server.host == "api.example")
    }

    @Test(arguments: [(nil, nil), ("192.0.2.1", nil), ("", "443"), ("192.0.2.1", "x"), ("a b", "1")])
    func noCluster(_ host: String?, _ port: String?) {
        let error = #expect(throws: ClusterError.self) {
            try ClusterAccess.inCluster(PodEnvironment(host: host, port: port), server: nil)
        }
        #expect(error?.subject.contains("KUBERNETES_SERVICE_HOST") == true)
    }
}
