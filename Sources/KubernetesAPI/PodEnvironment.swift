internal import Glibc

/// What a pod finds about the API server of its cluster: two variables, and the files of its service account.
public struct PodEnvironment: Sendable, Hashable {
    /// `KUBERNETES_SERVICE_HOST`: a name or an address, IPv6 without brackets.
    public var host: String?
    /// `KUBERNETES_SERVICE_PORT`.
    public var port: String?
    /// The directory of `token` and `ca.crt`.
    public var directory: String

    /// Where the kubelet puts a service account.
    public static let serviceAccountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount"

    /// What is given.
    public init(host: String?, port: String?, directory: String = PodEnvironment.serviceAccountDirectory) {
        self.host = host
        self.port = port
        self.directory = directory
    }

    /// This process's.
    public static var current: PodEnvironment {
        PodEnvironment(
            host: getenv("KUBERNETES_SERVICE_HOST").map { String(cString: $0) },
            port: getenv("KUBERNETES_SERVICE_PORT").map { String(cString: $0) })
    }
}
