public import ArgumentParser
public import Dataplane
public import Logging
import NetTypes
import Netlink
public import Resolver

extension AttachmentOptions.XDP: ExpressibleByArgument {}
extension AttachmentOptions.TC: ExpressibleByArgument {}
extension DatapathSettings.Sockets: ExpressibleByArgument {}
extension AttachmentOptions.Forwarding: ExpressibleByArgument {}
extension MasqueradeMode: ExpressibleByArgument {}
extension Forwarding: ExpressibleByArgument {}
extension Logger.Level: @retroactive ExpressibleByArgument {}

extension ArgumentHelp {
    /// Help with the default, which ArgumentParser does not show for flags that have a transform.
    init(_ text: String, value: String, default initial: some CustomStringConvertible) {
        self.init("\(text) (default: \(initial))", valueName: value)
    }
}

extension InterfacePattern {
    /// What container hosts and clouds call devices that lead out.
    static var standardExternal: InterfacePattern { literal("eth*,en*,bond*,!eni*") }

    /// What network plugins call the host's ends of pods' devices.
    static var standardWorkload: InterfacePattern { literal("veth*,cali*,lxc*,eni*,azv*,gke*") }

    private static func literal(_ text: StaticString) -> InterfacePattern {
        guard let pattern = try? InterfacePattern("\(text)") else { preconditionFailure("\(text) is a pattern") }
        return pattern
    }
}

/// Two ports, `61000-65535`.
struct PortRange: CustomStringConvertible {
    let range: ClosedRange<UInt16>

    init(_ range: ClosedRange<UInt16>) {
        self.range = range
    }

    var description: String { "\(range.lowerBound)-\(range.upperBound)" }
}

/// The size of a table, or `auto`.
struct TableSize: CustomStringConvertible {
    static let auto = TableSize(entries: nil)
    let entries: UInt32?

    var description: String { entries.map(String.init) ?? "auto" }
}

/// Flags' values from their texts. ArgumentParser puts flag and value in front of what is thrown.
enum FlagValue {
    /// As the kubelet does with the host's name, capitals become small letters.
    static func nodeName(_ text: String) throws -> String {
        let name = text.lowercased()
        guard !name.isEmpty, name.utf8.count <= 253,
            name.split(separator: ".", omittingEmptySubsequences: false).allSatisfy(isLabel)
        else {
            throw ValidationError(
                """
                names of nodes are up to 253 letters, digits, hyphens and dots, with a letter or digit at both ends of \
                each part (a DNS-1123 subdomain); `kubectl get nodes` lists them
                """)
        }
        return name
    }

    private static func isLabel(_ part: Substring) -> Bool {
        let hyphen = UInt8(ascii: "-")
        let isName = part.utf8.allSatisfy {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || $0 == hyphen
        }
        return isName && !part.isEmpty && part.utf8.first != hyphen && part.utf8.last != hyphen
    }

    static func directory(_ text: String) throws -> String {
        guard !text.isEmpty else { throw ValidationError("name a directory") }
        return text
    }

    static func absolutePath(_ text: String) throws -> String {
        guard text.hasPrefix("/") else { throw ValidationError("must be an absolute path") }
        return text
    }

    static func interfaces(_ text: String) throws -> InterfacePattern {
        do {
            return try InterfacePattern(text)
        } catch {
            throw ValidationError("\(error)")
        }
    }

    /// Prefixes, comma separated.
    static func prefixes(_ text: String) throws -> [CIDR] {
        try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
            guard let prefix = CIDR(part) else {
                throw ValidationError("\"\(part)\" is no prefix; write such as 192.0.2.0/24 or 2001:db8::/64")
            }
            return prefix
        }
    }

    /// Prefixes of ClusterIPs, as many as the programs have room for.
    static func servicePrefixes(_ text: String) throws -> [CIDR] {
        let prefixes = try prefixes(text)
        for family in IPFamily.allCases
        where prefixes.count(where: { $0.family == family }) > NodeState.maxServiceCIDRs {
            throw ValidationError("up to \(NodeState.maxServiceCIDRs) prefixes of each family")
        }
        guard prefixes.allSatisfy({ $0.length > 0 }) else { throw ValidationError("not everything is a ClusterIP") }
        return prefixes
    }

    static func ports(_ text: String) throws -> PortRange {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
        guard parts.count == 2, let first = parts[0], let last = parts[1], first > 0 else {
            throw ValidationError("write two ports from 1 to 65535, such as 61000-65535")
        }
        guard first <= last else { throw ValidationError("the first port is above the last") }
        return PortRange(first...last)
    }

    /// How many entries a map has.
    static func entries(_ text: String) throws -> UInt32 {
        let allowed: ClosedRange<UInt32> = 2...(1 << 28)
        guard let number = UInt32(text), allowed.contains(number) else {
            throw ValidationError("write a number from \(allowed.lowerBound) to \(allowed.upperBound)")
        }
        return number
    }

    /// How many entries a map has, if somebody wants to say.
    static func tableSize(_ text: String) throws -> TableSize {
        text == "auto" ? .auto : TableSize(entries: try entries(text))
    }

    /// How many in a second.
    static func rate(_ text: String) throws -> UInt32 {
        let allowed: ClosedRange<UInt32> = 0...1_000_000_000
        guard let number = UInt32(text), allowed.contains(number) else {
            throw ValidationError("write a number from \(allowed.lowerBound) to \(allowed.upperBound)")
        }
        return number
    }

    static func seconds(_ text: String) throws -> Int {
        guard let number = Int(text), (1...31_536_000).contains(number) else {
            throw ValidationError("write a number of seconds from 1 to 31536000, which is a year")
        }
        return number
    }
}
