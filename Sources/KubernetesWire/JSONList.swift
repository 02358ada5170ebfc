internal import ServiceModel

/// How far a JSON list was read.
struct JSONListState: Sendable {
    enum Stage: Sendable {
        case start
        case firstKey
        case key
        case colon
        case value
        case afterValue
        case firstItem
        case item
        case afterItem
        case end
    }

    /// The keys that matter.
    enum Field: Sendable {
        case kind
        case metadata
        case items
        case other
    }

    var stage = Stage.start
    var field = Field.other
    var hasItems = false
    /// How many objects were read.
    var index = 0
    /// The search for the end of the value that comes next, and how many of its bytes it has seen.
    var boundary = JSONBoundary()
    var seen = 0

    var isComplete: Bool { stage == .end }
}

extension ListReader {
    mutating func nextOfJSON() throws(WireError) -> ReceivedObject? {
        while true {
            if json.seen == 0 { queue.takeJSONSpace() }
            guard !queue.isEmpty else { return nil }
            let byte = queue[0]
            switch json.stage {
            case .start:
                try require(byte == UInt8(ascii: "{"), "expected an object")
                take(1, then: .firstKey)
            case .firstKey where byte == UInt8(ascii: "}"), .afterValue where byte == UInt8(ascii: "}"):
                take(1, then: .end)
            case .afterValue:
                try require(byte == UInt8(ascii: ","), "expected a comma")
                take(1, then: .key)
            case .firstKey, .key:
                try require(byte == UInt8(ascii: "\""), "expected a key")
                guard let size = try sizeOfValue() else { return nil }
                try readKey(size)
                take(size, then: .colon)
            case .colon:
                try require(byte == UInt8(ascii: ":"), "expected a colon")
                take(1, then: .value)
            case .value where json.field == .items && byte == UInt8(ascii: "["):
                // What was handed on cannot be taken back.
                try require(!json.hasItems, "items are there twice")
                json.hasItems = true
                take(1, then: .firstItem)
            case .value:
                guard let size = try sizeOfValue() else { return nil }
                try readValue(size)
                take(size, then: .afterValue)
            case .firstItem where byte == UInt8(ascii: "]"), .afterItem where byte == UInt8(ascii: "]"):
                take(1, then: .afterValue)
            case .afterItem:
                try require(byte == UInt8(ascii: ","), "expected a comma")
                take(1, then: .item)
            case .firstItem, .item:
                guard let size = try sizeOfValue() else { return nil }
                let object = try readItem(size)
                take(size, then: .afterItem)
                json.index += 1
                return object
            case .end: try require(false, "something follows the list")
            }
        }
    }

    private mutating func take(_ count: Int, then stage: JSONListState.Stage) {
        queue.take(count)
        json.stage = stage
        json.boundary = JSONBoundary()
        json.seen = 0
    }

    private func require(_ condition: Bool, _ message: String) throws(WireError) {
        guard condition else { throw error(.malformed(message, at: 0)) }
    }

    /// How many bytes the value that comes next has; `nil` if it is not all there.
    private mutating func sizeOfValue() throws(WireError) -> Int? {
        let storage = queue.storage
        let bytes = storage.span.bytes.extracting(queue.range(queue.count))
        let end: Int?
        do throws(Fault) {
            end = try json.boundary.scan(bytes, from: json.seen)
        } catch {
            throw self.error(error, path: place)
        }
        json.seen = bytes.byteCount
        try checkSize(end ?? json.seen)
        return end
    }

    private mutating func readKey(_ size: Int) throws(WireError) {
        let storage = queue.storage
        let bytes = storage.span.bytes.extracting(queue.range(size))
        var reader = JSONReader(bytes)
        do throws(Fault) {
            switch try reader.string() {
            case "kind": json.field = .kind
            case "metadata": json.field = .metadata
            case "items": json.field = .items
            default: json.field = .other
            }
        } catch {
            throw self.error(error)
        }
    }

    private mutating func readValue(_ size: Int) throws(WireError) {
        let storage = queue.storage
        let bytes = storage.span.bytes.extracting(queue.range(size))
        var reader = JSONReader(bytes)
        var kind: String?
        do throws(Fault) {
            switch json.field {
            case .kind: kind = try reader.string()
            case .metadata: metadata = try reader.listMetadata()
            case .items: if try reader.enterArray() { throw Fault.malformed("expected a list", at: 0) }
            case .other: break
            }
        } catch {
            throw self.error(error, path: place)
        }
        if let kind { try setKind(kind) }
    }

    private mutating func readItem(_ size: Int) throws(WireError) -> ReceivedObject {
        let storage = queue.storage
        let bytes = storage.span.bytes.extracting(queue.range(size))
        var reader = JSONReader(bytes)
        var metadata = ObjectMetadata()
        do throws(Fault) {
            let object = try reader.object(kind, &table, &metadata)
            return ReceivedObject(object, metadata)
        } catch {
            let path = FieldPath.json(bytes, to: error.offset)
            throw WireError(
                error, kind, metadata, base: queue.taken, path: path.isEmpty ? place : "\(place).\(path)")
        }
    }

    /// Where in the list it is.
    private var place: String {
        switch json.stage {
        case .firstItem, .item: "items[\(json.index)]"
        case .value where json.field == .metadata: "metadata"
        case .value where json.field == .kind: "kind"
        case .value where json.field == .items: "items"
        default: ""
        }
    }
}

extension JSONReader {
    fileprivate mutating func listMetadata() throws(Fault) -> ListMetadata {
        var list = ListMetadata()
        guard try enterObject() else { return list }
        while let key = try nextKey() {
            if isKey(key, "resourceVersion") {
                list.resourceVersion = ResourceVersion(try string() ?? "")
            } else if isKey(key, "continue") {
                list.continueToken = try string() ?? ""
            } else {
                try skip()
            }
        }
        return list
    }
}

extension ByteQueue {
    fileprivate mutating func takeJSONSpace() {
        var count = 0
        while count < self.count, self[count].isJSONSpace { count += 1 }
        take(count)
    }
}
