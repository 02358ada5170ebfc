public import ServiceModel

/// Reads the events of a watch from the bytes of its answer, which may be cut anywhere.
///
/// Append what arrives, then take events until there are none. An error is final: the stream has to be left.
public struct WatchReader: Sendable {
    /// What an event may have at most unless told otherwise, in bytes. etcd takes no object above 1.5 MiB.
    public static let defaultMaximumFrameSize = 32 << 20

    private let kind: ObjectKind
    private let format: WireFormat
    private let maximumFrameSize: Int
    private var queue = ByteQueue()
    /// How many of the queued bytes are known to hold no line feed.
    private var searched = 0
    private var table = StringTable()
    private var failure: WireError?

    /// A reader of the events of objects of one kind.
    public init(kind: ObjectKind, format: WireFormat, maximumFrameSize: Int = defaultMaximumFrameSize) {
        self.kind = kind
        self.format = format
        self.maximumFrameSize = maximumFrameSize
    }

    /// Whether part of an event was appended: a stream that ends now was cut.
    public var isInsideEvent: Bool {
        switch format {
        case .protobuf: !queue.isEmpty
        case .json: !queue.isBlank(queue.range(queue.count))
        }
    }

    /// Takes what arrived. The bytes are copied.
    public mutating func append(_ bytes: RawSpan) {
        guard failure == nil else { return }
        queue.append(bytes)
    }

    /// The next event that is there in full; `nil` until more is appended.
    public mutating func next() throws(WireError) -> WatchEvent? {
        if let failure { throw failure }
        do {
            return switch format {
            case .json: try nextLine()
            case .protobuf: try nextFrame()
            }
        } catch {
            failure = error
            queue = ByteQueue()
            throw error
        }
    }

    private mutating func nextLine() throws(WireError) -> WatchEvent? {
        while true {
            while searched < queue.count, queue[searched] != UInt8(ascii: "\n") { searched += 1 }
            guard searched <= maximumFrameSize else { throw tooLarge(at: searched) }
            guard searched < queue.count else { return nil }
            let range = queue.range(searched)
            queue.take(searched + 1)
            searched = 0
            guard !queue.isBlank(range) else { continue }
            var metadata = ObjectMetadata()
            let storage = queue.storage
            let bytes = storage.span.bytes.extracting(range)
            do {
                return try Self.event(json: bytes, kind, &table, &metadata)
            } catch {
                throw WireError(error, kind, metadata, path: FieldPath.json(bytes, to: error.offset))
            }
        }
    }

    private mutating func nextFrame() throws(WireError) -> WatchEvent? {
        guard queue.count >= 4 else { return nil }
        let length = (0..<4).reduce(0) { $0 << 8 | Int(queue[$1]) }
        guard length <= maximumFrameSize else { throw tooLarge(at: 0) }
        guard queue.count >= 4 + length else { return nil }
        queue.take(4)
        let range = queue.range(length)
        queue.take(length)
        var metadata = ObjectMetadata()
        let storage = queue.storage
        let bytes = storage.span.bytes.extracting(range)
        do {
            return try Self.event(protobuf: bytes, kind, &table, &metadata)
        } catch {
            let path = FieldPath.protobuf(bytes, 0..<length, to: error.offset)
            throw WireError(error, kind, metadata, path: path)
        }
    }

    private func tooLarge(at offset: Int) -> WireError {
        WireError(cause: .tooLarge(limit: maximumFrameSize), kind: kind, offset: offset)
    }

    private static func event(
        json bytes: RawSpan, _ kind: ObjectKind, _ table: inout StringTable, _ metadata: inout ObjectMetadata
    ) throws(Fault) -> WatchEvent {
        var reader = JSONReader(bytes)
        guard try reader.enterObject() else { throw .malformed("expected an event", at: 0) }
        var type = ""
        var object: Range<Int>?
        while let key = try reader.nextKey() {
            if reader.isKey(key, "type") {
                type = try reader.string() ?? ""
            } else if reader.isKey(key, "object") {
                object = try reader.skip()
            } else {
                try reader.skip()
            }
        }
        try reader.finish()
        guard let object else { throw .malformed("an event without an object", at: 0) }
        var inner = JSONReader(bytes, object)
        switch type {
        case "ADDED", "MODIFIED":
            let read = try inner.object(kind, &table, &metadata)
            return .upsert(ReceivedObject(read, metadata))
        case "DELETED":
            let read = try inner.object(kind, &table, &metadata)
            return .delete(ReceivedObject(read, metadata))
        case "BOOKMARK":
            guard try inner.enterObject() else { throw .malformed("expected an object", at: object.lowerBound) }
            while let key = try inner.nextKey() {
                if inner.isKey(key, "metadata") { try inner.metadata(&metadata, &table) } else { try inner.skip() }
            }
            return .bookmark(metadata)
        case "ERROR": return .failure(try inner.status())
        default: throw .malformed("an event of unknown type \"\(type.prefix(60))\"", at: 0)
        }
    }

    private static func event(
        protobuf bytes: RawSpan, _ kind: ObjectKind, _ table: inout StringTable, _ metadata: inout ObjectMetadata
    ) throws(Fault) -> WatchEvent {
        var reader = ProtobufReader(bytes, 0..<bytes.byteCount)
        var type = ""
        var object: Range<Int>?
        while try reader.next() {
            switch reader.field {
            case 1: type = try reader.string()
            case 2:
                var raw = try reader.message()
                while try raw.next() {
                    if raw.field == 1 { object = try raw.range() }
                }
            default: continue
            }
        }
        guard let object else { throw .malformed("an event without an object", at: 0) }
        if type == "ERROR" { return .failure(try APIStatus(envelope: bytes, object)) }
        let envelope = try Envelope(bytes, object)
        try expect(envelope.kind, toBe: kind.rawValue, at: object.lowerBound)
        var inner = ProtobufReader(bytes, envelope.content)
        switch type {
        case "ADDED", "MODIFIED":
            let read = try inner.object(kind, &table, &metadata)
            return .upsert(ReceivedObject(read, metadata))
        case "DELETED":
            let read = try inner.object(kind, &table, &metadata)
            return .delete(ReceivedObject(read, metadata))
        case "BOOKMARK":
            while try inner.next() {
                guard inner.field == 1 else { continue }
                var message = try inner.message()
                try message.metadata(&metadata, &table)
            }
            return .bookmark(metadata)
        default: throw .malformed("an event of unknown type \"\(type.prefix(60))\"", at: 0)
        }
    }
}

extension WatchEvent {
    fileprivate static func bookmark(_ metadata: ObjectMetadata) -> WatchEvent {
        .bookmark(ResourceVersion(metadata.resourceVersion), endsInitialEvents: metadata.endsInitialEvents)
    }
}

extension ReceivedObject {
    init(_ object: CatalogObject, _ metadata: ObjectMetadata) {
        self.init(object: object, resourceVersion: ResourceVersion(metadata.resourceVersion))
    }
}

extension WireError {
    init(_ fault: Fault, _ kind: ObjectKind, _ metadata: ObjectMetadata, base: Int = 0, path: String) {
        self.init(
            cause: fault.cause, kind: kind, object: metadata.objectName(kind), offset: base + fault.offset, path: path)
    }
}
