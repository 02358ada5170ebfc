internal import ServiceModel

/// A collection to list and watch: where it is, and which of it counts.
struct WatchedKind: Sendable {
    let kind: ObjectKind
    /// The collection's path.
    let path: String
    var labelSelector = ""
    var fieldSelector = ""
    /// Whether a cluster may do without, or not let this node see it.
    var isOptional = false

    private static let proxyName = "service.kubernetes.io/service-proxy-name"

    /// Services of this proxy, as kube-proxy selects them: those that are meant for another are not even sent.
    static func services(proxyName name: String?) -> WatchedKind {
        let selector = name.flatMap { $0.isEmpty ? nil : "\(proxyName)=\($0)" } ?? "!\(proxyName)"
        return WatchedKind(
            kind: .service, path: "/api/v1/services", labelSelector: selector, fieldSelector: "spec.clusterIP!=None")
    }

    /// All EndpointSlices but those of headless Services.
    static let endpointSlices = WatchedKind(
        kind: .endpointSlice, path: "/apis/discovery.k8s.io/v1/endpointslices",
        labelSelector: "!service.kubernetes.io/headless")

    /// One Node.
    static func node(_ name: String) -> WatchedKind {
        WatchedKind(kind: .node, path: "/api/v1/nodes", fieldSelector: "metadata.name=\(name)")
    }

    /// All ServiceCIDRs, which clusters have since 1.33.
    static let serviceCIDRs = WatchedKind(
        kind: .serviceCIDR, path: "/apis/networking.k8s.io/v1/servicecidrs", isOptional: true)

    /// Path and query of a request for it.
    func path(_ parameters: [(String, String)]) -> String {
        var query = parameters
        if !labelSelector.isEmpty { query.insert(("labelSelector", labelSelector), at: 0) }
        if !fieldSelector.isEmpty { query.insert(("fieldSelector", fieldSelector), at: 0) }
        return path + "?" + query.map { "\($0)=\(PercentEncoding.encoded($1))" }.joined(separator: "&")
    }
}
