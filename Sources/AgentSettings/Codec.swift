internal import Agent
internal import Dataplane
internal import Glibc
internal import KubernetesAPI
internal import NetTypes
internal import Netlink

/// A text that is no value of a setting.
public struct InvalidValue: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is expected instead.
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// How values of a type are read from texts, and written.
struct Codec<Value: Sendable>: Sendable {
    let shape: SettingShape
    /// What stands for a value in help: `seconds`.
    let placeholder: String
    let parse: @Sendable (String) throws -> Value
    /// `nil` when there is nothing to write.
    let write: @Sendable (Value) -> String?

    init(
        _ shape: SettingShape, _ placeholder: String, parse: @escaping @Sendable (String) throws -> Value,
        write: @escaping @Sendable (Value) -> String?
    ) {
        self.shape = shape
        self.placeholder = placeholder
        self.parse = parse
        self.write = write
    }

    /// The same for a value that may be absent. `absent` is a text for that, if there is one.
    func optional(_ absent: String? = nil) -> Codec<Value?> {
        Codec<Value?>(
            shape, placeholder, parse: { $0 == absent ? nil : try parse($0) },
            write: { value in value.map(write) ?? absent })
    }
}

extension Codec where Value: RawRepresentable & CaseIterable & Sendable, Value.RawValue == String {
    /// One of a few words.
    static var word: Codec {
        let words = Value.allCases.map(\.rawValue)
        return Codec(
            .text, "word",
            parse: { text in
                guard let value = Value(rawValue: text) else {
                    throw InvalidValue("\"\(text)\": must be \(words.listed)")
                }
                return value
            }, write: \.rawValue)
    }
}

extension [String] {
    /// `a, b or c`.
    fileprivate var listed: String {
        count < 2 ? joined() : "\(dropLast().joined(separator: ", ")) or \(self[count - 1])"
    }
}

extension Codec<Bool> {
    static var boolean: Codec {
        Codec(
            .boolean, "true|false",
            parse: { text in
                guard let value = Bool(text) else { throw InvalidValue("\"\(text)\": must be true or false") }
                return value
            }, write: { "\($0)" })
    }
}

extension Codec where Value: FixedWidthInteger & Sendable {
    static func number(_ allowed: ClosedRange<Value>, _ placeholder: String) -> Codec {
        Codec(
            .number, placeholder,
            parse: { text in
                guard let number = Value(text), allowed.contains(number) else {
                    throw InvalidValue("write a number from \(allowed.lowerBound) to \(allowed.upperBound)")
                }
                return number
            }, write: { "\($0)" })
    }
}

extension Codec<Double> {
    static var rate: Codec {
        Codec(
            .number, "number",
            parse: { text in
                guard let number = Double(text), number.isFinite, number > 0 else {
                    throw InvalidValue("write a number above 0")
                }
                return number
            }, write: { $0 == $0.rounded() && $0 < 1e9 ? "\(Int($0))" : "\($0)" })
    }
}

extension Codec<Int> {
    /// Whole seconds: a number, or a duration such as `6h`.
    static var seconds: Codec {
        Codec(
            .duration, "seconds",
            parse: { text in
                let whole =
                    Int(text)
                    ?? GoDuration.parse(text).flatMap {
                        $0.components.attoseconds == 0 ? Int($0.components.seconds) : nil
                    }
                guard let whole, (1...31_536_000).contains(whole) else {
                    throw InvalidValue("write a number of seconds from 1 to 31536000, which is a year, or such as 6h")
                }
                return whole
            }, write: { "\($0)" })
    }
}

extension Codec<Duration> {
    /// A duration such as `30s`, up to a day; plain numbers are seconds.
    static func duration(_ least: Duration) -> Codec {
        Codec(
            .duration, "duration",
            parse: { text in
                let duration = Int(text).map { Duration.seconds($0) } ?? GoDuration.parse(text)
                guard let duration, duration >= least, duration <= .seconds(86_400) else {
                    throw InvalidValue("write a duration from \(GoDuration.text(least)) to 24h, such as 30s")
                }
                return duration
            }, write: { GoDuration.text($0) })
    }
}

extension Codec<String> {
    /// Any text but none.
    static func text(_ placeholder: String) -> Codec {
        Codec(
            .text, placeholder,
            parse: { text in
                guard !text.isEmpty else { throw InvalidValue("name a \(placeholder)") }
                return text
            }, write: { $0 })
    }

    static var absolutePath: Codec {
        Codec(
            .text, "path",
            parse: { text in
                guard text.hasPrefix("/") else { throw InvalidValue("must be an absolute path") }
                return text
            }, write: { $0 })
    }

    static var nodeName: Codec {
        Codec(
            .text, "name",
            parse: { text in
                guard let name = NodeName(text) else {
                    throw InvalidValue(
                        """
                        names of nodes are up to 253 letters, digits, hyphens and dots, with a letter or digit at both \
                        ends of each part (a DNS-1123 subdomain); `kubectl get nodes` lists them
                        """)
                }
                return name.text
            }, write: { $0 })
    }

    /// The value of a label.
    static var label: Codec {
        Codec(
            .text, "name",
            parse: { text in
                let inner = text.utf8.allSatisfy {
                    (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
                        || "-_.".utf8.contains($0)
                }
                let ends = [text.first, text.last].allSatisfy { $0.map { !"-_.".contains($0) } ?? false }
                guard inner, ends, text.utf8.count <= 63 else {
                    throw InvalidValue("values of labels are up to 63 letters, digits, hyphens, dots and underscores")
                }
                return text
            }, write: { $0 })
    }

    /// A URL of an API server.
    static var server: Codec {
        Codec(
            .text, "url",
            parse: { text in
                guard text.hasPrefix("https://") || text.hasPrefix("http://"), text.split(separator: "/").count >= 2
                else { throw InvalidValue("\"\(text)\": write a URL such as https://192.0.2.1:6443") }
                return text
            }, write: { $0 })
    }

    /// Where to listen: address and port, of which the address may be left out, or nothing.
    static var listener: Codec {
        Codec(
            .text, "address",
            parse: { text in
                guard text.isEmpty || isListener(text) else {
                    throw InvalidValue(
                        "\"\(text)\": write an address and port such as 0.0.0.0:10256, [::]:10256 or :10256, or nothing"
                    )
                }
                return text
            }, write: { $0 })
    }

    private static func isListener(_ text: String) -> Bool {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0
        else { return false }
        let host = text[..<colon]
        guard host.hasPrefix("[") else { return host.isEmpty || IPAddress(host).map { $0.family == .v4 } ?? false }
        return host.hasSuffix("]") && IPAddress(host.dropFirst().dropLast()).map { $0.family == .v6 } ?? false
    }
}

extension Codec<InterfacePattern> {
    static var interfaces: Codec {
        Codec(
            .list, "patterns",
            parse: { text in
                do {
                    return try InterfacePattern(text)
                } catch {
                    throw InvalidValue("\(error)")
                }
            }, write: \.description)
    }
}

extension Codec<IPAddress> {
    static var address: Codec {
        Codec(
            .text, "address",
            parse: { text in
                guard let address = IPAddress(text) else { throw InvalidValue("\"\(text)\" is no IP address") }
                return address
            }, write: \.description)
    }
}

extension Codec<[CIDR]> {
    /// Prefixes that `check` has nothing against.
    static func prefixes(_ check: @escaping @Sendable ([CIDR]) throws -> Void = { _ in }) -> Codec {
        Codec(
            .list, "cidrs",
            parse: { text in
                let prefixes = try text.isEmpty ? [] : readPrefixes(text)
                try check(prefixes)
                return prefixes
            }, write: { $0.isEmpty ? nil : $0.map(\.description).joined(separator: ",") })
    }

    /// Prefixes of ClusterIPs, as many as the programs have room for.
    static var servicePrefixes: Codec {
        prefixes { prefixes in
            for family in IPFamily.allCases
            where prefixes.count(where: { $0.family == family }) > NodeState.maxServiceCIDRs {
                throw InvalidValue("up to \(NodeState.maxServiceCIDRs) prefixes of each family")
            }
            guard prefixes.allSatisfy({ $0.length > 0 }) else { throw InvalidValue("not everything is a ClusterIP") }
        }
    }

    /// Prefixes of pods, one of each family at most.
    static var podPrefixes: Codec {
        prefixes { prefixes in
            guard Set(prefixes.map(\.family)).count == prefixes.count else {
                throw InvalidValue("one prefix of each family at most")
            }
            guard prefixes.allSatisfy({ $0.length > 0 }) else { throw InvalidValue("not everybody is a pod") }
        }
    }
}

/// Prefixes, comma separated.
private func readPrefixes(_ text: String) throws -> [CIDR] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
        guard let prefix = CIDR(part) else {
            throw InvalidValue("\"\(part)\" is no prefix; write such as 192.0.2.0/24 or 2001:db8::/64")
        }
        return prefix
    }
}

extension Codec<NodePortAddresses> {
    static var nodePortAddresses: Codec {
        Codec(
            .list, "cidrs",
            parse: { text in
                switch text {
                case "primary", "": return .primary
                case "external": return .externalDevices
                default: break
                }
                let parts = text.split(separator: ",")
                if let word = ["primary", "external"].first(where: { parts.contains(Substring($0)) }) {
                    throw InvalidValue("\(word) stands alone, without prefixes")
                }
                return .prefixes(try readPrefixes(text))
            },
            write: { value in
                switch value {
                case .primary: "primary"
                case .externalDevices: "external"
                case .prefixes(let prefixes): prefixes.map(\.description).joined(separator: ",")
                }
            })
    }
}

extension Codec<ClosedRange<UInt16>> {
    static var ports: Codec {
        Codec(
            .text, "first-last",
            parse: { text in
                let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
                guard parts.count == 2, let first = parts[0], let last = parts[1], first > 0 else {
                    throw InvalidValue("write two ports from 1 to 65535, such as 61000-65535")
                }
                guard first <= last else { throw InvalidValue("the first port is above the last") }
                return first...last
            }, write: { "\($0.lowerBound)-\($0.upperBound)" })
    }
}

extension Codec<PinDirectory> {
    static var pinDirectory: Codec {
        Codec(
            .text, "path", parse: { PinDirectory(try Codec<String>.absolutePath.parse($0)) },
            write: \.root)
    }
}

extension Codec<ClusterSettings.ContentType> {
    /// A word, or the media type that kube-proxy is told.
    static var contentType: Codec {
        let word = Codec.word
        return Codec(
            .text, "word",
            parse: { text in
                switch text {
                case "application/vnd.kubernetes.protobuf": .protobuf
                case "application/json": .json
                default: try word.parse(text)
                }
            }, write: word.write)
    }
}

extension Codec<InterfacePattern?> {
    /// The host's ends of pods' devices; the usual names stand for nobody having said.
    static var workload: Codec {
        let interfaces = Codec<InterfacePattern>.interfaces
        return Codec(
            interfaces.shape, interfaces.placeholder,
            parse: { text in
                let pattern = try interfaces.parse(text)
                return pattern == .standardWorkload ? nil : pattern
            }, write: { ($0 ?? .standardWorkload).description })
    }
}

extension Codec<IPAddress?> {
    /// An address of the node; those that stand for all are none.
    static var nodeAddress: Codec {
        Codec(
            .text, "address",
            parse: { text in
                let address = try Codec<IPAddress>.address.parse(text)
                return address.isUnspecified ? nil : address
            }, write: { $0?.description })
    }
}

extension Codec<UInt32> {
    /// How many entries a map has.
    static var entries: Codec { .number(2...(1 << 28), "entries") }
}

extension Codec<UInt32?> {
    /// How many entries a map has, if somebody wants to say.
    static var tableSize: Codec { Codec<UInt32>.entries.optional("auto") }
}
