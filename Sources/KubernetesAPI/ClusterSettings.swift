/// How the API server of a cluster is reached.
public struct ClusterSettings: Sendable, Hashable {
    /// How objects are written on the wire.
    public enum ContentType: String, Sendable, Hashable, CaseIterable {
        /// `application/vnd.kubernetes.protobuf`.
        case protobuf
        /// `application/json`.
        case json
    }

    /// A kubeconfig file; `nil` is the service account of the pod.
    public var kubeconfig: String?
    /// The context of the kubeconfig; `nil` is its `current-context`.
    public var context: String?
    /// The server's URL in place of the kubeconfig's or the service account's, such as `https://192.0.2.1:6443`.
    public var server: String?
    /// How objects are written on the wire.
    public var contentType: ContentType
    /// Requests in a second, and how many at once; watches that run are not counted. As client-go's `QPS` and `Burst`.
    public var requestsPerSecond: Double
    /// See ``requestsPerSecond``.
    public var burst: Int

    /// The service account of the pod, unless a kubeconfig is named.
    public init(
        kubeconfig: String? = nil, context: String? = nil, server: String? = nil, contentType: ContentType = .protobuf,
        requestsPerSecond: Double = 5, burst: Int = 10
    ) {
        self.kubeconfig = kubeconfig
        self.context = context
        self.server = server
        self.contentType = contentType
        self.requestsPerSecond = requestsPerSecond
        self.burst = burst
    }
}
