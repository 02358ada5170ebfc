internal import NIOCore
public import NetTypes
public import ServiceModel

/// What a load balancer is told of a Service on its `healthCheckNodePort`.
public struct ServiceHealth: Sendable, Hashable {
    /// The Service.
    public var service: ObjectName
    /// How many addresses on this node have a ready endpoint of it, by the families the Service takes part in.
    public var localEndpoints: [IPFamily: Int]

    /// Puts the two together.
    public init(service: ObjectName, localEndpoints: [IPFamily: Int]) {
        self.service = service
        self.localEndpoints = localEndpoints
    }

    /// As kube-proxy answers (`pkg/proxy/healthcheck/service_health.go`), byte by byte.
    func answer(_ family: IPFamily, isProxyHealthy: Bool) -> HTTPAnswer {
        let count = localEndpoints[family] ?? 0
        var answer = HTTPAnswer(
            status: count > 0 && isProxyHealthy ? 200 : 503, contentType: "application/json",
            """
            {
            \t"service": {
            \t\t"namespace": \(jsonString(service.namespace)),
            \t\t"name": \(jsonString(service.name))
            \t},
            \t"localEndpoints": \(count),
            \t"serviceProxyHealthy": \(isProxyHealthy)
            }
            """)
        answer.headers.append(.init("X-Load-Balancing-Endpoint-Weight", "\(count)"))
        return answer
    }
}

/// Which addresses `healthCheckNodePort` servers listen on.
public enum ServiceHealthAddresses: Sendable, Hashable {
    /// All of the node's.
    case all
    /// These, each for its family.
    case only([IPAddress])
}

/// How listening for a Service goes. Told when it changes, not at each attempt.
public struct ServiceHealthReport: Sendable, Hashable {
    /// The Service.
    public let service: ObjectName
    /// Where.
    public let address: ListenAddress
    /// What went wrong, to be told as an Event `FailedToStartServiceHealthcheck` on the Service; `nil`: it listens after all.
    public let failure: BindFailure?
}

/// The servers of all `healthCheckNodePort`s, one for each port and family.
///
/// All share a thread and a limit of connections, so that thousands cost a descriptor each and little else.
public final class ServiceHealthServers: Sendable {
    private let loop: any EventLoop
    private let state: NIOLoopBoundBox<ServiceListeners>

    /// None yet.
    ///
    /// - Parameters:
    ///   - isProxyHealthy: Asked at each answer, on the servers' thread; see ``HealthState/isHealthy``.
    ///   - retryInterval: From one attempt to listen to the next.
    ///   - report: Told of each failure once, and when it is over.
    public init(
        on thread: ServerThread, retryInterval: Duration = .seconds(5),
        isProxyHealthy: @escaping @Sendable () -> Bool,
        report: @escaping @Sendable (ServiceHealthReport) -> Void = { _ in }
    ) {
        loop = thread.loop
        state = .makeBoxSendingValue(
            ServiceListeners(thread.loop, TimeAmount(retryInterval), isProxyHealthy, report), eventLoop: thread.loop)
    }

    /// From now on, `wanted` is what there is: opens ports that are new, closes those that are not wanted any more, tries
    /// again those that failed, and leaves the others open.
    public func reconcile(_ wanted: [UInt16: ServiceHealth], on addresses: ServiceHealthAddresses = .all) {
        let state = state
        loop.execute { state.value.reconcile(wanted, addresses, state) }
    }

    /// How many sockets listen, and how many should but cannot.
    public func sockets() async -> (listening: Int, failed: Int) {
        let state = state
        let counts = loop.submit { (listening: state.value.listening, failed: state.value.failed) }
        // It fails only when the thread has ended, and all sockets with it.
        return (try? await counts.get()) ?? (0, 0)
    }

    /// Closes all.
    public func close() { reconcile([:]) }
}

/// The listening sockets. Belongs to an event loop.
private final class ServiceListeners {
    private struct Place: Hashable {
        let port: UInt16
        let address: IPAddress
    }

    private struct Entry {
        let tag: UInt64
        var channel: (any Channel)?
        var failure: BindFailure?
    }

    private let listener: Listener
    private let retryInterval: TimeAmount
    private let isProxyHealthy: @Sendable () -> Bool
    private let report: @Sendable (ServiceHealthReport) -> Void
    private let pool: NIOLoopBoundBox<ConnectionPool>
    private var services: [UInt16: ServiceHealth] = [:]
    private var entries: [Place: Entry] = [:]
    private var nextTag: UInt64 = 1
    private var retry: Scheduled<Void>?

    init(
        _ loop: any EventLoop, _ retryInterval: TimeAmount, _ isProxyHealthy: @escaping @Sendable () -> Bool,
        _ report: @escaping @Sendable (ServiceHealthReport) -> Void
    ) {
        var limits = ConnectionLimits()
        limits.connections = 1024
        listener = Listener(loop: loop, limits: limits)
        pool = .makeBoxSendingValue(ConnectionPool(limit: limits.connections), eventLoop: loop)
        self.retryInterval = retryInterval
        self.isProxyHealthy = isProxyHealthy
        self.report = report
    }

    var listening: Int { entries.values.count { $0.channel != nil } }

    var failed: Int { entries.values.count { $0.failure != nil } }

    func reconcile(
        _ wanted: [UInt16: ServiceHealth], _ addresses: ServiceHealthAddresses, _ box: NIOLoopBoundBox<ServiceListeners>
    ) {
        let candidates: [IPAddress] =
            switch addresses {
            case .all: [IPAddress(v4: 0), IPAddress(v6: 0)]
            case .only(let addresses): addresses
            }
        var places: Set<Place> = []
        for (port, service) in wanted where port != 0 {
            for address in candidates where service.localEndpoints[address.family] != nil {
                places.insert(Place(port: port, address: address))
            }
        }
        for (place, entry) in entries where !places.contains(place) {
            entries[place] = nil
            entry.channel?.close(promise: nil)
            pool.value.close(tag: entry.tag)
        }
        // Whose failure was told is another Service's failure now.
        for (place, entry) in entries where entry.failure != nil {
            if services[place.port]?.service != wanted[place.port]?.service { entries[place] = nil }
        }
        services = wanted
        for place in places where entries[place] == nil || entries[place]?.failure != nil { open(place, box) }
    }

    private func open(_ place: Place, _ box: NIOLoopBoundBox<ServiceListeners>) {
        let tag = nextTag
        nextTag += 1
        let told = entries[place]?.failure
        entries[place] = Entry(tag: tag)
        let bound = listener.bind(
            place.address, port: place.port, bothFamilies: false, pool: pool, tag: tag,
            .atOnce { _ in box.value.answer(place) })
        bound.assumeIsolated().whenComplete { result in
            // It may not be wanted any more.
            guard self.entries[place]?.tag == tag else {
                if case .success(let channel) = result { channel.close(promise: nil) }
                return
            }
            switch result {
            case .success(let channel): self.opened(place, channel, told)
            case .failure(let error): self.failed(place, error, told, box)
            }
        }
    }

    private func opened(_ place: Place, _ channel: any Channel, _ told: BindFailure?) {
        entries[place]?.channel = channel
        if let told, let service = services[place.port]?.service {
            report(ServiceHealthReport(service: service, address: told.address, failure: nil))
        }
    }

    private func failed(
        _ place: Place, _ error: any Error, _ told: BindFailure?, _ box: NIOLoopBoundBox<ServiceListeners>
    ) {
        let failure = BindFailure(ListenAddress(address: place.address, port: place.port), error)
        entries[place]?.failure = failure
        // On a node without IPv6 nobody can ask by IPv6.
        if failure != told, !failure.isMissingFamily, let service = services[place.port]?.service {
            report(ServiceHealthReport(service: service, address: failure.address, failure: failure))
        }
        guard retry == nil else { return }
        retry = listener.loop.assumeIsolated().scheduleTask(in: retryInterval) {
            self.retry = nil
            for (place, entry) in self.entries where entry.failure != nil { self.open(place, box) }
        }
    }

    private func answer(_ place: Place) -> HTTPAnswer {
        guard let service = services[place.port] else { return .notFound }
        return service.answer(place.address.family, isProxyHealthy: isProxyHealthy())
    }
}
