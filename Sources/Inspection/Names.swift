internal import Dataplane
internal import NeedletailABI
internal import Planning

/// The two populations of clients.
enum ScopeName: String, Encodable, Sendable, CaseIterable {
    case external, `internal`

    func answer(_ record: FrontendRecord) -> ScopeRecord {
        switch self {
        case .external: record.external
        case .internal: record.internal
        }
    }
}

/// A backend's state as it is asked for and shown.
public enum BackendStateName: String, Sendable, Hashable, CaseIterable, Encodable {
    /// May get new flows.
    case active
    /// Keeps its flows and gets no new ones.
    case terminating
    /// Its UDP flows end; its id waits for the last flow.
    case gone
    /// The id names nothing: the maps were changed while they were read.
    case unknown = "?"

    /// Reads a state.
    public init(_ text: String) throws(FilterError) {
        guard let state = Self(rawValue: text.lowercased()), state != .unknown else {
            throw FilterError(description: "expected active, terminating or gone")
        }
        self = state
    }

    init(_ record: BackendRecord?) {
        switch record?.state {
        case .active: self = .active
        case .terminating: self = .terminating
        case .gone: self = .gone
        case .free, nil: self = .unknown
        }
    }
}

extension RefusalCode {
    /// A stable name.
    var name: String {
        switch self {
        case .none: "unknown"
        case .noEndpoints: "no-endpoints"
        case .noLocalEndpoints: "no-local-endpoints"
        }
    }

    /// Why new connections are refused, in words.
    func explanation(_ scope: ScopeName, isLoopback: Bool) -> String {
        switch self {
        case .none: "the map does not say why"
        case .noEndpoints: "no endpoint is ready anywhere, and none that terminates still serves"
        case .noLocalEndpoints:
            switch scope {
            case .external where isLoopback: "loopback addresses are for the node itself"
            case .external: "externalTrafficPolicy is Local, and no usable endpoint is on this node"
            case .internal: "internalTrafficPolicy is Local, and no usable endpoint is on this node"
            }
        }
    }
}
