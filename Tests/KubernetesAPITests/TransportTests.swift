import KubernetesWire
import NIOCore
import NIOHTTP1
import NIOSSL
import Testing

@testable import KubernetesAPI

@Suite(.timeLimit(.minutes(5))) struct TransportTests {
    private func get(_ transport: Transport, _ path: String = "/api/v1/services") async throws -> String {
        try await transport.exchange(
            APIRequest(path: path, accept: "application/json", acceptsCompression: true), deadline: .seconds(60),
            silence: .seconds(60)
        ) { answer in
            String(buffer: try await answer.body.collect(upTo: 1 << 20))
        }
    }

    private func failure(_ transport: Transport) async -> RequestError? {
        do {
            _ = try await get(transport)
            return nil
        } catch {
            return error as? RequestError
        }
    }

    @Test func requestsSayWhoAsksForWhat() async throws {
        try await LoopbackServer.with({ _ in .answer(200, [:], "{}") }) { server async throws in
            let transport = Transport.to(server, .token("secret"))
            #expect(try await get(transport, "/api/v1/services?x=y") == "{}")
            let request = try #require(server.requests.first)
            #expect(request.path == "/api/v1/services" && request.query == ["x": "y"])
            #expect(request.headers["authorization"] == ["Bearer secret"])
            #expect(request.headers["accept"] == ["application/json"])
            #expect(request.headers["accept-encoding"] == ["gzip"])
            #expect(request.headers["user-agent"].first?.hasPrefix("needletail-agent/1.2.3 (linux/") == true)
            let statistics = transport.statistics
            let host = "127.0.0.1:\(server.port)"
            #expect(statistics.counts == [.init(code: "200", method: "GET", host: host): 1])
            let durations = try #require(statistics.durations[.init(verb: "GET", host: host)])
            #expect(durations.counts.reduce(0, +) == 1 && durations.sum > 0)
        }
    }

    @Test func aTokenThatIsRefusedIsReadAgainOnce() async throws {
        try await TemporaryDirectory.with { directory in
            let file = directory.write("token", "old")
            try await LoopbackServer.with({ request in
                guard request.headers["authorization"] != ["Bearer new"] else { return .answer(200, [:], "{}") }
                directory.write("token", "new")
                return .status(401, reason: "Unauthorized")
            }) { server async throws in
                let place = ClusterAccess.Place(subject: "", key: "")
                let transport = Transport.to(server, .tokenFile(.file(file, place), fallback: nil))
                #expect(try await get(transport) == "{}")
                #expect(server.requests.count == 2)
            }
            try await LoopbackServer.with({ _ in .status(401, reason: "Unauthorized") }) { server async throws in
                #expect(await failure(Transport.to(server, .token("x")))?.failure == .unauthorized)
                #expect(server.requests.count == 1)
            }
        }
    }

    @Test func whatTheServerSaysOfAFailureIsTold() async throws {
        try await LoopbackServer.with({ _ in
            .status(503, reason: "ServiceUnavailable", message: "starting", headers: ["Retry-After": "7"])
        }) { server async throws in
            let transport = Transport.to(server)
            let error = await failure(transport)
            #expect(error?.failure == .server)
            #expect(error?.description == "503 ServiceUnavailable: starting")
            #expect(error?.retryAfter == .seconds(7))
            #expect(transport.statistics.counts.keys.map(\.code) == ["503"])
        }
        // Something else than an API server, which has no Status.
        try await LoopbackServer.with({ _ in .answer(502, ["content-type": "text/html"], "<html>") }) {
            server async throws in
            #expect(await failure(Transport.to(server))?.description == "502: Bad Gateway")
        }
    }

    @Test func aServerThatIsNotThere() async throws {
        let port = try await LoopbackServer.with({ _ in .none }) { $0.port }
        let access = ClusterAccess(server: ServerURL(isSecure: false, host: "127.0.0.1", port: port))
        let transport = Transport(access, ClusterSettings(), version: "1", timing: .quick)
        let error = await failure(transport)
        #expect(error?.failure == .connection)
        #expect(error?.description == "Connection refused")
        #expect(transport.statistics.counts.keys.map(\.code) == ["<error>"])
    }

    @Test func aServerThatDoesNotAnswer() async throws {
        var timing = ClusterTiming.quick
        timing.answer = .milliseconds(300)
        try await LoopbackServer.with({ _ in .none }) { [timing] server in
            #expect(await failure(Transport.to(server, timing: timing))?.failure == .timeout)
        }
    }

    @Test func proxiesAreGoneThrough() async throws {
        // A proxy that refuses: what counts is that it is asked, with credentials.
        try await LoopbackServer.with({ _ in .answer(403, [:], "") }) { proxy in
            var access = ClusterAccess(server: ServerURL(isSecure: true, host: "api.example", port: 6443))
            access.proxy = .init(kind: .http, host: "127.0.0.1", port: proxy.port, user: "u", password: "p")
            #expect(await failure(Transport(access, ClusterSettings(), version: "1", timing: .quick)) != nil)
            #expect(proxy.requests.first?.method == "CONNECT")
            #expect(proxy.requests.first?.path == "api.example:6443")
            #expect(proxy.requests.first?.headers["proxy-authorization"] == ["Basic dTpw"])
        }
    }

    // MARK: TLS

    /// A server that wants to see a certificate of the authority.
    private func serverTLS(_ files: Certificates, _ name: String = "server") throws -> TLSConfiguration {
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(files.path("\(name).crt")).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: files.path("\(name).key"), format: .pem)))
        tls.trustRoots = .file(files.path("ca.crt"))
        tls.certificateVerification = .noHostnameVerification
        return tls
    }

    private func kubeconfig(_ files: Certificates, _ port: Int, cluster: String = "", user: String) -> String {
        files.directory.write(
            "config",
            KubeconfigTests.config(
                cluster: "server: https://127.0.0.1:\(port)\n"
                    + (cluster.isEmpty ? "certificate-authority: ca.crt" : cluster), user: user))
    }

    private func transport(_ file: String) throws -> Transport {
        let access = try ClusterAccess.from(
            ClusterSettings(kubeconfig: file), pod: PodEnvironment(host: nil, port: nil))
        try access.check()
        return Transport(access, ClusterSettings(), version: "1", timing: .quick)
    }

    @Test(arguments: ["rsa", "ec", "pkcs8"]) func aClientCertificateIsShown(_ kind: String) async throws {
        try await TemporaryDirectory.with { directory in
            let files = try await Certificates(directory)
            try await files.client("client", kind: kind)
            try await LoopbackServer.with(tls: serverTLS(files), { _ in .answer(200, [:], "{}") }) {
                server async throws in
                let file = kubeconfig(
                    files, server.port, user: "client-certificate: client.crt\nclient-key: client.key")
                #expect(try await get(try transport(file)) == "{}")
            }
        }
    }

    @Test func aRotatedCertificateIsTakenUp() async throws {
        try await TemporaryDirectory.with { directory in
            let files = try await Certificates(directory)
            try await files.client("client", kind: "ec")
            let other = try await files.otherAuthority()
            try await LoopbackServer.with(tls: serverTLS(files), { _ in .answer(200, [:], "{}") }) {
                server async throws in
                // At first one that the server does not know.
                let good = (directory.read("client.crt"), directory.read("client.key"))
                directory.write("client.crt", other.certificate)
                directory.write("client.key", other.key)
                let file = kubeconfig(
                    files, server.port, user: "client-certificate: client.crt\nclient-key: client.key")
                let transport = try transport(file)
                #expect(await failure(transport) != nil)
                directory.write("client.crt", good.0)
                directory.write("client.key", good.1)
                #expect(try await get(transport) == "{}")
                // Half of a pair: what there was goes on.
                directory.write("client.key", other.key)
                #expect(try await get(transport) == "{}")
            }
        }
    }

    @Test func theServerIsVerified() async throws {
        try await TemporaryDirectory.with { directory in
            let files = try await Certificates(directory)
            _ = try await files.otherAuthority()
            var tls = try serverTLS(files)
            tls.certificateVerification = .none
            try await LoopbackServer.with(tls: tls, { _ in .answer(200, [:], "{}") }) { server async throws in
                let wrong = kubeconfig(
                    files, server.port, cluster: "certificate-authority: other.crt", user: "token: x")
                let error = await failure(try transport(wrong))
                #expect(error?.failure == .tls)
                #expect(
                    error?.description.contains("CERTIFICATE_VERIFY_FAILED") == true, "\(String(describing: error))")
                let insecure = kubeconfig(
                    files, server.port, cluster: "insecure-skip-tls-verify: true", user: "token: x")
                #expect(try await get(try transport(insecure)) == "{}")
            }
        }
    }

    @Test func theServersCertificateIsForTheNameAskedFor() async throws {
        try await TemporaryDirectory.with { directory in
            let files = try await Certificates(directory)
            var tls = try serverTLS(files, "named")
            tls.certificateVerification = .none
            try await LoopbackServer.with(tls: tls, { _ in .answer(200, [:], "{}") }) { server async throws in
                let ca = "certificate-authority: ca.crt"
                let table: [(String, SourceStatus.Failure?)] = [
                    (ca, .tls), ("\(ca)\ntls-server-name: api.example", nil),
                    ("\(ca)\ntls-server-name: other.example", .tls),
                ]
                for (cluster, expected) in table {
                    let error = await failure(
                        try transport(kubeconfig(files, server.port, cluster: cluster, user: "token: x")))
                    #expect(error?.failure == expected, "\(cluster): \(String(describing: error))")
                }
            }
        }
    }

    /// What cannot heal is told at the start, with the key it is under.
    @Test func filesThatAreNotWhatTheyShouldBe() async throws {
        try await TemporaryDirectory.with { directory in
            let files = try await Certificates(directory)
            try await files.client("client", kind: "ec")
            let other = try await files.otherAuthority()
            directory.write("other.key", other.key)
            directory.write("garbage", "garbage")
            let table = [
                ("certificate-authority: none.crt", "token: x", "clusters[0].cluster.certificate-authority"),
                ("certificate-authority: garbage", "token: x", "clusters[0].cluster.certificate-authority"),
                ("", "client-certificate: garbage\nclient-key: client.key", "users[0].user.client-certificate"),
                ("", "client-certificate: client.crt\nclient-key: garbage", "users[0].user.client-key"),
                ("", "client-certificate: client.crt\nclient-key: other.key", "users[0].user.client-key"),
            ]
            for (cluster, user, key) in table {
                let file = kubeconfig(files, 1, cluster: cluster, user: user)
                let error = #expect(throws: ClusterError.self) { try transport(file) }
                #expect(error?.key == key, "\(String(describing: error))")
            }
        }
    }
}
