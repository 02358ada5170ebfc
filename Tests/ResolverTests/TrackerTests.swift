import NetTypes
import Resolver
import ServiceModel
import TestSupport
import Testing

/// The desired state kept up Service by Service, against the same computed in one go.
@Suite struct TrackerTests {
    @Test(arguments: UInt64(1)...30)
    func updatesAddUpToTheWhole(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var tracker = DesiredTracker()
        var services: [ObjectName: ResolvedService] = [:]
        var known: [TransportEndpoint: Frontend] = [:]
        var serving: [TransportEndpoint: Int] = [:]
        for _ in 0..<60 {
            let name = ObjectName(namespace: "default", name: "s\(Int.random(in: 0..<6, using: &random))")
            var service: ResolvedService?
            if Int.random(in: 0..<4, using: &random) > 0 {
                // Few addresses, so that many Services claim the same.
                var object = Service(
                    name: name,
                    creationTimestamp: Bool.random(using: &random) ? Int64.random(in: 1...3, using: &random) : nil,
                    type: .nodePort, clusterIP: "203.0.113.\(Int.random(in: 1...3, using: &random))",
                    externalIPs: ["203.0.113.\(Int.random(in: 1...9, using: &random))"],
                    ports: [
                        ServicePort(port: Int.random(in: 80...81, using: &random), nodePort: 30080),
                        ServicePort(name: "u", protocolName: "UDP", port: 53),
                    ])
                if random.below(4) == 0 { object.ports.removeLast() }
                object.clusterIPs = [object.clusterIP]
                object.ipFamilies = ["IPv4"]
                let codes = (1...4).filter { _ in Bool.random(using: &random) }.map { "\($0)L" }
                service = resolver.resolve(
                    object,
                    slices: [
                        EndpointSlice(
                            name: name, serviceName: name.name, addressType: "IPv4",
                            endpoints: codes.map { endpoint($0) },
                            ports: [
                                EndpointPort(port: 8080), EndpointPort(name: "u", protocolName: "UDP", port: 53),
                            ])
                    ], context: context)
            }
            let before = tracker.state.serving
            var changes = DesiredChanges()
            tracker.update(name, service, &changes)
            services[name] = service
            for (key, frontend) in changes.frontends { known[key] = frontend }
            for (endpoint, difference) in changes.serving {
                let count = serving[endpoint, default: 0] + difference
                serving[endpoint] = count == 0 ? nil : count
            }
            let whole = resolver.merge(services.values)
            #expect(tracker.state == whole, "seed \(seed)")
            #expect(known == whole.frontends, "seed \(seed)")
            #expect(Set(serving.keys) == whole.backends, "seed \(seed)")
            #expect(changes.ended == udp(before).subtracting(udp(whole.serving)), "seed \(seed)")
            #expect(DesiredChanges(all: whole).serving == serving, "seed \(seed)")
            #expect(tracker.frontendCount == whole.frontends.count)
        }
    }

    private func udp(_ serving: [ServicePortName: Set<TransportEndpoint>]) -> Set<ServingEndpoint> {
        Set(
            serving.filter { $0.key.transport == .udp }.flatMap { port, endpoints in
                endpoints.map { ServingEndpoint(port: port, endpoint: $0) }
            })
    }

    @Test func whatComesBackBeforeItIsPlannedHasNotEnded() {
        let port = ServicePortName(service: web, port: "", transport: .udp)
        var served = ResolvedService(name: web)
        served.serving = [port: [key("198.18.0.1", 53, .udp)]]
        var tracker = DesiredTracker()
        var changes = DesiredChanges()
        tracker.update(web, served, &changes)
        changes = DesiredChanges()
        tracker.update(web, ResolvedService(name: web), &changes)
        #expect(changes.ended == [ServingEndpoint(port: port, endpoint: key("198.18.0.1", 53, .udp))])
        tracker.update(web, served, &changes)
        #expect(changes.isEmpty)
    }
}
