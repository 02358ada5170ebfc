internal import KubernetesWire

/// A value of an API object, to be written in either of the API server's formats.
indirect enum WireValue {
    case text(String)
    case number(Int)
    case bool(Bool)
    case message([WireField])
    case list([WireValue])
    case map([(String, String)])
    /// A meta/v1 Time: text in JSON, seconds since 1970 in protobuf.
    case time(String, Int)
    /// A FieldsV1: any JSON, which protobuf carries as it is.
    case fields(String)
}

/// A field by its name in JSON and its number in protobuf.
struct WireField {
    let key: String
    let number: Int
    let value: WireValue

    init(_ key: String, _ number: Int, _ value: WireValue) {
        self.key = key
        self.number = number
        self.value = value
    }
}

extension WireValue {
    /// One event of a watch, as it is on the wire.
    static func event(_ type: String, apiVersion: String, kind: String, _ fields: [WireField], _ format: WireFormat)
        -> [UInt8]
    {
        switch format {
        case .json:
            var bytes = Array(
                "{\"type\":\"\(type)\",\"object\":{\"kind\":\"\(kind)\",\"apiVersion\":\"\(apiVersion)\"".utf8)
            for field in fields {
                bytes.append(UInt8(ascii: ","))
                field.writeJSON(&bytes)
            }
            bytes += Array("}}\n".utf8)
            return bytes
        case .protobuf:
            let typeMeta = message([WireField("", 1, .text(apiVersion)), WireField("", 2, .text(kind))])
            let envelope =
                Array("k8s\0".utf8)
                + WireField.tagged(1, typeMeta.protobuf) + WireField.tagged(2, message(fields).protobuf)
            let event = WireField.tagged(1, Array(type.utf8)) + WireField.tagged(2, WireField.tagged(1, envelope))
            return (0..<4).map { UInt8(truncatingIfNeeded: event.count >> (24 - 8 * $0)) } + event
        }
    }

    fileprivate func writeJSON(_ bytes: inout [UInt8]) {
        switch self {
        case .text(let text), .time(let text, _): bytes += Array("\"\(text)\"".utf8)
        case .number(let number): bytes += Array("\(number)".utf8)
        case .bool(let value): bytes += Array("\(value)".utf8)
        case .fields(let json): bytes += Array(json.utf8)
        case .message(let fields): Self.join("{", fields, "}", &bytes) { $0.writeJSON(&$1) }
        case .list(let elements): Self.join("[", elements, "]", &bytes) { $0.writeJSON(&$1) }
        case .map(let entries):
            Self.join("{", entries, "}", &bytes) { $1 += Array("\"\($0.0)\":\"\($0.1)\"".utf8) }
        }
    }

    private static func join<Element>(
        _ open: Unicode.Scalar, _ elements: [Element], _ close: Unicode.Scalar, _ bytes: inout [UInt8],
        _ write: (Element, inout [UInt8]) -> Void
    ) {
        bytes.append(UInt8(ascii: open))
        for (index, element) in elements.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            write(element, &bytes)
        }
        bytes.append(UInt8(ascii: close))
    }

    /// The content of a field with this value; lists and maps are several fields, and have none.
    fileprivate var protobuf: [UInt8] {
        switch self {
        case .text(let text): Array(text.utf8)
        case .number(let number): WireField.varint(UInt64(number))
        case .bool(let value): [value ? 1 : 0]
        case .time(_, let seconds): WireField.varint(8) + WireField.varint(UInt64(seconds))
        case .fields(let json): WireField.tagged(1, Array(json.utf8))
        case .message(let fields): fields.flatMap(\.protobuf)
        case .list, .map: []
        }
    }
}

extension WireField {
    fileprivate func writeJSON(_ bytes: inout [UInt8]) {
        bytes += Array("\"\(key)\":".utf8)
        value.writeJSON(&bytes)
    }

    fileprivate var protobuf: [UInt8] {
        switch value {
        case .number, .bool: Self.varint(UInt64(number << 3)) + value.protobuf
        case .list(let elements): elements.flatMap { WireField(key, number, $0).protobuf }
        case .map(let entries):
            entries.flatMap { key, value in
                Self.tagged(number, Self.tagged(1, Array(key.utf8)) + Self.tagged(2, Array(value.utf8)))
            }
        default: Self.tagged(number, value.protobuf)
        }
    }

    fileprivate static func tagged(_ number: Int, _ content: [UInt8]) -> [UInt8] {
        varint(UInt64(number << 3 | 2)) + varint(UInt64(content.count)) + content
    }

    fileprivate static func varint(_ number: UInt64) -> [UInt8] {
        var rest = number
        var bytes: [UInt8] = []
        while rest > 0x7F {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }
}
