import Subprocess

/// A certificate authority, a server's certificates for 127.0.0.1 (`server`) and for api.example (`named`), and clients',
/// made by `openssl`.
struct Certificates: Sendable {
    let directory: TemporaryDirectory

    init(_ directory: TemporaryDirectory) async throws {
        self.directory = directory
        try await authority("ca")
        for (name, subject) in [("server", "IP:127.0.0.1"), ("named", "DNS:api.example")] {
            directory.write("\(name).ext", "subjectAltName=\(subject)\n")
            try await key(name, kind: "ec")
            try await sign(name, by: "ca", extensions: "\(name).ext")
        }
    }

    func path(_ name: String) -> String { "\(directory.path)/\(name)" }

    /// A client's certificate and key: `rsa` and `ec` in their traditional form, `pkcs8`.
    func client(_ name: String, kind: String) async throws {
        directory.write("client.ext", "extendedKeyUsage=clientAuth\n")
        try await key(name, kind: kind)
        try await sign(name, by: "ca", extensions: "client.ext")
    }

    /// A certificate and key of an authority nobody trusts; the authority's own is `other.crt`.
    func otherAuthority() async throws -> (certificate: String, key: String) {
        try await authority("other")
        directory.write("client.ext", "extendedKeyUsage=clientAuth\n")
        try await key("stranger", kind: "ec")
        try await sign("stranger", by: "other", extensions: "client.ext")
        return (directory.read("stranger.crt"), directory.read("stranger.key"))
    }

    private func authority(_ name: String) async throws {
        try await key(name, kind: "ec")
        try await openssl([
            "req", "-x509", "-new", "-key", path("\(name).key"), "-subj", "/CN=\(name)", "-days", "2", "-out",
            path("\(name).crt"),
        ])
    }

    private func key(_ name: String, kind: String) async throws {
        let file = path("\(name).key")
        switch kind {
        case "rsa": try await openssl(["genrsa", "-traditional", "-out", file, "2048"])
        case "ec": try await openssl(["ecparam", "-name", "prime256v1", "-genkey", "-out", file])
        default: try await openssl(["genpkey", "-algorithm", "RSA", "-out", file])
        }
    }

    private func sign(_ name: String, by authority: String, extensions: String) async throws {
        try await openssl([
            "req", "-new", "-key", path("\(name).key"), "-subj", "/O=system:nodes/CN=\(name)", "-out",
            path("\(name).csr"),
        ])
        try await openssl([
            "x509", "-req", "-in", path("\(name).csr"), "-CA", path("\(authority).crt"), "-CAkey",
            path("\(authority).key"), "-CAcreateserial", "-days", "2", "-extfile", path(extensions), "-out",
            path("\(name).crt"),
        ])
    }

    private func openssl(_ arguments: [String]) async throws {
        let result = try await run(
            .name("openssl"), arguments: Arguments(arguments), output: .discarded, error: .string(limit: 1 << 16))
        guard result.terminationStatus.isSuccess else { throw Failure(message: result.standardError) }
    }

    private struct Failure: Error { let message: String }
}
