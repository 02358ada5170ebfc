public import NeedletailABI
public import NetTypes
internal import Planning
public import Resolver
internal import ServiceModel

/// What a new flow of one scope meets at an address and port.
public enum Answer: Hashable, Sendable {
    /// It is nobody's, or no longer anybody's: the packet passes untouched.
    case notAService
    /// It is refused: the address is a ClusterIP and has no such port.
    case unknownPort
    /// It is dropped: its source is in none of the ranges that may use the frontend.
    case outOfRange
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
        case .refused(.noLocalEndpointsInternal), .refused(.noLocalEndpointsExternal), .refused(.loopback):
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
    /// The client's address.
    public let source: IPAddress

    /// The question; asked by a client within some of the ranges unless said otherwise.
    public init(key: TransportEndpoint, scope: Scope, source: IPAddress? = nil) {
        self.key = key
        self.scope = scope
        self.source = source ?? World.sources(key.address.family)[0]
    }
}

extension DesiredState {
    /// The answer that is wanted.
    public func answer(_ question: Question) -> Answer {
        if let allowed = frontends[question.key]?.allowedSources,
            !allowed.contains(where: { $0.contains(question.source) })
        {
            return .outOfRange
        }
        return answerToAll(question)
    }

    /// The same, without regard to ranges.
    func answerToAll(_ question: Question) -> Answer {
        guard let frontend = frontends[question.key] else {
            let isClusterIP = frontends.values.contains {
                $0.kind == .clusterIP && $0.key.address == question.key.address
            }
            return isClusterIP ? .unknownPort : .notAService
        }
        return Answer(question.scope == .external ? frontend.external : frontend.internal)
    }

    /// What is to be known of each address.
    var addresses: [IPAddress: AddressFlags] {
        var known: [IPAddress: AddressFlags] = [:]
        for frontend in frontends.values where frontend.kind == .clusterIP || frontend.kind == .loadBalancer {
            known[frontend.key.address, default: []].insert(frontend.kind == .clusterIP ? .clusterIP : .loadBalancer)
        }
        for frontend in frontends.values
        where !frontend.external.backendSet.isEmpty || !frontend.internal.backendSet.isEmpty {
            known[frontend.key.address]?.insert(.endpoints)
        }
        return known
    }

    /// Endpoints that serve, without ports of Services that say so: all those of one.
    public init(frontends: some Sequence<Frontend>, backends: Set<TransportEndpoint>) {
        let port = ServicePortName(
            service: ObjectName(namespace: "test", name: "all"), port: "all", transport: .tcp)
        self.init(frontends: frontends, serving: [port: backends])
    }
}
