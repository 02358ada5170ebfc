public import NeedletailABI

/// The service port and the backend a flow names.
public struct FlowOwner: Sendable, Hashable {
    /// The service port.
    public let service: ServiceID
    /// The backend.
    public let backend: BackendID

    /// Puts the two together.
    public init(service: ServiceID, backend: BackendID) {
        self.service = service
        self.backend = backend
    }
}

/// The UDP flows that must not go on: their backend serves their service port no more.
///
/// kube-proxy ends them after each sync (`pkg/proxy/conntrack/cleanup.go`), since a UDP client may never stop talking to
/// an endpoint that is gone. Flows to ready and to terminating endpoints that still serve go on, whatever policies say.
public enum EndedFlows: Sendable, Equatable {
    /// Those of these.
    case of(Set<FlowOwner>)
    /// All but those of these: where it is not known what has changed.
    case allBut(Set<FlowOwner>)

    /// Whether the flows of an owner end.
    public func contains(_ owner: FlowOwner) -> Bool {
        switch self {
        case .of(let ended): ended.contains(owner)
        case .allBut(let lasting): !lasting.contains(owner)
        }
    }

    /// What ends by either.
    public func union(_ other: EndedFlows) -> EndedFlows {
        switch (self, other) {
        case (.of(let a), .of(let b)): .of(a.union(b))
        case (.allBut(let a), .allBut(let b)): .allBut(a.intersection(b))
        case (.allBut(let lasting), .of(let ended)), (.of(let ended), .allBut(let lasting)):
            .allBut(lasting.subtracting(ended))
        }
    }

    /// Whether there is nothing to end.
    public var isEmpty: Bool { self == .of([]) }
}
