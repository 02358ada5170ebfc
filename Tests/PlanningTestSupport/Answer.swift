public import NeedletailABI
public import NetTypes
public import Resolver

/// What a new flow of one scope meets at an address and port.
public enum Answer: Hashable, Sendable {
    /// It is nobody's, or no longer anybody's: the packet passes untouched.
    case notAService
    /// It is refused.
    case refused(RefusalCode)
    /// It goes to one of these, in order.
    case spread([Member])

    /// A backend with its share.
    public struct Member: Hashable, Sendable {
        /// Where it is reached.
        public let endpoint: TransportEndpoint
        /// Its share.
        public let weight: UInt32
    }

    /// Where it may go.
    public var endpoints: Set<TransportEndpoint> {
        if case .spread(let members) = self { Set(members.map(\.endpoint)) } else { [] }
    }

    init(_ answer: ScopeAnswer) {
        switch answer {
        case .backends(let set) where set.isEmpty: self = .refused(.noEndpoints)
        case .backends(let set):
            self = .spread(set.members.map { Member(endpoint: $0.endpoint, weight: $0.weight) })
        case .refused(.noEndpoints): self = .refused(.noEndpoints)
        case .refused(.noLocalEndpointsInternal), .refused(.noLocalEndpointsExternal), .refused(.noLocalBackend):
            self = .refused(.noLocalEndpoints)
        }
    }
}

/// A question to the datapath: what does a new flow to this frontend meet in this scope?
public struct Question: Hashable, Sendable {
    /// What the client addresses.
    public let key: TransportEndpoint
    /// Where the client is.
    public let scope: Scope

    /// The question.
    public init(key: TransportEndpoint, scope: Scope) {
        self.key = key
        self.scope = scope
    }
}

extension DesiredState {
    /// The answer that is wanted.
    public func answer(_ question: Question) -> Answer {
        guard let frontend = frontends[question.key] else { return .notAService }
        return Answer(question.scope == .external ? frontend.external : frontend.internal)
    }
}
