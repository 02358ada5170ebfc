public import ArgumentParser
public import Dataplane
public import Logging
import NetTypes
public import Netlink

extension InterfacePattern: ExpressibleByArgument {
    /// Reads a list of names and patterns.
    public init?(argument: String) {
        guard let pattern = try? InterfacePattern(argument) else { return nil }
        self = pattern
    }

    /// What container hosts and clouds call devices that lead out.
    static var standardExternal: InterfacePattern { literal("eth*,en*,bond*,!eni*") }

    /// What network plugins call the host's ends of pods' devices.
    static var standardWorkload: InterfacePattern { literal("veth*,cali*,lxc*,eni*,azv*,gke*") }

    private static func literal(_ text: StaticString) -> InterfacePattern {
        guard let pattern = InterfacePattern(argument: "\(text)") else { preconditionFailure("\(text) is a pattern") }
        return pattern
    }
}

extension AttachmentOptions.XDP: ExpressibleByArgument {}
extension AttachmentOptions.TC: ExpressibleByArgument {}
extension Logger.Level: @retroactive ExpressibleByArgument {}

/// Prefixes, comma separated.
struct PrefixList: ExpressibleByArgument {
    let prefixes: [CIDR]

    init?(argument: String) {
        let parsed = argument.split(separator: ",", omittingEmptySubsequences: false).map { CIDR($0) }
        prefixes = parsed.compactMap(\.self)
        guard prefixes.count == parsed.count else { return nil }
    }
}

/// Two ports, `61000-65535`.
struct PortRange: ExpressibleByArgument {
    let range: ClosedRange<UInt16>

    init(_ range: ClosedRange<UInt16>) {
        self.range = range
    }

    init?(argument: String) {
        let parts = argument.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
        guard parts.count == 2, let first = parts[0], let last = parts[1], first > 0, first <= last else { return nil }
        range = first...last
    }

    var defaultValueDescription: String { "\(range.lowerBound)-\(range.upperBound)" }
}
