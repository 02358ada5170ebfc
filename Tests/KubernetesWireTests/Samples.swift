import KubernetesWire
import ServiceModel
import TestSupport

/// JSON to be written.
indirect enum JSON {
    case object([(String, JSON)])
    case list([JSON])
    case string(String)
    case number(Int)
    case boolean(Bool)

    /// As text, with the keys of every object in a random order and random white space if a generator is given.
    func text(_ random: inout SeededGenerator) -> String {
        let space = ["", "", "", " ", "\t ", "\r"][random.below(6)]
        switch self {
        case .object(let fields):
            let written = fields.shuffled(using: &random).map { "\(Self.quoted($0)):\(space)\($1.text(&random))" }
            return "{\(space)\(written.joined(separator: ",\(space)"))}"
        case .list(let elements):
            return "[\(space)\(elements.map { $0.text(&random) }.joined(separator: "\(space),"))\(space)]"
        case .string(let text): return Self.quoted(text)
        case .number(let number): return "\(number)"
        case .boolean(let value): return "\(value)"
        }
    }

    /// With everything beyond ASCII as `\u` escapes for every second text, by its length.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for unit in text.unicodeScalars {
            switch unit {
            case "\"", "\\": result += "\\\(unit)"
            case "\n": result += "\\n"
            case _ where unit.value < 0x20 || (unit.value > 0x7E && text.utf8.count.isMultiple(of: 2)):
                for half in String(unit).utf16 {
                    let digits = String(half, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            default: result.unicodeScalars.append(unit)
            }
        }
        return result + "\""
    }
}

/// A protobuf message to be written.
indirect enum Protobuf {
    case message([(Int, Protobuf)])
    case text(String)
    case number(Int)
    case bytes([UInt8])

    var encoded: [UInt8] {
        switch self {
        case .message(let fields):
            fields.flatMap { field, value in
                if case .number = value { return Self.varint(UInt64(field << 3)) + value.encoded }
                let content = value.encoded
                return Self.varint(UInt64(field << 3 | 2)) + Self.varint(UInt64(content.count)) + content
            }
        case .text(let text): Array(text.utf8)
        case .number(let number): Self.varint(UInt64(bitPattern: Int64(number)))
        case .bytes(let bytes): bytes
        }
    }

    static func varint(_ number: UInt64) -> [UInt8] {
        var rest = number
        var bytes: [UInt8] = []
        while rest > 0x7F {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }

    static func map(_ entries: [(String, String)]) -> [Protobuf] {
        entries.map { .message([(1, .text($0)), (2, .text($1))]) }
    }
}

extension [(Int, Protobuf)] {
    mutating func add(_ field: Int, _ texts: [String]) { append(contentsOf: texts.map { (field, .text($0)) }) }
    mutating func add(_ field: Int, _ text: String?) { if let text { append((field, .text(text))) } }
    mutating func add(_ field: Int, _ values: [Protobuf]) { append(contentsOf: values.map { (field, $0) }) }
}

extension [(String, JSON)] {
    mutating func add(_ key: String, _ texts: [String]) {
        if !texts.isEmpty { append((key, .list(texts.map(JSON.string)))) }
    }
    mutating func add(_ key: String, _ text: String?) { if let text { append((key, .string(text))) } }
}

/// An object with its two spellings.
struct Sample {
    let received: ReceivedObject
    let json: [(String, JSON)]
    let protobuf: [(Int, Protobuf)]
}

/// Makes objects of which every field that is read may be there or not, among fields that are not read.
struct SampleGenerator {
    var random: SeededGenerator

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    private static let names = [
        "a", "web", "ip-10-0-0-1.eu-west-1.compute.internal", "ip-10-0-0-2.eu-west-1.compute.internal",
        "a\"quoted\\name", "grün-mit-umlaut-und-mehr", "🚢", "tab\tand\u{1}control", "exactly15bytes!",
        "exactly16bytes!!",
    ]

    mutating func name() -> String { Self.names[random.below(Self.names.count)] }
    mutating func often() -> Bool { random.below(4) > 0 }
    mutating func maybe() -> String? { often() ? name() : nil }
    mutating func some() -> [String] { (0..<random.below(4)).map { _ in name() } }

    mutating func sample(_ kind: ObjectKind) -> Sample {
        switch kind {
        case .service: service()
        case .endpointSlice: slice()
        case .node: node()
        case .serviceCIDR: serviceCIDR()
        }
    }

    /// What every object carries; the labels and annotations that were chosen are answered too.
    private mutating func metadata(
        _ name: ObjectName, labels: [(String, String?)], annotations: [(String, String?)] = [], uid: String? = nil,
        created: Int64? = nil, isBeingDeleted: Bool = false
    ) -> (version: String, json: JSON, protobuf: Protobuf) {
        let version = "\(random.below(1 << 40))"
        let present = { (pairs: [(String, String?)]) in
            (pairs + [("app.kubernetes.io/name", "x"), ("", "empty key")]).compactMap { pair in
                pair.1.map { (pair.0, $0) }
            }
        }
        let object = { (pairs: [(String, String)]) in JSON.object(pairs.map { ($0, .string($1)) }) }
        var json: [(String, JSON)] = [
            ("name", .string(name.name)), ("resourceVersion", .string(version)),
            ("labels", object(present(labels))), ("annotations", object(present(annotations))),
            ("generation", .number(3)),
            (
                "managedFields",
                .list([
                    .object([
                        ("manager", .string("x")),
                        ("fieldsV1", .object([("f:metadata", .object([(#"k:{"uid":"a"}]"#, .object([]))]))])),
                    ])
                ])
            ),
        ]
        var protobuf: [(Int, Protobuf)] = [
            (1, .text(name.name)), (6, .text(version)), (7, .number(3)),
            (17, .message([(1, .text("x")), (7, .message([(1, .text("{}"))]))])), (99, .number(1)),
        ]
        if !name.namespace.isEmpty {
            json.add("namespace", name.namespace)
            protobuf.add(3, name.namespace)
        }
        json.add("uid", uid)
        protobuf.add(5, uid)
        protobuf.add(11, Protobuf.map(present(labels)))
        protobuf.add(12, Protobuf.map(present(annotations)))
        if let created {
            json.add("creationTimestamp", "2026-01-31T12:00:00Z")
            protobuf.append((8, .message([(1, .number(Int(created))), (2, .number(0))])))
        } else {
            protobuf.append((8, .message([])))
        }
        if isBeingDeleted {
            json.add("deletionTimestamp", "2026-01-31T12:00:01Z")
            protobuf.append((9, .message([(1, .number(1_769_860_801)), (2, .number(0))])))
        }
        return (version, .object(json), .message(protobuf.shuffled(using: &random)))
    }

    private mutating func service() -> Sample {
        var value = Service(name: ObjectName(namespace: name(), name: name()), uid: maybe())
        value.creationTimestamp = often() ? 1_769_860_800 : nil
        value.proxyName = random.below(4) == 0 ? ["", "other"][random.below(2)] : nil
        value.forwarding = maybe()
        let meta = metadata(
            value.name, labels: [("service.kubernetes.io/service-proxy-name", value.proxyName)],
            annotations: [(Service.forwardingAnnotation, value.forwarding)], uid: value.uid,
            created: value.creationTimestamp)
        value.type = ServiceType(rawValue: ["ClusterIP", "NodePort", "LoadBalancer", "Later"][random.below(4)])
        value.clusterIPs = ["198.18.7.9", "2001:db8::1"].prefix(1 + random.below(2)).map { $0 }
        value.clusterIP = value.clusterIPs[0]
        value.ipFamilies = ["IPv4", "IPv6"].prefix(value.clusterIPs.count).map { $0 }
        value.externalIPs = some()
        value.loadBalancerSourceRanges = some()
        value.externalTrafficPolicy = often() ? .local : .cluster
        value.internalTrafficPolicy = often() ? .local : .cluster
        value.healthCheckNodePort = random.below(70_000)
        if often() { value.sessionAffinity = .clientIP(timeoutSeconds: random.below(100_000)) }
        for _ in 0..<random.below(5) {
            value.ports.append(
                ServicePort(
                    name: name(), protocolName: ["TCP", "UDP", "SCTP", "QUIC"][random.below(4)],
                    port: random.below(70_000), nodePort: random.below(70_000)))
        }
        for _ in 0..<random.below(3) {
            value.loadBalancerIngress.append(
                LoadBalancerIngress(ip: maybe(), ipMode: often() ? "Proxy" : nil, hostname: maybe()))
        }
        var spec: [(String, JSON)] = [
            ("type", .string(value.type.rawValue)), ("clusterIP", .string(value.clusterIP)),
            ("selector", .object([("app", .string("x"))])), ("healthCheckNodePort", .number(value.healthCheckNodePort)),
            ("externalTrafficPolicy", .string(value.externalTrafficPolicy.rawValue)),
            ("internalTrafficPolicy", .string(value.internalTrafficPolicy.rawValue)),
            ("publishNotReadyAddresses", .boolean(true)),
        ]
        var message: [(Int, Protobuf)] = [
            (2, .message([(1, .text("app")), (2, .text("x"))])), (3, .text(value.clusterIP)),
            (4, .text(value.type.rawValue)), (8, .text("")), (10, .text("")),
            (11, .text(value.externalTrafficPolicy.rawValue)), (12, .number(value.healthCheckNodePort)),
            (13, .number(1)), (22, .text(value.internalTrafficPolicy.rawValue)),
        ]
        spec.add("clusterIPs", value.clusterIPs)
        message.add(18, value.clusterIPs)
        spec.add("ipFamilies", value.ipFamilies)
        message.add(19, value.ipFamilies)
        spec.add("externalIPs", value.externalIPs)
        message.add(5, value.externalIPs)
        spec.add("loadBalancerSourceRanges", value.loadBalancerSourceRanges)
        message.add(9, value.loadBalancerSourceRanges)
        if case .clientIP(let seconds) = value.sessionAffinity {
            spec.add("sessionAffinity", "ClientIP")
            message.add(7, "ClientIP")
            spec.append(
                ("sessionAffinityConfig", .object([("clientIP", .object([("timeoutSeconds", .number(seconds))]))])))
            message.append((14, .message([(1, .message([(1, .number(seconds))]))])))
        }
        spec.append(
            (
                "ports",
                .list(
                    value.ports.map { port in
                        .object([
                            ("name", .string(port.name)), ("protocol", .string(port.protocolName)),
                            ("port", .number(port.port)), ("nodePort", .number(port.nodePort)),
                            ("targetPort", .string("http")),
                        ])
                    })
            ))
        message.add(
            1,
            value.ports.map { port in
                .message([
                    (1, .text(port.name)), (2, .text(port.protocolName)), (3, .number(port.port)),
                    (4, .message([(1, .number(1)), (2, .number(0)), (3, .text("http"))])), (5, .number(port.nodePort)),
                ])
            })
        let ingressJSON = value.loadBalancerIngress.map { ingress in
            var fields: [(String, JSON)] = []
            fields.add("ip", ingress.ip)
            fields.add("ipMode", ingress.ipMode)
            fields.add("hostname", ingress.hostname)
            return JSON.object(fields)
        }
        let ingress = value.loadBalancerIngress.map { ingress in
            var fields: [(Int, Protobuf)] = [(1, .text(ingress.ip ?? "")), (2, .text(ingress.hostname ?? ""))]
            fields.add(3, ingress.ipMode)
            return (1, Protobuf.message(fields))
        }
        return Sample(
            received: ReceivedObject(object: .service(value), resourceVersion: ResourceVersion(meta.version)),
            json: [
                ("metadata", meta.json), ("spec", .object(spec)),
                ("status", .object([("loadBalancer", .object([("ingress", .list(ingressJSON))]))])),
            ],
            protobuf: [
                (1, meta.protobuf), (2, .message(message)), (3, .message([(1, .message(ingress))])),
            ])
    }

    private mutating func slice() -> Sample {
        var value = EndpointSlice(
            name: ObjectName(namespace: name(), name: name()), serviceName: maybe(), isHeadless: !often(),
            addressType: ["IPv4", "IPv6", "FQDN", "Later"][random.below(4)])
        let hasTime = often()
        value.lastChangeTriggerTime = hasTime ? 1_769_860_800_250_000_000 : nil
        let meta = metadata(
            value.name,
            labels: [
                ("kubernetes.io/service-name", value.serviceName),
                ("service.kubernetes.io/headless", value.isHeadless ? "" : nil),
            ],
            annotations: [
                (EndpointSlice.lastChangeTriggerTimeAnnotation, hasTime ? "2026-01-31T12:00:00.25Z" : nil)
            ])
        var endpoints: [JSON] = []
        var messages: [Protobuf] = []
        for _ in 0..<random.below(6) {
            var endpoint = Endpoint(
                addresses: some(), nodeName: maybe(), zone: maybe(), forZones: some(), forNodes: some())
            var conditions: [(String, JSON)] = []
            var conditionFields: [(Int, Protobuf)] = []
            func condition(_ key: String, _ field: Int, _ value: Bool?) {
                guard let value else { return }
                conditions.append((key, .boolean(value)))
                conditionFields.append((field, .number(value ? 1 : 0)))
            }
            let states: [Bool?] = [nil, true, false]
            endpoint.conditions.ready = states[random.below(3)]
            endpoint.conditions.serving = states[random.below(3)]
            endpoint.conditions.terminating = states[random.below(3)]
            condition("ready", 1, endpoint.conditions.ready)
            condition("serving", 2, endpoint.conditions.serving)
            condition("terminating", 3, endpoint.conditions.terminating)
            var hints: [(Int, Protobuf)] = []
            hints.add(1, endpoint.forZones.map { .message([(1, .text($0))]) })
            hints.add(2, endpoint.forNodes.map { .message([(1, .text($0))]) })
            let named = { (names: [String]) in JSON.list(names.map { .object([("name", .string($0))]) }) }
            var json: [(String, JSON)] = [
                ("conditions", .object(conditions)), ("targetRef", .object([("kind", .string("Pod"))])),
                ("hints", .object([("forZones", named(endpoint.forZones)), ("forNodes", named(endpoint.forNodes))])),
            ]
            var message: [(Int, Protobuf)] = [
                (2, .message(conditionFields)), (4, .message([(1, .text("Pod"))])), (8, .message(hints)),
            ]
            json.add("addresses", endpoint.addresses)
            message.add(1, endpoint.addresses)
            json.add("nodeName", endpoint.nodeName)
            message.add(6, endpoint.nodeName)
            json.add("zone", endpoint.zone)
            message.add(7, endpoint.zone)
            value.endpoints.append(endpoint)
            endpoints.append(.object(json))
            messages.append(.message(message))
        }
        var ports: [JSON] = []
        var portMessages: [Protobuf] = []
        for _ in 0..<random.below(3) {
            let port = EndpointPort(
                name: often() ? name() : "", protocolName: often() ? "UDP" : "TCP",
                port: often() ? random.below(70_000) : nil)
            value.ports.append(port)
            var json: [(String, JSON)] = [("name", .string(port.name ?? "")), ("appProtocol", .string("h2c"))]
            var message: [(Int, Protobuf)] = [(1, .text(port.name ?? "")), (4, .text("h2c"))]
            if port.protocolName != "TCP" || often() {
                json.add("protocol", port.protocolName)
                message.add(2, port.protocolName)
            }
            if let number = port.port {
                json.append(("port", .number(number)))
                message.append((3, .number(number)))
            }
            ports.append(.object(json))
            portMessages.append(.message(message))
        }
        var protobuf: [(Int, Protobuf)] = [(4, .text(value.addressType))]
        protobuf.add(2, messages)
        protobuf.add(3, portMessages)
        return Sample(
            received: ReceivedObject(object: .endpointSlice(value), resourceVersion: ResourceVersion(meta.version)),
            json: [
                ("metadata", meta.json), ("addressType", .string(value.addressType)), ("endpoints", .list(endpoints)),
                ("ports", .list(ports)),
            ],
            protobuf: [(1, meta.protobuf)] + protobuf)
    }

    private mutating func node() -> Sample {
        var value = Node(
            name: name(), internalIPs: some(), externalIPs: some(), zone: maybe(), podCIDRs: some(), taints: some())
        value.isBeingDeleted = !often()
        let meta = metadata(
            ObjectName(namespace: "", name: value.name), labels: [("topology.kubernetes.io/zone", value.zone)],
            isBeingDeleted: value.isBeingDeleted)
        let addresses =
            value.internalIPs.map { ("InternalIP", $0) } + [("Hostname", "x")]
            + value.externalIPs.map { ("ExternalIP", $0) }
        var spec: [(String, JSON)] = [
            ("taints", .list(value.taints.map { .object([("key", .string($0)), ("effect", .string("NoSchedule"))]) }))
        ]
        var message: [(Int, Protobuf)] = [(3, .text("provider")), (4, .number(0))]
        message.add(5, value.taints.map { .message([(1, .text($0)), (3, .text("NoSchedule"))]) })
        spec.add("podCIDRs", value.podCIDRs)
        message.add(7, value.podCIDRs)
        spec.add("podCIDR", value.podCIDRs.first)
        message.add(1, value.podCIDRs.first ?? "")
        let status = JSON.object([
            ("addresses", .list(addresses.map { .object([("type", .string($0)), ("address", .string($1))]) })),
            ("images", .list([])),
        ])
        var statusMessage: [(Int, Protobuf)] = [(3, .text("Running"))]
        statusMessage.add(5, addresses.map { .message([(1, .text($0)), (2, .text($1))]) })
        return Sample(
            received: ReceivedObject(object: .node(value), resourceVersion: ResourceVersion(meta.version)),
            json: [("metadata", meta.json), ("spec", .object(spec)), ("status", status)],
            protobuf: [(1, meta.protobuf), (2, .message(message)), (3, .message(statusMessage))])
    }

    private mutating func serviceCIDR() -> Sample {
        let value = ServiceCIDR(name: name(), cidrs: some())
        let meta = metadata(ObjectName(namespace: "", name: value.name), labels: [])
        return Sample(
            received: ReceivedObject(object: .serviceCIDR(value), resourceVersion: ResourceVersion(meta.version)),
            json: [
                ("metadata", meta.json), ("spec", .object([("cidrs", .list(value.cidrs.map(JSON.string)))])),
                ("status", .object([("conditions", .list([]))])),
            ],
            protobuf: [
                (1, meta.protobuf), (2, .message(value.cidrs.map { (1, .text($0)) })), (3, .message([])),
            ])
    }
}

extension SampleGenerator {
    /// A list of the samples as the API server writes it, but with what may stand in any order in any order.
    mutating func list(_ samples: [Sample], _ kind: ObjectKind, _ format: WireFormat, continuing: String) -> [UInt8] {
        switch format {
        case .json:
            let list = JSON.object([
                ("kind", .string("\(kind.rawValue)List")), ("apiVersion", .string("v1")),
                ("metadata", .object([("resourceVersion", .string("77")), ("continue", .string(continuing))])),
                ("items", .list(samples.map { .object($0.json) })), ("later", .object([("items", .list([]))])),
            ])
            return Array(list.text(&random).utf8)
        case .protobuf:
            let metadata = (1, Protobuf.message([(2, .text("77")), (3, .text(continuing)), (4, .number(9))]))
            var fields = samples.map { (2, Protobuf.message($0.protobuf)) }
            fields.insert(metadata, at: often() ? 0 : fields.count)
            fields.insert((9, .text("later")), at: random.below(fields.count))
            return Self.envelope("\(kind.rawValue)List", .message(fields))
        }
    }

    /// An event of a watch.
    mutating func event(_ type: String, _ sample: Sample, _ kind: ObjectKind, _ format: WireFormat) -> [UInt8] {
        switch format {
        case .json:
            let object = JSON.object(sample.json + [("kind", .string(kind.rawValue)), ("apiVersion", .string("v1"))])
            let event = JSON.object([("type", .string(type)), ("object", object)])
            return Array((event.text(&random) + "\n").utf8)
        case .protobuf:
            return Self.frame(type, Self.envelope(kind.rawValue, .message(sample.protobuf)))
        }
    }

    static func frame(_ type: String, _ object: [UInt8]) -> [UInt8] {
        let event = Protobuf.message([(1, .text(type)), (2, .message([(1, .bytes(object))]))]).encoded
        return (0..<4).map { UInt8(truncatingIfNeeded: event.count >> (24 - 8 * $0)) } + event
    }

    static func envelope(_ kind: String, _ content: Protobuf) -> [UInt8] {
        Array("k8s\0".utf8)
            + Protobuf.message([
                (1, .message([(1, .text("v1")), (2, .text(kind))])), (2, content), (3, .text("")), (4, .text("")),
            ]).encoded
    }
}
