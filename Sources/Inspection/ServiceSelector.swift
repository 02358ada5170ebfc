public import NetTypes
public import ServiceModel

/// A Service, or some of its ports, as a person names it.
public struct ServiceSelector: Sendable, Hashable, CustomStringConvertible {
    /// Namespace and name of the Service.
    public let service: ObjectName
    /// A port's name, or a number one of its frontends listens on; `nil` is all ports.
    public let port: String?
    /// The protocol; `nil` is all.
    public let transport: TransportProtocol?

    /// Reads `NAMESPACE/NAME[:PORT][/PROTOCOL]`.
    public init(_ text: String) throws(FilterError) {
        let expected = FilterError(description: "expected NAMESPACE/NAME[:PORT][/PROTOCOL], as default/web:http")
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count) else { throw expected }
        let names = parts[1].split(separator: ":", omittingEmptySubsequences: false)
        guard (1...2).contains(names.count), !parts[0].isEmpty, names.allSatisfy({ !$0.isEmpty }) else {
            throw expected
        }
        service = ObjectName(namespace: String(parts[0]), name: String(names[0]))
        port = names.count == 2 ? String(names[1]) : nil
        transport = parts.count == 3 ? try TransportProtocol(filter: String(parts[2])) : nil
    }

    /// As it was written.
    public var description: String {
        "\(service)" + (port.map { ":\($0)" } ?? "") + (transport.map { "/\($0)" } ?? "")
    }

    /// Whether a service port whose frontends listen on `numbers` is meant.
    func matches(_ name: ServicePortName?, _ numbers: Set<UInt16>) -> Bool {
        guard let name, name.service == service, transport == nil || transport == name.transport else { return false }
        guard let port else { return true }
        return name.port == port || UInt16(port).map(numbers.contains) ?? false
    }
}
