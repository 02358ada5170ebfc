internal import FoundationEssentials
internal import Glibc
internal import ServiceModel

/// What this node shows itself with, as it is now: tokens from files that are rotated, and what plugins print.
actor Credentials {
    /// For one request.
    struct Presented: Sendable, Equatable {
        /// The header `Authorization`.
        var authorization: String?
        var certificate: ClusterAccess.Material?
        var privateKey: ClusterAccess.Material?
    }

    private let authorization: ClusterAccess.Authorization
    private let timeout: Duration
    /// What a token file held when it could be read last.
    private var lastToken: String?
    private var credential: ExecPlugin.Credential?
    private var running: Task<Result<ExecPlugin.Credential, ClusterError>, Never>?

    /// - Parameter timeout: How long a plugin may take.
    init(_ authorization: ClusterAccess.Authorization, timeout: Duration) {
        self.authorization = authorization
        self.timeout = timeout
    }

    /// What is to be shown now.
    func present() async throws(ClusterError) -> Presented {
        switch authorization {
        case .none: return Presented()
        case .token(let token): return Presented(authorization: "Bearer \(token)")
        case .basic(let user, let password):
            let pair = Data("\(user):\(password)".utf8).base64EncodedString()
            return Presented(authorization: "Basic \(pair)")
        case .tokenFile(let file, let fallback):
            return Presented(authorization: "Bearer \(try token(file, fallback))")
        case .plugin(let plugin):
            let credential = try await credential(plugin)
            return Presented(
                authorization: credential.token.map { "Bearer \($0)" }, certificate: credential.certificate,
                privateKey: credential.privateKey)
        }
    }

    /// The server has refused it (401). Says whether asking again may give something else.
    func refused(_ presented: Presented) async -> Bool {
        switch authorization {
        case .none, .token, .basic: return false
        case .tokenFile: return (try? await present()).map { $0 != presented } ?? false
        case .plugin:
            if let credential, credential.token.map({ "Bearer \($0)" }) == presented.authorization,
                credential.certificate == presented.certificate
            {
                self.credential = nil
            }
            return true
        }
    }

    /// Read each time: requests are rare, and a token is rotated long before it is refused.
    private func token(_ file: ClusterAccess.Material, _ fallback: String?) throws(ClusterError) -> String {
        do throws(ClusterError) {
            let token = try BearerToken.read(file)
            lastToken = token
            return token
        } catch {
            // Somebody replaces it just now, or has taken it away: what was there last is good for a while.
            if let token = lastToken ?? fallback { return token }
            throw error
        }
    }

    /// Run once for all who wait.
    private func credential(_ plugin: ExecPlugin) async throws(ClusterError) -> ExecPlugin.Credential {
        if let credential, !credential.isExpired { return credential }
        let run =
            running
            ?? Task { [timeout] in
                do throws(ClusterError) { return .success(try await plugin.run(timeout: timeout)) } catch {
                    return .failure(error)
                }
            }
        running = run
        let result = await run.value
        if running == run { running = nil }
        let fresh = try result.get()
        credential = fresh
        return fresh
    }
}

extension ExecPlugin.Credential {
    /// Whether it has to be asked for again.
    var isExpired: Bool {
        guard let expires else { return false }
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) >= expires.seconds
    }
}
