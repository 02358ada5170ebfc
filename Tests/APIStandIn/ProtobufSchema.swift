/// How Kubernetes writes a message of its API in protobuf: the fields by ascending number, as its generated encoders
/// write them. Numbers are those of the `generated.proto` files of k8s.io/api and k8s.io/apimachinery, names those of
/// JSON.
struct MessageSchema: Sendable {
    /// What is written for a field.
    enum Kind: Sendable {
        case string
        case int
        case bool
        /// `meta/v1.Time`: RFC 3339 in JSON, seconds and nanoseconds here.
        case time
        /// A number or a string in JSON.
        case intOrString
        /// `meta/v1.FieldsV1`: JSON as bytes.
        case json
        /// Entries of key and value, by key.
        case map
        case message(MessageSchema)
    }

    /// Whether a field is written when JSON has none.
    enum Presence: Sendable {
        /// Go's field is no pointer: it is written in any case, as zero or empty.
        case always
        /// Go's field is a pointer.
        case optional
        /// A message each.
        case repeated
    }

    struct Field: Sendable {
        let number: UInt64
        let name: String
        let kind: Kind
        let presence: Presence
    }

    let fields: [Field]

    fileprivate init(_ fields: Field...) { self.fields = fields }
}

private typealias Field = MessageSchema.Field

private func always(_ number: UInt64, _ name: String, _ kind: MessageSchema.Kind = .string) -> Field {
    Field(number: number, name: name, kind: kind, presence: .always)
}

private func optional(_ number: UInt64, _ name: String, _ kind: MessageSchema.Kind = .string) -> Field {
    Field(number: number, name: name, kind: kind, presence: .optional)
}

private func repeated(_ number: UInt64, _ name: String, _ kind: MessageSchema.Kind = .string) -> Field {
    Field(number: number, name: name, kind: kind, presence: .repeated)
}

private func map(_ number: UInt64, _ name: String) -> Field { optional(number, name, .map) }

// MARK: apimachinery/pkg/apis/meta/v1

extension MessageSchema {
    static let listMeta = MessageSchema(
        always(1, "selfLink"), always(2, "resourceVersion"), always(3, "continue"),
        optional(4, "remainingItemCount", .int))

    private static let ownerReference = MessageSchema(
        always(1, "kind"), always(3, "name"), always(4, "uid"), always(5, "apiVersion"),
        optional(6, "controller", .bool), optional(7, "blockOwnerDeletion", .bool))

    private static let managedFieldsEntry = MessageSchema(
        always(1, "manager"), always(2, "operation"), always(3, "apiVersion"), optional(4, "time", .time),
        always(6, "fieldsType"), optional(7, "fieldsV1", .message(MessageSchema(optional(1, "Raw", .json)))),
        always(8, "subresource"))

    private static let objectMeta = MessageSchema(
        always(1, "name"), always(2, "generateName"), always(3, "namespace"), always(4, "selfLink"), always(5, "uid"),
        always(6, "resourceVersion"), always(7, "generation", .int), always(8, "creationTimestamp", .time),
        optional(9, "deletionTimestamp", .time), optional(10, "deletionGracePeriodSeconds", .int),
        map(11, "labels"), map(12, "annotations"), repeated(13, "ownerReferences", .message(ownerReference)),
        repeated(14, "finalizers"), repeated(17, "managedFields", .message(managedFieldsEntry)))

    private static let metadata = always(1, "metadata", .message(objectMeta))

    private static let condition = MessageSchema(
        always(1, "type"), always(2, "status"), always(3, "observedGeneration", .int),
        always(4, "lastTransitionTime", .time), always(5, "reason"), always(6, "message"))

    /// `Status`: what failed.
    static let status = MessageSchema(
        always(1, "metadata", .message(listMeta)), always(2, "status"), always(3, "message"), always(4, "reason"),
        optional(5, "details", .message(statusDetails)), always(6, "code", .int))

    private static let statusDetails = MessageSchema(
        always(1, "name"), always(2, "group"), always(3, "kind"),
        repeated(
            4, "causes", .message(MessageSchema(always(1, "reason"), always(2, "message"), always(3, "field")))),
        always(5, "retryAfterSeconds", .int), always(6, "uid"))

    /// A list's `items` are written one by one.
    static let list = MessageSchema(always(1, "metadata", .message(listMeta)))
}

// MARK: core/v1

extension MessageSchema {
    static let service = MessageSchema(
        metadata, always(2, "spec", .message(serviceSpec)), always(3, "status", .message(serviceStatus)))

    private static let serviceSpec = MessageSchema(
        repeated(1, "ports", .message(servicePort)), map(2, "selector"), always(3, "clusterIP"), always(4, "type"),
        repeated(5, "externalIPs"), always(7, "sessionAffinity"), always(8, "loadBalancerIP"),
        repeated(9, "loadBalancerSourceRanges"), always(10, "externalName"), always(11, "externalTrafficPolicy"),
        always(12, "healthCheckNodePort", .int), always(13, "publishNotReadyAddresses", .bool),
        optional(14, "sessionAffinityConfig", .message(sessionAffinityConfig)), optional(17, "ipFamilyPolicy"),
        repeated(18, "clusterIPs"), repeated(19, "ipFamilies"), optional(20, "allocateLoadBalancerNodePorts", .bool),
        optional(21, "loadBalancerClass"), optional(22, "internalTrafficPolicy"), optional(23, "trafficDistribution"))

    private static let servicePort = MessageSchema(
        always(1, "name"), always(2, "protocol"), always(3, "port", .int), always(4, "targetPort", .intOrString),
        always(5, "nodePort", .int), optional(6, "appProtocol"))

    private static let sessionAffinityConfig = MessageSchema(
        optional(1, "clientIP", .message(MessageSchema(optional(1, "timeoutSeconds", .int)))))

    private static let serviceStatus = MessageSchema(
        always(1, "loadBalancer", .message(MessageSchema(repeated(1, "ingress", .message(ingress))))),
        repeated(2, "conditions", .message(condition)))

    private static let ingress = MessageSchema(
        always(1, "ip"), always(2, "hostname"), optional(3, "ipMode"),
        repeated(
            4, "ports", .message(MessageSchema(always(1, "port", .int), always(2, "protocol"), optional(3, "error")))))

    static let node = MessageSchema(
        metadata, always(2, "spec", .message(nodeSpec)), always(3, "status", .message(nodeStatus)))

    private static let nodeSpec = MessageSchema(
        always(1, "podCIDR"), always(2, "externalID"), always(3, "providerID"), always(4, "unschedulable", .bool),
        repeated(5, "taints", .message(taint)), repeated(7, "podCIDRs"))

    private static let taint = MessageSchema(
        always(1, "key"), always(2, "value"), always(3, "effect"), optional(4, "timeAdded", .time))

    private static let nodeStatus = MessageSchema(
        always(3, "phase"),
        repeated(5, "addresses", .message(MessageSchema(always(1, "type"), always(2, "address")))),
        always(
            6, "daemonEndpoints",
            .message(
                MessageSchema(always(1, "kubeletEndpoint", .message(MessageSchema(always(1, "Port", .int))))))),
        always(7, "nodeInfo", .message(nodeInfo)))

    private static let nodeInfo = MessageSchema(
        always(1, "machineID"), always(2, "systemUUID"), always(3, "bootID"), always(4, "kernelVersion"),
        always(5, "osImage"), always(6, "containerRuntimeVersion"), always(7, "kubeletVersion"),
        always(8, "kubeProxyVersion"), always(9, "operatingSystem"), always(10, "architecture"))

    private static let objectReference = MessageSchema(
        always(1, "kind"), always(2, "namespace"), always(3, "name"), always(4, "uid"), always(5, "apiVersion"),
        always(6, "resourceVersion"), always(7, "fieldPath"))
}

// MARK: discovery.k8s.io/v1, networking.k8s.io/v1

extension MessageSchema {
    static let endpointSlice = MessageSchema(
        metadata, repeated(2, "endpoints", .message(endpoint)), repeated(3, "ports", .message(endpointPort)),
        always(4, "addressType"))

    private static let endpoint = MessageSchema(
        repeated(1, "addresses"), always(2, "conditions", .message(endpointConditions)), optional(3, "hostname"),
        optional(4, "targetRef", .message(objectReference)), map(5, "deprecatedTopology"), optional(6, "nodeName"),
        optional(7, "zone"), optional(8, "hints", .message(endpointHints)))

    private static let endpointConditions = MessageSchema(
        optional(1, "ready", .bool), optional(2, "serving", .bool), optional(3, "terminating", .bool))

    private static let endpointHints = MessageSchema(
        repeated(1, "forZones", .message(MessageSchema(always(1, "name")))),
        repeated(2, "forNodes", .message(MessageSchema(always(1, "name")))))

    private static let endpointPort = MessageSchema(
        optional(1, "name"), optional(2, "protocol"), optional(3, "port", .int), optional(4, "appProtocol"))

    static let serviceCIDR = MessageSchema(
        metadata, always(2, "spec", .message(MessageSchema(repeated(1, "cidrs")))),
        always(3, "status", .message(MessageSchema(repeated(1, "conditions", .message(condition))))))
}
