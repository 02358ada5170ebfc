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
        guard let seconds = secondsSince1970(text) else {
            throw problem("\"\(text.prefix(60))\": must be a time such as 2026-01-31T12:00:00Z")
        }
        return seconds
    }
}

/// Seconds since 1970 of an RFC 3339 time, fractions dropped; `nil` if it is none.
func secondsSince1970(_ text: String) -> Int64? {
    let bytes = Array(text.utf8)
    func number(_ range: Range<Int>) -> Int64? {
        guard range.upperBound <= bytes.count else { return nil }
        var value: Int64 = 0
        for byte in bytes[range] {
            guard (0x30...0x39).contains(byte) else { return nil }
            value = value * 10 + Int64(byte - 0x30)
        }
        return value
    }
    func isAt(_ index: Int, _ allowed: String) -> Bool {
        index < bytes.count && allowed.utf8.contains(bytes[index])
    }
    guard let year = number(0..<4), isAt(4, "-"), let month = number(5..<7), isAt(7, "-"), let day = number(8..<10),
        isAt(10, "Tt "), let hour = number(11..<13), isAt(13, ":"), let minute = number(14..<16), isAt(16, ":"),
        let second = number(17..<19), (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60,
        second <= 60
    else { return nil }
    var rest = 19
    if isAt(rest, ".") { rest = bytes[(rest + 1)...].firstIndex { !(0x30...0x39).contains($0) } ?? bytes.count }
    var offset: Int64 = 0
    if isAt(rest, "Zz") {
        guard rest + 1 == bytes.count else { return nil }
    } else {
        guard isAt(rest, "+-"), rest + 6 == bytes.count, isAt(rest + 3, ":"), let hours = number(rest + 1..<rest + 3),
            let minutes = number(rest + 4..<rest + 6), hours < 24, minutes < 60
        else { return nil }
        offset = (hours * 60 + minutes) * (isAt(rest, "-") ? -60 : 60)
    }
    // Days of the proleptic Gregorian calendar, counted in years that begin in March so that leap days come last.
    let shiftedYear = month <= 2 ? year - 1 : year
    let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
    let days = 365 * shiftedYear + shiftedYear / 4 - shiftedYear / 100 + shiftedYear / 400 + dayOfYear - 719_468
    return ((days * 24 + hour) * 60 + minute) * 60 + second - offset
}
