internal import Yams

/// The documents of a YAML or JSON text, JSON being YAML.
package enum Documents {
    /// Uses of anchors allowed in one file. Yams hashes mapping keys with all they contain, so that a few dozen
    /// aliases of aliases would take it years ("billion laughs"); nobody needs many in a manifest.
    static let maximumAliases = 16

    /// Reads all documents. Nesting is limited to 1000 levels by libyaml.
    package static func read(_ bytes: [UInt8], file: String) throws(ManifestProblem) -> [Cursor] {
        // libyaml, told that the text is UTF-8, takes a byte order mark for content.
        let content = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes[...]
        guard var text = String(validating: content, as: UTF8.self) else {
            throw ManifestProblem(file: file, line: lineOfInvalidUTF8(bytes), message: "not UTF-8 text")
        }
        let aliases = aliasUses(bytes)
        guard aliases <= maximumAliases else {
            throw ManifestProblem(file: file, message: "\(aliases) aliases: at most \(maximumAliases) are allowed")
        }
        // Yams keeps a pointer into the string's storage; a string of less than 16 bytes has none that lasts.
        if text.utf8.count < 16 { text += String(repeating: "\n", count: 16) }
        do {
            // The basic resolver guesses no types; the parser must not be asked again once it has thrown.
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            var roots: [Cursor] = []
            while let root = try parser.nextRoot() { roots.append(Cursor(node: root, path: "", file: file)) }
            return roots
        } catch let error as YamlError {
            throw problem(error, file)
        } catch {
            throw ManifestProblem(file: file, message: "not readable as YAML: \(error)")
        }
    }

    private static func problem(_ error: YamlError, _ file: String) -> ManifestProblem {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            let message = [context?.text, problem].compactMap { $0 }.joined(separator: ": ")
            return ManifestProblem(file: file, line: mark.line, column: mark.column, message: "not YAML: \(message)")
        case .reader(let problem, let offset, _, let text):
            let line = offset.map { text.prefix($0).count(where: \.isNewline) + 1 }
            return ManifestProblem(file: file, line: line, message: "not YAML: \(problem)")
        case .duplicatedKeysInMapping(let duplicates, let context):
            return ManifestProblem(
                file: file, line: context.mark.line, column: context.mark.column,
                message: "key \(duplicates.joined(separator: ", ")) is there more than once")
        default:
            return ManifestProblem(file: file, message: "not YAML: \(error)")
        }
    }

    /// Counts what may be uses (`*name`) of anchors (`&name`) defined before; may count text that only looks alike.
    private static func aliasUses(_ bytes: [UInt8]) -> Int {
        var anchors: Set<ArraySlice<UInt8>> = []
        var uses = 0
        var previous = UInt8(ascii: "\n")
        for (index, byte) in bytes.enumerated() {
            defer { previous = byte }
            guard byte == UInt8(ascii: "&") || byte == UInt8(ascii: "*"), separators.contains(previous) else {
                continue
            }
            let name = bytes[(index + 1)...].prefix { $0 > 0x20 && !separators.contains($0) }
            if byte == UInt8(ascii: "&") {
                anchors.insert(name)
            } else if anchors.contains(name) {
                uses += 1
            }
        }
        return uses
    }

    private static let separators = Set(" \t\r\n[]{},:?".utf8)

    private static func lineOfInvalidUTF8(_ bytes: [UInt8]) -> Int {
        // Every line feed is a whole scalar in UTF-8, so lines can be checked one by one.
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        return 1 + (lines.firstIndex { String(validating: $0, as: UTF8.self) == nil } ?? 0)
    }
}
