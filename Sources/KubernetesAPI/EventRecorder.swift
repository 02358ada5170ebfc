public import ServiceModel

/// Tells the cluster's users what happened, as `events.k8s.io/v1` Events, which `kubectl describe` shows.
public struct EventRecorder: Sendable {
    /// How urgent an event is.
    public enum Severity: String, Sendable, Hashable {
        /// All is well.
        case normal = "Normal"
        /// Somebody should look at it.
        case warning = "Warning"
    }

    /// What an event is about.
    public enum Subject: Sendable, Hashable {
        /// This node.
        case node
        /// A Service.
        case service(ObjectName)
    }

    /// Puts an event into the queue. Returns at once; what is in the queue when the process ends is lost, and so is what
    /// a full queue or the cluster's refusal keeps out. An event that is equal to one of the last five minutes in
    /// all but its note is not sent.
    ///
    /// - Parameters:
    ///   - reason: Why, in one word that programs may look for, such as `FailedToStartServiceHealthcheck`.
    ///   - action: What was done or tried, in one word, such as `StartServiceHealthcheck`.
    ///   - note: What happened, for people; up to 1,024 bytes are sent.
    public func record(_ severity: Severity, _ subject: Subject, reason: String, action: String, note: String) {
    }
}
