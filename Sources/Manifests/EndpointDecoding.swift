internal import NetTypes
internal import ServiceModel

extension EndpointSlice {
    init(_ object: Cursor) throws(ManifestProblem) {
        let type = try object.required("addressType").oneOf("IPv4", "IPv6", "FQDN")
        self.init(
            name: try object.objectName(), serviceName: try object.label("kubernetes.io/service-name"),
            isHeadless: try object.label("service.kubernetes.io/headless") != nil, addressType: type)
        // For measuring alone: the API server takes any text here, and a time that is none is no reason to lose a slice.
        if let text = try object.annotation(EndpointSlice.lastChangeTriggerTimeAnnotation) {
            lastChangeTriggerTime = RFC3339Time(text)?.nanosecondsSince1970
        }
        for element in try object.elements("endpoints") { endpoints.append(try Endpoint(element, addressType: type)) }
        for element in try object.elements("ports") {
            ports.append(
                EndpointPort(
                    name: try element.field("name")?.string() ?? "",
                    protocolName: try element.protocolName("protocol"), port: try element.field("port")?.port()))
        }
    }
}

extension Endpoint {
    fileprivate init(_ endpoint: Cursor, addressType: String) throws(ManifestProblem) {
        self.init(addresses: [])
        for element in try endpoint.required("addresses").elements() {
            switch addressType {
            case "IPv4": addresses.append(try element.addressText(.v4))
            case "IPv6": addresses.append(try element.addressText(.v6))
            default: addresses.append(try element.string())
            }
        }
        guard !addresses.isEmpty else {
            throw try endpoint.required("addresses").problem("empty: must have an address")
        }
        if let written = try endpoint.field("conditions") {
            conditions = EndpointConditions(
                ready: try written.field("ready")?.boolean(), serving: try written.field("serving")?.boolean(),
                terminating: try written.field("terminating")?.boolean())
        }
        nodeName = try endpoint.field("nodeName")?.string()
        zone = try endpoint.field("zone")?.string()
        guard let hints = try endpoint.field("hints") else { return }
        for element in try hints.elements("forZones") { forZones.append(try element.required("name").string()) }
        for element in try hints.elements("forNodes") { forNodes.append(try element.required("name").string()) }
    }
}

extension Node {
    init(_ object: Cursor) throws(ManifestProblem) {
        self.init(
            name: try object.required("metadata").required("name").identifier(),
            zone: try object.label("topology.kubernetes.io/zone"))
        for element in try object.field("status")?.elements("addresses") ?? [] {
            switch try element.required("type").string() {
            case "InternalIP": internalIPs.append(try element.required("address").addressText())
            case "ExternalIP": externalIPs.append(try element.required("address").addressText())
            default: continue
            }
        }
        isBeingDeleted = try object.required("metadata").field("deletionTimestamp")?.timestamp() != nil
        guard let spec = try object.field("spec") else { return }
        for element in try spec.elements("taints") { taints.append(try element.required("key").string()) }
        for element in try spec.elements("podCIDRs") { podCIDRs.append(try element.prefixText()) }
        if podCIDRs.isEmpty, let one = try spec.field("podCIDR") { podCIDRs = [try one.prefixText()] }
    }
}

extension ServiceCIDR {
    init(_ object: Cursor) throws(ManifestProblem) {
        self.init(name: try object.required("metadata").required("name").identifier(), cidrs: [])
        for element in try object.required("spec").elements("cidrs") { cidrs.append(try element.prefixText()) }
    }
}
