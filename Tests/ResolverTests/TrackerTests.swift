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
                    ports: [ServicePort(port: Int.random(in: 80...81, using: &random), nodePort: 30080)])
                object.clusterIPs = [object.clusterIP]
                object.ipFamilies = ["IPv4"]
                let codes = (1...4).filter { _ in Bool.random(using: &random) }.map { "\($0)L" }
                service = full.resolve(
                    object,
                    slices: [
                        EndpointSlice(
                            name: name, serviceName: name.name, addressType: "IPv4",
                            endpoints: codes.map { endpoint($0) }, ports: [EndpointPort(port: 8080)])
                    ], context: context)
            }
            var changes = DesiredChanges()
            tracker.update(name, service, &changes)
            services[name] = service
            for (key, frontend) in changes.frontends { known[key] = frontend }
            for (endpoint, difference) in changes.serving {
                let count = serving[endpoint, default: 0] + difference
                serving[endpoint] = count == 0 ? nil : count
            }
            let whole = full.merge(services.values)
            #expect(tracker.state == whole, "seed \(seed)")
            #expect(known == whole.frontends, "seed \(seed)")
            #expect(Set(serving.keys) == whole.backends, "seed \(seed)")
            #expect(tracker.frontendCount == whole.frontends.count)
        }
    }
}
