internal import NIOSSL

/// What TLS connections are made with: made anew when one of the files it is from has changed.
struct TLSMaterial: Sendable {
    /// For a connection.
    let configuration: TLSConfiguration
    /// The texts it is made from.
    let sources: [[UInt8]]

    /// Reads what an access names. `certificate` and `privateKey` are a plugin's, in place of the configured ones.
    static func sources(
        _ access: ClusterAccess, certificate: ClusterAccess.Material?, privateKey: ClusterAccess.Material?
    ) throws(ClusterError) -> [[UInt8]] {
        var sources: [[UInt8]] = []
        for material in [access.authority, certificate ?? access.certificate, privateKey ?? access.privateKey] {
            sources.append(try material?.read() ?? [])
        }
        return sources
    }

    /// Makes a configuration of such texts, and sees that they are what they should be.
    init(
        _ access: ClusterAccess, certificate: ClusterAccess.Material?, privateKey: ClusterAccess.Material?,
        sources: [[UInt8]]
    ) throws(ClusterError) {
        var tls = TLSConfiguration.makeClientConfiguration()
        if access.isInsecure { tls.certificateVerification = .none }
        if let authority = access.authority {
            tls.trustRoots = .certificates(try Self.certificates(sources[0], authority))
        }
        if let certificate = certificate ?? access.certificate, let privateKey = privateKey ?? access.privateKey {
            tls.certificateChain = try Self.certificates(sources[1], certificate).map { .certificate($0) }
            do {
                tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: sources[2], format: .pem))
            } catch {
                throw Self.problem(privateKey, "not a private key in PEM form without a passphrase")
            }
            do {
                _ = try NIOSSLContext(configuration: tls)
            } catch {
                throw Self.problem(privateKey, "not usable with the certificate: does the key belong to it? (\(error))")
            }
        }
        configuration = tls
        self.sources = sources
    }

    private static func certificates(
        _ bytes: [UInt8], _ material: ClusterAccess.Material
    ) throws(ClusterError) -> [NIOSSLCertificate] {
        let certificates: [NIOSSLCertificate]
        do {
            certificates = try NIOSSLCertificate.fromPEMBytes(bytes)
        } catch {
            throw problem(material, "not certificates in PEM form")
        }
        guard !certificates.isEmpty else { throw problem(material, "no certificate in PEM form") }
        return certificates
    }

    private static func problem(_ material: ClusterAccess.Material, _ message: String) -> ClusterError {
        if case .file(let path, let place) = material { return place.error("\(path): \(message)") }
        return material.place.error(message)
    }
}
