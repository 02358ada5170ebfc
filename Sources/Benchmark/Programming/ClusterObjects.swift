internal import KubernetesWire
internal import NetTypes

/// Services of a made-up cluster and their EndpointSlices, with the metadata that real ones carry, as watch events.
///
/// All addresses are of 198.18.0.0/15, which is set aside for benchmarks (RFC 2544): the first eighth for ClusterIPs.
struct ClusterObjects {
    let endpoints: Int
    let format: WireFormat

    private static let clusterIPs = IPAddress(v4: 0xC612_0001)
    private static let endpointIPs = IPAddress(v4: 0xC612_4000)
    /// The most Services.
    static let mostServices = 0x3FFE
    /// The most endpoints of all Services together.
    static let mostEndpoints = 0x1_BFFF
    static let nodeName = "node-000.eu-west-1.compute.internal"

    static func name(_ index: Int) -> String { "service-\(index)" }
    static func namespace(_ index: Int) -> String { "team-\(index % 40)" }

    /// Of a Service.
    func clusterIP(_ index: Int) -> IPAddress { Self.clusterIPs.advanced(by: index) }

    /// Of an endpoint of a Service.
    func endpointAddress(_ index: Int, _ number: Int) -> IPAddress {
        Self.endpointIPs.advanced(by: index * endpoints + number)
    }

    /// `ADDED` of a Service.
    func service(_ index: Int) -> [UInt8] {
        let address = "\(clusterIP(index))"
        let port: [WireField] = [
            WireField("name", 1, .text("http")), WireField("protocol", 2, .text("TCP")),
            WireField("port", 3, .number(80)),
        ]
        let spec: [WireField] = [
            WireField("ports", 1, .list([.message(port)])), WireField("selector", 2, .map([("app", Self.name(index))])),
            WireField("clusterIP", 3, .text(address)), WireField("type", 4, .text("ClusterIP")),
            WireField("sessionAffinity", 7, .text("None")), WireField("clusterIPs", 18, .list([.text(address)])),
            WireField("ipFamilies", 19, .list([.text("IPv4")])), WireField("ipFamilyPolicy", 17, .text("SingleStack")),
            WireField("internalTrafficPolicy", 22, .text("Cluster")),
        ]
        let metadata = Self.metadata(
            Self.name(index), index, version: index, labels: [("app.kubernetes.io/name", Self.name(index))],
            annotations: [], managed: Self.fieldsOfService)
        return WireValue.event(
            "ADDED", apiVersion: "v1", kind: "Service",
            [WireField("metadata", 1, metadata), WireField("spec", 2, .message(spec))], format)
    }

    /// An event of the Service's slice; `unready` is the endpoint that takes no traffic, if one does not.
    func slice(_ index: Int, _ type: String, unready: Int? = nil, version: Int = 0) -> [UInt8] {
        let endpoints = (0..<endpoints).map { number -> WireValue in
            let node = (index * 7 + number) % 300
            let zone = "eu-west-1\(["a", "b", "c"][node % 3])"
            let isReady = number != unready
            return .message([
                WireField(
                    "addresses", 1,
                    .list([.text("\(endpointAddress(index, number))")])),
                WireField(
                    "conditions", 2,
                    .message([
                        WireField("ready", 1, .bool(isReady)), WireField("serving", 2, .bool(isReady)),
                        WireField("terminating", 3, .bool(false)),
                    ])),
                WireField(
                    "targetRef", 4,
                    .message([
                        WireField("kind", 1, .text("Pod")), WireField("namespace", 2, .text(Self.namespace(index))),
                        WireField("name", 3, .text("\(Self.name(index))-7c9f8b6d5-x\(number)")),
                        WireField("uid", 4, .text(Self.uid)),
                    ])),
                WireField("nodeName", 6, .text("node-\(node).eu-west-1.compute.internal")),
                WireField("zone", 7, .text(zone)),
            ])
        }
        let port: [WireField] = [
            WireField("name", 1, .text("http")), WireField("protocol", 2, .text("TCP")),
            WireField("port", 3, .number(8080)),
        ]
        let metadata = Self.metadata(
            "\(Self.name(index))-x7k2p", index, version: version,
            labels: [
                ("endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"),
                ("kubernetes.io/service-name", Self.name(index)),
            ], annotations: [("endpoints.kubernetes.io/last-change-trigger-time", "2026-01-31T12:00:00Z")],
            managed: Self.fieldsOfSlice)
        return WireValue.event(
            type, apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice",
            [
                WireField("metadata", 1, metadata), WireField("addressType", 4, .text("IPv4")),
                WireField("endpoints", 2, .list(endpoints)), WireField("ports", 3, .list([.message(port)])),
            ], format)
    }

    private static let uid = "46421626-0f68-4ce3-91cf-b2f2e46ec7ff"

    private static func metadata(
        _ name: String, _ index: Int, version: Int, labels: [(String, String)], annotations: [(String, String)],
        managed: String
    ) -> WireValue {
        let created = WireValue.time("2026-01-31T12:00:00Z", 1_769_860_800)
        return .message([
            WireField("name", 1, .text(name)), WireField("namespace", 3, .text(namespace(index))),
            WireField("uid", 5, .text(uid)), WireField("resourceVersion", 6, .text("\(1_000_000 + version)")),
            WireField("creationTimestamp", 8, created), WireField("labels", 11, .map(labels)),
            WireField("annotations", 12, .map(annotations)),
            WireField(
                "managedFields", 17,
                .list([
                    .message([
                        WireField("manager", 1, .text("kube-controller-manager")),
                        WireField("operation", 2, .text("Update")), WireField("apiVersion", 3, .text("v1")),
                        WireField("time", 4, created), WireField("fieldsType", 6, .text("FieldsV1")),
                        WireField("fieldsV1", 7, .fields(managed)),
                    ])
                ])),
        ])
    }

    private static let fieldsOfService = """
        {"f:metadata":{"f:labels":{".":{},"f:app.kubernetes.io/name":{}}},"f:spec":{"f:internalTrafficPolicy":{},\
        "f:ports":{".":{},"k:{\\"port\\":80,\\"protocol\\":\\"TCP\\"}":{".":{},"f:name":{},"f:port":{},"f:protocol":{},\
        "f:targetPort":{}}},"f:selector":{},"f:sessionAffinity":{},"f:type":{}}}
        """
    private static let fieldsOfSlice = """
        {"f:addressType":{},"f:endpoints":{},"f:metadata":{"f:annotations":{".":{},\
        "f:endpoints.kubernetes.io/last-change-trigger-time":{}},"f:generateName":{},"f:labels":{".":{},\
        "f:endpointslice.kubernetes.io/managed-by":{},"f:kubernetes.io/service-name":{}},"f:ownerReferences":{".":{},\
        "k:{\\"uid\\":\\"7d881d78-42be-4662-8a77-61f2ee39e21b\\"}":{}}},"f:ports":{}}
        """
}

extension IPAddress {
    /// The IPv4 address so many after this one.
    fileprivate func advanced(by distance: Int) -> IPAddress { IPAddress(v4: UInt32(bits) + UInt32(distance)) }
}
