import Foundation

/// A certificate authority, a server's certificate and clients' certificates, made by the `openssl` command for a day.
public struct Certificates: Sendable {
    /// A certificate and its key, in PEM.
    public struct Pair: Sendable, Hashable {
        /// The certificate.
        public let certificate: String
        /// The private key.
        public let key: String
    }

    /// The authority's certificate.
    public let authority: String
    /// The server's pair.
    public let server: Pair
    /// The pair of the user `ec-client`, an elliptic curve key.
    public let ecClient: Pair
    /// The pair of the user `rsa-client`, an RSA key.
    public let rsaClient: Pair

    /// Makes all of them. The server's certificate is for these addresses and for loopback.
    public init(for addresses: [String] = []) throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "api-stand-in-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: directory) }
        let maker = Maker(directory: directory)
        try maker.openssl(
            ["req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=stand-in-ca", "-out", "ca.pem", "-keyout", "ca.key"]
                + Maker.ecKey + ["-addext", "keyUsage=critical,keyCertSign"])
        authority = try maker.text("ca.pem")
        let names =
            (["127.0.0.1", "::1"] + addresses).map { "IP:\($0)" } + ["DNS:localhost", "DNS:kubernetes.default.svc"]
        server = try maker.pair(
            "server", subject: "/CN=kube-apiserver", Maker.ecKey,
            extensions: "extendedKeyUsage=serverAuth\nsubjectAltName=\(names.joined(separator: ","))\n")
        ecClient = try maker.pair(
            "ec", subject: "/O=system:node-proxier/CN=ec-client", Maker.ecKey,
            extensions: "extendedKeyUsage=clientAuth\n")
        rsaClient = try maker.pair(
            "rsa", subject: "/O=system:node-proxier/CN=rsa-client", ["-newkey", "rsa:2048"],
            extensions: "extendedKeyUsage=clientAuth\n")
    }

    private struct Maker {
        static let ecKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]

        let directory: URL

        func pair(_ name: String, subject: String, _ key: [String], extensions: String) throws -> Pair {
            try extensions.write(
                to: directory.appendingPathComponent("\(name).ext"), atomically: false, encoding: .utf8)
            try openssl(["req", "-nodes", "-subj", subject, "-out", "\(name).csr", "-keyout", "\(name).key"] + key)
            try openssl([
                "x509", "-req", "-days", "1", "-in", "\(name).csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-extfile", "\(name).ext", "-out", "\(name).pem",
            ])
            return Pair(certificate: try text("\(name).pem"), key: try text("\(name).key"))
        }

        func text(_ name: String) throws -> String {
            try String(contentsOf: directory.appendingPathComponent(name), encoding: .utf8)
        }

        func openssl(_ arguments: [String]) throws {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = ["openssl"] + arguments
            process.currentDirectoryURL = directory
            let output = Pipe()
            process.standardOutput = FileHandle.nullDevice
            process.standardError = output
            try process.run()
            let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            guard process.terminationStatus == 0 else {
                throw CertificateError(description: "openssl \(arguments.joined(separator: " ")): \(text)")
            }
        }
    }
}

/// `openssl` failed.
public struct CertificateError: Error, CustomStringConvertible {
    /// What it said.
    public let description: String
}
