internal import FoundationEssentials

/// How much a table shows.
public enum Detail: Sendable, Hashable {
    /// What fits in 120 columns.
    case normal
    /// All columns and all rows.
    case wide
}

/// The answer to a question: values with stable names for programs, and a table for people.
///
/// The names of the properties are the keys of the JSON and YAML documents, and are documented in `docs/cli.md`.
public protocol Report: Encodable, Sendable {
    /// Lines for a terminal or a pipe, the last one ended too.
    func text(_ detail: Detail) -> String
}

/// Writes a value as a document.
public protocol DocumentEncoder: Sendable {
    /// The document, ended by a newline.
    func encode(_ value: some Encodable) throws -> String
    /// The list `elements`, as the value of the only key of a document: how it begins, one chunk, how it ends.
    func listStart(key: String) -> String
    /// A chunk of the list's elements. `isFirst` is whether none came before.
    func listChunk(_ elements: [some Encodable], isFirst: Bool) throws -> String
    /// What ends the document. `isEmpty` is whether no element came.
    func listEnd(isEmpty: Bool) -> String
    /// A document that others follow.
    func streamed(_ value: some Encodable) throws -> String
}

/// JSON with sorted keys, two spaces of indentation, and a newline at the end.
public struct JSONDocument: DocumentEncoder {
    /// An encoder without state.
    public init() {}

    /// The document, ended by a newline.
    public func encode(_ value: some Encodable) throws -> String { try bare(value) + "\n" }

    /// `{`, the key and `[`.
    public func listStart(key: String) -> String { "{\n  \"\(key)\" : [" }

    /// The elements, a comma before each but the first of all.
    public func listChunk(_ elements: [some Encodable], isFirst: Bool) throws -> String {
        var text = ""
        for (index, element) in elements.enumerated() {
            text += isFirst && index == 0 ? "\n" : ",\n"
            text += try bare(element).split(separator: "\n").map { "    \($0)" }.joined(separator: "\n")
        }
        return text
    }

    /// `]` and `}`.
    public func listEnd(isEmpty: Bool) -> String { isEmpty ? "]\n}\n" : "\n  ]\n}\n" }

    /// A line.
    public func streamed(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
    }

    private func bare(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
