public import NetTypes
public import ServiceModel

/// A value of an object that cannot be used. The rest of the object is.
public struct ObjectProblem: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The object.
    public let object: ObjectID
    /// The field, as `spec.ports[0].port`.
    public let path: String
    /// The value, and what is expected.
    public let message: String

    /// Puts the three together.
    public init(object: ObjectID, path: String, message: String) {
        self.object = object
        self.path = path
        self.message = message
    }

    /// `Service default/web: spec.ports[0].port: 70000 is not a port: must be 1-65535`.
    public var description: String { "\(object): \(path): \(message)" }

    /// By object, field, message.
    public static func < (a: Self, b: Self) -> Bool { (a.object, a.path, a.message) < (b.object, b.path, b.message) }
}

/// The HTTP health check of a load balancer with `externalTrafficPolicy: Local`.
public struct HealthCheck: Sendable, Hashable {
    /// `spec.healthCheckNodePort`.
    public let port: UInt16
    /// For each family of the Service, the distinct addresses of local ready endpoints over all its ports.
    public let localEndpoints: [IPFamily: Int]

    /// A health check.
    public init(port: UInt16, localEndpoints: [IPFamily: Int]) {
        self.port = port
        self.localEndpoints = localEndpoints
    }
}

/// One Service, resolved by itself.
public struct ResolvedService: Sendable, Hashable {
    /// The Service.
    public let name: ObjectName
    /// For the order among Services that claim the same frontend.
    public let creationTimestamp: Int64?
    /// Its frontends, by key, each key once.
    public var frontends: [Frontend] = []
    /// For each of its ports every endpoint that is ready or serving, terminating or not, whatever policies say: flows
    /// to them stay alive. A port without any has no entry.
    public var serving: [ServicePortName: Set<TransportEndpoint>] = [:]
    /// Its health check, if it has one.
    public var healthCheck: HealthCheck?
    /// Why it came out like this.
    public var notes: [ResolutionNote] = []
    /// Ports of this Service that claim the same frontend.
    public var conflicts: [FrontendConflict] = []
    /// Values in the Service and its slices that could not be used.
    public var problems: [ObjectProblem] = []

    /// A Service without frontends.
    public init(name: ObjectName, creationTimestamp: Int64? = nil) {
        self.name = name
        self.creationTimestamp = creationTimestamp
    }
}

extension ResolvedService {
    /// The endpoints of all its ports that flows may be on.
    public var servingBackends: Set<TransportEndpoint> {
        serving.values.reduce(into: []) { $0.formUnion($1) }
    }
}

/// An endpoint as one of a service port's.
public struct ServingEndpoint: Sendable, Hashable {
    /// The service port.
    public let port: ServicePortName
    /// The endpoint.
    public let endpoint: TransportEndpoint

    /// Puts the two together.
    public init(port: ServicePortName, endpoint: TransportEndpoint) {
        self.port = port
        self.endpoint = endpoint
    }
}

/// Two Service ports want the same address, port and protocol.
public struct FrontendConflict: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// What both want.
    public let key: TransportEndpoint
    /// Who has it.
    public let winner: ServicePortName
    /// As what.
    public let winnerKind: FrontendKind
    /// Who has not.
    public let loser: ServicePortName
    /// As what it would have been.
    public let loserKind: FrontendKind

    /// Two frontends with the same key.
    public init(winner: Frontend, loser: Frontend) {
        key = winner.key
        self.winner = winner.servicePort
        winnerKind = winner.kind
        self.loser = loser.servicePort
        loserKind = loser.kind
    }

    /// `192.0.2.1:80/TCP: default/a/TCP (clusterIP) wins over default/b/TCP (externalIP)`.
    public var description: String {
        "\(key): \(winner) (\(winnerKind.rawValue)) wins over \(loser) (\(loserKind.rawValue))"
    }

    /// By key, then loser.
    public static func < (a: Self, b: Self) -> Bool {
        (a.key, a.loser, a.loserKind.rawValue) < (b.key, b.loser, b.loserKind.rawValue)
    }
}

/// What the datapath should hold.
public struct DesiredState: Sendable, Hashable {
    /// All frontends that are balanced, by what they listen on.
    public var frontends: [TransportEndpoint: Frontend] = [:]
    /// Every endpoint flows may be on, by service port (``ResolvedService/serving`` of all Services).
    public var serving: [ServicePortName: Set<TransportEndpoint>] = [:]
    /// Each Service by itself, the skipped ones too (their notes say why).
    public var services: [ObjectName: ResolvedService] = [:]
    /// Frontends wanted twice, in order.
    public var conflicts: [FrontendConflict] = []
    /// Values that could not be used, in order.
    public var problems: [ObjectProblem] = []

    /// Nothing.
    public init() {}

    /// Frontends that stem from no object, and the endpoints flows may be on: for planning without a Resolver.
    ///
    /// Each frontend is stored under its own key; of two with the same one the last stays.
    public init(frontends: some Sequence<Frontend>, serving: [ServicePortName: Set<TransportEndpoint>]) {
        for frontend in frontends { self.frontends[frontend.key] = frontend }
        self.serving = serving
    }

    /// Every endpoint flows may be on.
    public var backends: Set<TransportEndpoint> { serving.values.reduce(into: []) { $0.formUnion($1) } }
}
