internal import NetTypes
internal import Observability
internal import Resolver
internal import ServiceModel

/// What Services ask for beside frontends, kept Service by Service.
struct ServiceRoll {
    /// Health checks, by Service.
    private var healthChecks: [ObjectName: HealthCheck] = [:]
    /// Service ports that drop traffic since no endpoint is on this node, by Service.
    private var withoutLocal: [ObjectName: Set<Shortage>] = [:]
    /// ``healthChecks`` have changed since they were last asked for.
    private var isStale = false

    /// A service port that a policy leaves without endpoints.
    private struct Shortage: Hashable {
        let port: ServicePortName
        let family: IPFamily
        let isInternal: Bool
    }

    mutating func update(_ name: ObjectName, _ service: ResolvedService?) {
        if healthChecks[name] != service?.healthCheck {
            healthChecks[name] = service?.healthCheck
            isStale = true
        }
        var found: Set<Shortage> = []
        for frontend in service?.frontends ?? [] {
            for refusal in [frontend.internal.refusal, frontend.external.refusal] {
                let isInternal = refusal == .noLocalEndpointsInternal
                guard isInternal || refusal == .noLocalEndpointsExternal else { continue }
                found.insert(
                    Shortage(port: frontend.servicePort, family: frontend.key.address.family, isInternal: isInternal))
            }
        }
        withoutLocal[name] = found.isEmpty ? nil : found
    }

    /// Where health checks are served may have changed.
    mutating func placesChanged() { isStale = true }

    /// The servers there should be, by port, if they are others than the last time. Should two Services name one port,
    /// which the API server does not allow, it is the first one's.
    mutating func takeHealthChecks() -> [UInt16: ServiceHealth]? {
        guard isStale else { return nil }
        isStale = false
        var servers: [UInt16: ServiceHealth] = [:]
        for (name, check) in healthChecks.sorted(by: { $0.key < $1.key }) where servers[check.port] == nil {
            servers[check.port] = ServiceHealth(service: name, localEndpoints: check.localEndpoints)
        }
        return servers
    }

    /// How many service ports drop traffic for want of local endpoints.
    var noLocalEndpoints: [MetricsSnapshot.NoLocalEndpoints] {
        let all = withoutLocal.values.joined()
        return IPFamily.allCases.map { family in
            MetricsSnapshot.NoLocalEndpoints(
                family: family, internalTraffic: all.count { $0.family == family && $0.isInternal },
                externalTraffic: all.count { $0.family == family && !$0.isInternal })
        }
    }
}
