internal import NetTypes
internal import ServiceModel

extension Service {
    init(_ object: Cursor) throws(ManifestProblem) {
        let spec = try object.required("spec")
        self.init(
            name: try object.objectName(), uid: try object.required("metadata").field("uid")?.string(),
            creationTimestamp: try object.required("metadata").field("creationTimestamp")?.timestamp(),
            proxyName: try object.label("service.kubernetes.io/service-proxy-name"),
            forwarding: try object.annotation(Service.forwardingAnnotation))
        if let text = try spec.field("type")?.oneOf("ClusterIP", "NodePort", "LoadBalancer", "ExternalName") {
            type = ServiceType(rawValue: text)
        }
        try readAddresses(spec)
        for element in try spec.elements("ports") { ports.append(try ServicePort(element)) }
        externalTrafficPolicy = try spec.policy("externalTrafficPolicy")
        internalTrafficPolicy = try spec.policy("internalTrafficPolicy")
        sessionAffinity = try SessionAffinity(spec)
        for element in try spec.elements("loadBalancerSourceRanges") {
            loadBalancerSourceRanges.append(try element.prefixText())
        }
        healthCheckNodePort = try spec.field("healthCheckNodePort")?.portOrNone() ?? 0
        for element in try object.field("status")?.field("loadBalancer")?.elements("ingress") ?? [] {
            loadBalancerIngress.append(
                LoadBalancerIngress(
                    ip: try element.field("ip")?.addressText(),
                    ipMode: try element.field("ipMode")?.oneOf("VIP", "Proxy"),
                    hostname: try element.field("hostname")?.string()))
        }
    }

    /// `clusterIP` is the first of `clusterIPs`, and `ipFamilies` are their families: whichever is left out follows
    /// from the others.
    private mutating func readAddresses(_ spec: Cursor) throws(ManifestProblem) {
        clusterIP = try spec.field("clusterIP")?.clusterAddress() ?? ""
        for element in try spec.elements("clusterIPs") { clusterIPs.append(try element.clusterAddress()) }
        if clusterIPs.isEmpty, !clusterIP.isEmpty { clusterIPs = [clusterIP] }
        if clusterIP.isEmpty { clusterIP = clusterIPs.first ?? "" }
        // Spellings may differ: "198.018.0.1" is 198.18.0.1.
        let isFirst =
            clusterIPs.first ?? "" == clusterIP || IPAddress(clusterIP).map { IPAddress(clusterIPs[0]) == $0 } == true
        guard isFirst else {
            throw try spec.required("clusterIPs").problem("the first must be clusterIP, \(clusterIP)")
        }
        for element in try spec.elements("ipFamilies") { ipFamilies.append(try element.oneOf("IPv4", "IPv6")) }
        if ipFamilies.isEmpty {
            ipFamilies = clusterIPs.compactMap(IPAddress.init(_:)).map { $0.family == .v4 ? "IPv4" : "IPv6" }
        }
        for element in try spec.elements("externalIPs") { externalIPs.append(try element.addressText()) }
    }
}

extension Cursor {
    fileprivate func clusterAddress() throws(ManifestProblem) -> String {
        let text = try string()
        return text == "None" || text.isEmpty ? text : try addressText()
    }
}

extension ServicePort {
    fileprivate init(_ port: Cursor) throws(ManifestProblem) {
        self.init(
            name: try port.field("name")?.string() ?? "", protocolName: try port.protocolName("protocol"),
            port: try port.required("port").port(), nodePort: try port.field("nodePort")?.portOrNone() ?? 0)
    }
}

extension SessionAffinity {
    fileprivate init(_ spec: Cursor) throws(ManifestProblem) {
        guard try spec.field("sessionAffinity")?.oneOf("None", "ClientIP") == "ClientIP" else {
            self = .none
            return
        }
        let timeout = try spec.field("sessionAffinityConfig")?.field("clientIP")?.field("timeoutSeconds")
        let seconds = try timeout?.integer() ?? Self.defaultTimeoutSeconds
        guard (1...86_400).contains(seconds) else {
            throw (timeout ?? spec).problem("\(seconds): must be 1-86400")
        }
        self = .clientIP(timeoutSeconds: seconds)
    }
}
