import NetTypes
import Resolver
import ServiceModel
import TestSupport

let here = "node-1"
let web = ObjectName(namespace: "default", name: "web")
let context = NodeContext(
    nodeName: here, zone: "a",
    nodePortAddresses: ["192.0.2.10", "2001:db8:1::10", "127.0.0.1", "::1"].compactMap { IPAddress($0) },
    nodeAddresses: [IPAddress("192.0.2.10")].compactMap { $0 })

let resolver = Resolver()

/// An endpoint in short: number, L(ocal) or R(emote), state, hints. `3Rt@a,b#node-1` is 198.18.0.3 on another node,
/// serving while terminating, hinted for zones a and b and for node-1.
///
/// States: none ready, `n` not ready but serving, `u` not ready and not serving, `t` terminating and serving,
/// `d` terminating and not serving, `p` published although not ready.
func endpoint(_ code: String, v6: Bool = false) -> Endpoint {
    let parts = code.split(separator: "#", omittingEmptySubsequences: false)
    let main = parts[0].split(separator: "@", omittingEmptySubsequences: false)
    let number = main[0].prefix { $0.isNumber }
    let rest = main[0].dropFirst(number.count)
    let conditions: EndpointConditions =
        switch rest.dropFirst() {
        case "": EndpointConditions(ready: true, serving: true, terminating: false)
        case "n": EndpointConditions(ready: false, serving: true, terminating: false)
        case "u": EndpointConditions(ready: false, serving: false, terminating: false)
        case "t": EndpointConditions(ready: false, serving: true, terminating: true)
        case "d": EndpointConditions(ready: false, serving: false, terminating: true)
        case "p": EndpointConditions(ready: true, serving: false, terminating: false)
        default: fatalError("no such state: \(code)")
        }
    func names(_ list: ArraySlice<Substring>) -> [String] {
        list.flatMap { $0.split(separator: ",") }.map(String.init)
    }
    return Endpoint(
        addresses: [v6 ? "2001:db8::\(number)" : "198.18.0.\(number)"], conditions: conditions,
        nodeName: rest.hasPrefix("L") ? here : "node-2", forZones: names(main.dropFirst()),
        forNodes: names(parts.dropFirst()))
}

func slice(
    _ codes: [String], name: String = "web-1", v6: Bool = false, ports: [EndpointPort] = [EndpointPort(port: 8080)]
) -> EndpointSlice {
    EndpointSlice(
        name: ObjectName(namespace: "default", name: name), serviceName: "web", addressType: v6 ? "IPv6" : "IPv4",
        endpoints: codes.map { endpoint($0, v6: v6) }, ports: ports)
}

/// A Service with every kind of IPv4 frontend unless the caller takes some away.
func fullService() -> Service {
    Service(
        name: web, type: .loadBalancer, clusterIP: "203.0.113.1", clusterIPs: ["203.0.113.1"], ipFamilies: ["IPv4"],
        externalIPs: ["203.0.113.2"], ports: [ServicePort(port: 80, nodePort: 30080)],
        loadBalancerIngress: [LoadBalancerIngress(ip: "203.0.113.3")])
}

func plainService() -> Service {
    Service(
        name: web, clusterIP: "203.0.113.1", clusterIPs: ["203.0.113.1"], ipFamilies: ["IPv4"],
        ports: [ServicePort(port: 80)])
}

func key(_ text: String, _ port: UInt16, _ transport: TransportProtocol = .tcp) -> TransportEndpoint {
    guard let address = IPAddress(text) else { fatalError("no address: \(text)") }
    return TransportEndpoint(address, port, transport)
}

extension ResolvedService {
    func frontend(_ text: String, _ port: UInt16, _ transport: TransportProtocol = .tcp) -> Frontend? {
        frontends.first { $0.key == key(text, port, transport) }
    }

    func frontend(_ kind: FrontendKind) -> Frontend? { frontends.first { $0.kind == kind } }

    var problemTexts: [String] { problems.map { "\($0.path): \($0.message)" } }
}

extension ScopeAnswer {
    /// Backends as `1 2`, each the last number of its address, or the refusal.
    var short: String {
        switch self {
        case .refused(let refusal): "\(refusal)"
        case .backends(let set):
            set.members.map { member in
                let parts = "\(member.endpoint.address)".split { ".:".contains($0) }
                return String(parts.suffix(1).joined())
            }.joined(separator: " ")
        }
    }
}

extension SeededGenerator {
    mutating func pick<T>(_ first: T, _ others: T...) -> T {
        let index = Int.random(in: 0...others.count, using: &self)
        return index == 0 ? first : others[index - 1]
    }
}
