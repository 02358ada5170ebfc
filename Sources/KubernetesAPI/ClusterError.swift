/// Something wrong with how a cluster's API server is to be reached: where it is written, what is wrong, what to do.
public struct ClusterError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The file, environment variable or command that says so.
    public let subject: String
    /// The place in it, as `clusters[0].cluster.server`; empty for the whole.
    public let key: String
    /// What is wrong and what is expected.
    public let message: String

    /// An error.
    public init(subject: String, key: String = "", message: String) {
        self.subject = subject
        self.key = key
        self.message = message
    }

    /// `/etc/kubernetes/proxy.conf: users[0].user.client-key: /etc/proxy.key: not a private key in PEM form …`.
    public var description: String { ([subject, key, message].filter { !$0.isEmpty }).joined(separator: ": ") }
}
