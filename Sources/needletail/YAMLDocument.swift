internal import Inspection
internal import Yams

/// YAML with sorted keys.
struct YAMLDocument: DocumentEncoder {
    func encode(_ value: some Encodable) throws -> String { try encoder.encode(value) }

    func listStart(key: String) -> String { "\(key):" }

    func listChunk(_ elements: [some Encodable], isFirst: Bool) throws -> String {
        (isFirst ? "\n" : "") + (try encoder.encode(elements))
    }

    func listEnd(isEmpty: Bool) -> String { isEmpty ? " []\n" : "" }

    func streamed(_ value: some Encodable) throws -> String { "---\n" + (try encoder.encode(value)) }

    private var encoder: YAMLEncoder {
        let encoder = YAMLEncoder()
        encoder.options.sortKeys = true
        encoder.options.width = -1
        return encoder
    }
}
