import FoundationEssentials

/// Writes objects as `application/vnd.kubernetes.protobuf` has them.
struct ProtobufWriter {
    private(set) var bytes: [UInt8] = []

    /// The envelope: `k8s\0` and an `Unknown` message of the type's names and the object's bytes
    /// (apimachinery/pkg/runtime/serializer/protobuf).
    static func enveloped(apiVersion: String, kind: String, _ object: [UInt8]) -> [UInt8] {
        var typeMeta = ProtobufWriter()
        typeMeta.field(1, Array(apiVersion.utf8))
        typeMeta.field(2, Array(kind.utf8))
        var unknown = ProtobufWriter()
        unknown.field(1, typeMeta.bytes)
        unknown.field(2, object)
        unknown.field(3, [])
        unknown.field(4, [])
        return [0x6B, 0x38, 0x73, 0x00] + unknown.bytes
    }

    /// A frame of a watch: the length in four bytes, big-endian, and a bare `WatchEvent`.
    static func frame(type: String, _ object: [UInt8]) -> [UInt8] {
        var raw = ProtobufWriter()
        raw.field(1, object)
        var event = ProtobufWriter()
        event.field(1, Array(type.utf8))
        event.field(2, raw.bytes)
        let length = UInt32(event.bytes.count)
        return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) } + event.bytes
    }

    static func message(_ schema: MessageSchema, _ value: JSON?) -> [UInt8] {
        var writer = ProtobufWriter()
        for field in schema.fields { writer.field(field, value?[field.name]) }
        return writer.bytes
    }

    // MARK: Wire types

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest > 0x7F {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// Length-delimited.
    mutating func field(_ number: UInt64, _ content: [UInt8]) {
        varint(number << 3 | 2)
        varint(UInt64(content.count))
        bytes += content
    }

    private mutating func field(_ number: UInt64, varint value: Int64) {
        varint(number << 3)
        varint(UInt64(bitPattern: value))
    }

    // MARK: Fields

    private mutating func field(_ field: MessageSchema.Field, _ value: JSON?) {
        switch field.presence {
        case .repeated: for element in value?.elements ?? [] { write(field, element) }
        case .optional: if let value { write(field, value) }
        case .always: write(field, value)
        }
    }

    private mutating func write(_ field: MessageSchema.Field, _ value: JSON?) {
        switch field.kind {
        case .string: self.field(field.number, Array((value?.text ?? "").utf8))
        case .int: self.field(field.number, varint: value?.number ?? 0)
        case .bool: self.field(field.number, varint: value == .bool(true) ? 1 : 0)
        case .time: self.field(field.number, Self.time(value?.text))
        case .intOrString: self.field(field.number, Self.intOrString(value))
        case .json: self.field(field.number, value?.bytes ?? [])
        case .map:
            for entry in (value?.members ?? []).sorted(by: { $0.name < $1.name }) {
                var content = ProtobufWriter()
                content.field(1, Array(entry.name.utf8))
                content.field(2, Array((entry.value.text ?? "").utf8))
                self.field(field.number, content.bytes)
            }
        case .message(let schema):
            // `FieldsV1` is a message of one field, the value itself.
            let inner = schema.fields.first?.name == "Raw" ? value.map { .object([JSON.Member("Raw", $0)]) } : value
            self.field(field.number, Self.message(schema, inner))
        }
    }

    private static func time(_ text: String?) -> [UInt8] {
        guard let text, let date = try? Date(text, strategy: .iso8601) else { return [] }
        var writer = ProtobufWriter()
        writer.field(1, varint: Int64(date.timeIntervalSince1970))
        writer.field(2, varint: 0)
        return writer.bytes
    }

    private static func intOrString(_ value: JSON?) -> [UInt8] {
        var writer = ProtobufWriter()
        writer.field(1, varint: value?.text == nil ? 0 : 1)
        writer.field(2, varint: value?.number ?? 0)
        writer.field(3, Array((value?.text ?? "").utf8))
        return writer.bytes
    }
}
