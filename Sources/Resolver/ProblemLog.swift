internal import NetTypes
internal import ServiceModel

/// Collects what is wrong with one object, and reads checked values from its fields. Paths are put together only for
/// what is wrong.
struct ProblemLog {
    let object: ObjectID
    private(set) var problems: [ObjectProblem] = []

    init(_ kind: ObjectKind, _ name: ObjectName) { object = ObjectID(kind: kind, name: name) }

    mutating func report(_ path: String, _ message: String) {
        problems.append(ObjectProblem(object: object, path: path, message: message))
    }

    /// A name as Kubernetes allows them (RFC 1123 label): longer ones would not fit where names are kept.
    mutating func isLabel(_ name: String, _ path: @autoclosure () -> String) -> Bool {
        guard name.utf8.count > 63 else { return true }
        report(path(), "\"\(name)\" is longer than 63 characters")
        return false
    }

    mutating func port(_ number: Int, _ path: @autoclosure () -> String) -> UInt16? {
        guard (1...65_535).contains(number) else {
            report(path(), "\(number) is not a port: must be 1-65535")
            return nil
        }
        return UInt16(number)
    }

    mutating func transport(_ name: String, _ path: @autoclosure () -> String) -> TransportProtocol? {
        guard let transport = TransportProtocol(name) else {
            report(path(), "\"\(name)\" is not a protocol: must be TCP, UDP or SCTP")
            return nil
        }
        return transport
    }

    /// An address that packets can be sent to. Link-local ones are fine for a frontend and not for an endpoint, as the
    /// API server has it (`ValidateEndpointIP`).
    mutating func address(_ text: String, _ path: @autoclosure () -> String, endpoint: Bool = false) -> IPAddress? {
        guard let address = IPAddress(text) else {
            report(path(), "\"\(text)\" is not an IP address")
            return nil
        }
        let isSpecial = address.isUnspecified || address.isLoopback || address.isMulticast
        guard !isSpecial, !(endpoint && address.isLinkLocal) else {
            report(path(), "\(address) is unspecified, loopback, multicast or link-local: nothing can be sent there")
            return nil
        }
        return address
    }
}
