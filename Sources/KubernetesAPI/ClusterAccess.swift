internal import Manifests
internal import NetTypes

/// Where a cluster's API server is, how it proves who it is, and how this node does. What is in files is read anew for
/// each request, so that rotated files are taken up.
struct ClusterAccess: Sendable, Hashable {
    /// PEM text.
    enum Material: Sendable, Hashable {
        /// Written in the configuration, at this place.
        case inline([UInt8], Place)
        /// In a file, which this place names.
        case file(String, Place)

        var place: Place {
            switch self {
            case .inline(_, let place), .file(_, let place): place
            }
        }
    }

    /// A place in a configuration.
    struct Place: Sendable, Hashable {
        let subject: String
        let key: String

        func error(_ message: String) -> ClusterError { ClusterError(subject: subject, key: key, message: message) }
    }

    /// What requests are authorized by, beside a client certificate.
    enum Authorization: Sendable, Hashable {
        case none
        case token(String)
        /// A file that somebody rotates; `fallback` serves while it has never been read.
        case tokenFile(Material, fallback: String?)
        case basic(user: String, password: String)
        case plugin(ExecPlugin)
    }

    /// A proxy between.
    struct Proxy: Sendable, Hashable {
        enum Kind: Sendable { case http, socks }
        var kind: Kind
        var host: String
        var port: Int
        var user: String?
        var password: String?
    }

    var server: ServerURL
    /// What the server's certificate is for, where that is not the URL's host.
    var serverName: String?
    /// Whom the server's certificate must come from; `nil`: whom the system trusts.
    var authority: Material?
    /// Whether the server's certificate is not looked at.
    var isInsecure = false
    var acceptsCompression = true
    var proxy: Proxy?
    var certificate: Material?
    var privateKey: Material?
    var authorization = Authorization.none
}

/// The URL of an API server.
struct ServerURL: Sendable, Hashable {
    var isSecure: Bool
    /// A name or address, IPv6 without brackets.
    var host: String
    var port: Int
    /// What comes before `/api`; empty or with a leading slash, never a trailing one.
    var path: String

    init(isSecure: Bool, host: String, port: Int, path: String = "") {
        self.isSecure = isSecure
        self.host = host
        self.port = port
        self.path = path
    }

    /// Reads `https://192.0.2.1:6443/prefix`; the scheme may be left out. `nil` if it is no such URL.
    init?(_ text: String) {
        var rest = text[...]
        isSecure = true
        var isWellFormed = true
        if let scheme = rest.scheme {
            isSecure = scheme == "https"
            isWellFormed = scheme == "https" || scheme == "http"
            rest = rest.dropFirst(scheme.count + 3)
        }
        let authority = rest.prefix { $0 != "/" }
        path = String(rest.dropFirst(authority.count))
        while path.last == "/" { path.removeLast() }
        port = isSecure ? 443 : 80
        guard isWellFormed, let (host, port) = HostAndPort.read(authority),
            !path.contains(where: { "?# ".contains($0) })
        else { return nil }
        self.host = host
        if let port { self.port = port }
    }

    /// Whether the host is an address, not a name.
    var isAddress: Bool { IPAddress(host) != nil }

    /// Host and port, IPv6 in brackets.
    var authority: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }

    /// The whole, without a trailing slash.
    var text: String { "\(isSecure ? "https" : "http")://\(authority)\(path)" }
}

extension Substring {
    /// What is before `://`.
    var scheme: String? {
        guard let colon = firstIndex(of: ":"), self[colon...].hasPrefix("://") else { return nil }
        return self[..<colon].lowercased()
    }
}

/// `host`, `host:port`, `[address]:port`.
enum HostAndPort {
    static func read(_ text: Substring) -> (host: String, port: Int?)? {
        var host = text
        var port: Int?
        if text.first == "[" {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<end]
            guard host.contains(":"), IPAddress(host) != nil else { return nil }
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.first == ":" else { return nil }
            if !rest.isEmpty {
                guard let number = number(rest.dropFirst()) else { return nil }
                port = number
            }
        } else if let colon = text.firstIndex(of: ":") {
            guard let number = number(text[text.index(after: colon)...]) else { return nil }
            host = text[..<colon]
            port = number
        }
        let allowed = host.utf8.allSatisfy { byte in
            byte > 0x20 && byte < 0x7F && !"@/?#%\\\"<>".utf8.contains(byte)
        }
        return host.isEmpty || !allowed ? nil : (String(host), port)
    }

    private static func number(_ text: Substring) -> Int? {
        guard let number = UInt16(text), number > 0, text.first?.isNumber == true else { return nil }
        return Int(number)
    }
}

extension ClusterAccess {
    /// As the settings say.
    static func from(_ settings: ClusterSettings, pod: PodEnvironment) throws(ClusterError) -> ClusterAccess {
        var access: ClusterAccess
        if let file = settings.kubeconfig {
            access = try Kubeconfig.read(file, context: settings.context, server: settings.server)
        } else {
            access = try inCluster(pod, server: settings.server)
        }
        // Through a proxy, TLS would compare the address with the proxy's.
        if access.proxy != nil, access.server.isSecure, access.server.isAddress, access.serverName == nil,
            !access.isInsecure
        {
            throw ClusterError(
                subject: settings.kubeconfig ?? "", key: "proxy-url",
                message: "a server named by its address (\(access.server.text)) cannot be verified through a proxy: "
                    + "name it by a host name, or add tls-server-name")
        }
        return access
    }

    /// The service account of the pod. Its files need not be there yet.
    static func inCluster(_ pod: PodEnvironment, server: String?) throws(ClusterError) -> ClusterAccess {
        let url: ServerURL
        if let server {
            url = try serverOverride(server)
        } else {
            guard let host = pod.host, !host.isEmpty, let port = pod.port, !port.isEmpty else {
                throw ClusterError(
                    subject: "KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT",
                    message: "not set, so this is no pod of a cluster: name a kubeconfig, or set both")
            }
            guard let read = ServerURL(host.contains(":") ? "https://[\(host)]:\(port)" : "https://\(host):\(port)")
            else {
                throw ClusterError(
                    subject: "KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT",
                    message: "\(host), \(port): expected a host name or address, and a port")
            }
            url = read
        }
        let subject = "service account"
        var access = ClusterAccess(server: url)
        access.authority = .file("\(pod.directory)/ca.crt", Place(subject: subject, key: ""))
        access.authorization = .tokenFile(
            .file("\(pod.directory)/token", Place(subject: subject, key: "")), fallback: nil)
        return access
    }

    static func serverOverride(_ text: String) throws(ClusterError) -> ServerURL {
        guard let url = ServerURL(text) else {
            throw ClusterError(
                subject: "server", message: "\(text): expected a URL such as https://192.0.2.1:6443")
        }
        return url
    }
}

extension ClusterAccess.Material {
    /// Large enough for any bundle of certificates.
    private static let limit = 4 << 20

    /// The text as it is now.
    func read() throws(ClusterError) -> [UInt8] {
        switch self {
        case .inline(let bytes, _): return bytes
        case .file(let path, let place):
            switch FileReading(path: path, limit: Self.limit) {
            case .read(let bytes, _): return bytes
            case .unsettled: throw place.error("\(path): somebody is writing it")
            case .failed(let reason): throw place.error("\(path): \(reason)")
            }
        }
    }
}
