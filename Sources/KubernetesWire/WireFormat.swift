/// How the API server writes objects.
public enum WireFormat: Sendable, Hashable, CaseIterable {
    /// JSON; a watch is a JSON object a line.
    case json
    /// The Kubernetes flavour of protobuf: an envelope that begins with `k8s` and a zero byte, or for a watch, frames
    /// of such envelopes. A quarter of the bytes of JSON once names of fields and white space are counted.
    case protobuf

    /// What to ask for in the header `Accept` of a list.
    public var listMediaType: String {
        switch self {
        case .json: "application/json"
        case .protobuf: "application/vnd.kubernetes.protobuf"
        }
    }

    /// What to ask for in the header `Accept` of a watch.
    public var watchMediaType: String {
        switch self {
        case .json: "application/json"
        case .protobuf: "application/vnd.kubernetes.protobuf;stream=watch"
        }
    }

    /// The format that the header `Content-Type` of an answer names; `nil` if it is neither.
    public init?(contentType: String) {
        let name = contentType.prefix { $0 != ";" }
        switch name.lowercased().filter({ $0 != " " && $0 != "\t" }) {
        case "application/json": self = .json
        case "application/vnd.kubernetes.protobuf": self = .protobuf
        default: return nil
        }
    }
}
