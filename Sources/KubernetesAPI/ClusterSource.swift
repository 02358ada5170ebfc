public import Logging
public import ServiceModel

/// Services, EndpointSlices, this Node and ServiceCIDRs of a cluster, by list and watch.
///
/// What is told is what the server said, in order, for each object: never an older state after a newer one. Nothing that
/// is known is taken back because the server fails, falls silent or talks nonsense; it is tried again until it is well. A
/// list that follows such a failure tells of what changed and deletes what vanished, in one batch.
public final class ClusterSource: Sendable {
    /// A source that has not begun.
    ///
    /// - Parameters:
    ///   - nodeName: This node's name; only its Node object is watched.
    ///   - serviceProxyName: Services with the label `service.kubernetes.io/service-proxy-name` of this value are told of;
    ///     `nil` or empty: those without that label.
    ///   - version: The agent's version, for the user agent.
    ///   - pod: Where the service account is, when the settings name no kubeconfig.
    ///   - timing: Times to keep.
    /// - Throws: What cannot heal by itself: a kubeconfig that is not readable or names what is not there, a key or
    ///   certificate that is none. A token that is not there yet, or a server that does not answer, is waited for.
    public init(
        _ settings: ClusterSettings, nodeName: String, serviceProxyName: String? = nil, version: String,
        pod: PodEnvironment = .current, timing: ClusterTiming = ClusterTiming(), logger: Logger
    ) throws(ClusterError) {
    }

    /// Begins, and tells what it learns, until the stream is dropped or its task is cancelled. To be called once.
    ///
    /// `synced` is told once: when Services and EndpointSlices are complete, and the Node is known or has been waited
    /// for (``ClusterTiming/node``). Batches before that are not complete.
    public func follow() -> AsyncStream<ObjectBatch> {
        AsyncStream { $0.finish() }
    }

    /// How it is going.
    public var status: SourceStatus { SourceStatus() }

    /// Sends Events by the same connection.
    public var events: EventRecorder { EventRecorder() }
}
