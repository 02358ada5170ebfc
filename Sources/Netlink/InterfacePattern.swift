/// A choice of interfaces by name: a comma-separated list such as `eth0,veth*,!veth-host`.
///
/// In an item `*` stands for any characters and `?` for one; a trailing `+` is the same as a trailing `*`, as in
/// iptables; a leading `!` excludes. A name is chosen when some item matches it and no excluding item does; a list of
/// excluding items only chooses everything else. Names are compared byte by byte.
public struct InterfacePattern: Sendable, Hashable, CustomStringConvertible {
    /// Why a text is no pattern.
    public struct Invalid: Error, Sendable, Hashable, CustomStringConvertible {
        /// The item at fault.
        public let item: String
        /// What is wrong with it, and what to write instead.
        public let reason: String

        /// `interface pattern "": ...`.
        public var description: String { "interface pattern \"\(item)\": \(reason)" }
    }

    private struct Item: Hashable {
        let glob: [UInt8]
        let isExcluding: Bool
    }

    private let items: [Item]
    /// The list as it was given, without blanks around items.
    public let description: String

    /// Reads a list. Blanks around items are dropped.
    public init(_ text: String) throws(Invalid) {
        var items: [Item] = []
        var names: [String] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let name = part.trimmingBlanks
            items.append(try Self.item(name))
            names.append(name)
        }
        self.items = items
        description = names.joined(separator: ",")
    }

    /// The names that are written out in full, and so are expected to exist.
    public var literalNames: [String] {
        items.filter { !$0.isExcluding && !$0.glob.contains { $0 == UInt8(ascii: "*") || $0 == UInt8(ascii: "?") } }
            .map { String(decoding: $0.glob, as: UTF8.self) }
    }

    /// Whether the pattern chooses an interface of this name.
    public func matches(_ name: some StringProtocol) -> Bool {
        let name = Array(name.utf8)
        var isChosen = items.allSatisfy(\.isExcluding)
        for item in items where Self.glob(item.glob, matches: name) {
            if item.isExcluding { return false }
            isChosen = true
        }
        return isChosen
    }

    private static func item(_ text: String) throws(Invalid) -> Item {
        let isExcluding = text.hasPrefix("!")
        var glob = Array(text.utf8.dropFirst(isExcluding ? 1 : 0))
        guard !glob.isEmpty else {
            throw Invalid(item: text, reason: "empty; write a name, or * for all interfaces")
        }
        // The kernel's rules for a name: dev_valid_name() in net/core/dev.c.
        guard glob.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }) else {
            throw Invalid(item: text, reason: "interface names hold no blanks, slashes or colons; part items by commas")
        }
        guard !glob.contains(UInt8(ascii: "!")) else {
            throw Invalid(item: text, reason: "an exclamation mark may only stand first")
        }
        if glob.last == UInt8(ascii: "+") { glob[glob.count - 1] = UInt8(ascii: "*") }
        guard glob.count(where: { $0 != UInt8(ascii: "*") }) <= 15 else {
            throw Invalid(item: text, reason: "interface names have at most 15 bytes; this can match none")
        }
        return Item(glob: glob, isExcluding: isExcluding)
    }

    /// Backtracks to the last `*` only, so the time is at most the product of the lengths.
    private static func glob(_ glob: [UInt8], matches name: [UInt8]) -> Bool {
        var g = 0
        var n = 0
        var star: (glob: Int, name: Int)?
        while n < name.count {
            if g < glob.count, glob[g] == UInt8(ascii: "*") {
                star = (g, n)
                g += 1
            } else if g < glob.count, glob[g] == name[n] || glob[g] == UInt8(ascii: "?") {
                g += 1
                n += 1
            } else if let last = star {
                star = (last.glob, last.name + 1)
                g = last.glob + 1
                n = last.name + 1
            } else {
                return false
            }
        }
        return glob[g...].allSatisfy { $0 == UInt8(ascii: "*") }
    }
}

extension Substring {
    fileprivate var trimmingBlanks: String {
        String(drop { $0 == " " || $0 == "\t" }.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
    }
}
