internal import NetTypes
internal import ServiceModel

extension Cursor {
    /// Namespace (or `default`) and name of a namespaced object.
    func objectName() throws(ManifestProblem) -> ObjectName {
        let metadata = try required("metadata")
        return ObjectName(
            namespace: try metadata.field("namespace")?.identifier() ?? "default",
            name: try metadata.required("name").identifier())
    }

    /// A name as Kubernetes allows it in general (DNS-1123 subdomain).
    func identifier() throws(ManifestProblem) -> String {
        let text = try string()
        let isAllowed = text.utf8.allSatisfy { byte in
            (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "-")
                || byte == UInt8(ascii: ".")
        }
        guard isAllowed, (1...253).contains(text.utf8.count) else {
            throw problem("must be 1-253 lower-case letters, digits, '-' and '.'")
        }
        return text
    }

    /// The value of one of `metadata.labels`.
    func label(_ key: String) throws(ManifestProblem) -> String? { try metadata("labels", key) }

    /// The value of one of `metadata.annotations`.
    func annotation(_ key: String) throws(ManifestProblem) -> String? { try metadata("annotations", key) }

    private func metadata(_ map: String, _ key: String) throws(ManifestProblem) -> String? {
        // It may be written without a value, which the API server stores as an empty one.
        guard let value = try field("metadata")?.field(map)?.value(key) else { return nil }
        return value.isNull ? "" : try value.string()
    }

    func port() throws(ManifestProblem) -> Int {
        let number = try integer()
        guard (1...65_535).contains(number) else { throw problem("\(number): must be 1-65535") }
        return number
    }

    /// A port where 0 stands for none.
    func portOrNone() throws(ManifestProblem) -> Int {
        let number = try integer()
        guard (0...65_535).contains(number) else { throw problem("\(number): must be 0-65535") }
        return number
    }

    /// One of a few texts.
    func oneOf(_ allowed: String...) throws(ManifestProblem) -> String {
        let text = try string()
        guard allowed.contains(text) else {
            throw problem("\"\(text.prefix(60))\": must be \(allowed.joined(separator: ", "))")
        }
        return text
    }

    /// A protocol; TCP when absent.
    func protocolName(_ key: String) throws(ManifestProblem) -> String {
        try field(key)?.oneOf("TCP", "UDP", "SCTP") ?? "TCP"
    }

    func policy(_ key: String) throws(ManifestProblem) -> TrafficPolicy {
        let text = try field(key)?.oneOf(TrafficPolicy.cluster.rawValue, TrafficPolicy.local.rawValue)
        return text.flatMap(TrafficPolicy.init(rawValue:)) ?? .cluster
    }

    /// Text that is an address, of the family if one is given.
    func addressText(_ family: IPFamily? = nil) throws(ManifestProblem) -> String {
        let text = try string()
        guard let address = IPAddress(text) else {
            throw problem("\"\(text.prefix(60))\": must be an IP address")
        }
        guard family == nil || family == address.family else {
            throw problem("\(address): must be an IPv\(address.family == .v4 ? 6 : 4) address")
        }
        return text
    }

    /// Text that is an address prefix.
    func prefixText() throws(ManifestProblem) -> String {
        let text = try string()
        let trimmed = text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()
        guard CIDR(String(trimmed)) != nil else {
            throw problem("\"\(text.prefix(60))\": must be an address prefix such as 192.0.2.0/24")
        }
        return String(trimmed)
    }

    /// RFC 3339 time in seconds since 1970, fractions dropped.
    func timestamp() throws(ManifestProblem) -> Int64 {
        let text = try string()
        guard let time = RFC3339Time(text) else {
            throw problem("\"\(text.prefix(60))\": must be a time such as 2026-01-31T12:00:00Z")
        }
        return time.seconds
    }
}
