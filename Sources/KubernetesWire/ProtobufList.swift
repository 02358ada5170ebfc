internal import ServiceModel

/// How far a protobuf list was read.
struct ProtobufListState: Sendable {
    /// The four bytes before everything have been read.
    var hasMagic = false
    /// How many bytes of the list itself are still to come, while inside of it.
    var rest: Int?
    /// How many bytes that are of no interest are still to come.
    var unwanted = 0
    /// Whether there was a list.
    var hasList = false
    /// How many objects were read.
    var index = 0

    var isComplete: Bool { hasList && rest == nil && unwanted == 0 }
}

extension ListReader {
    mutating func nextOfProtobuf() throws(WireError) -> ReceivedObject? {
        while true {
            let passed = min(protobuf.unwanted, queue.count)
            queue.take(passed)
            protobuf.unwanted -= passed
            if protobuf.rest == 0, protobuf.unwanted == 0 { protobuf.rest = nil }
            guard protobuf.unwanted == 0, !queue.isEmpty else { return nil }
            guard protobuf.hasMagic else {
                guard queue.count >= 4 else { return nil }
                let storage = queue.storage
                let first = storage.span.bytes.extracting(queue.range(4))
                guard first.equals(Envelope.magic) else {
                    throw error(.malformed("not the envelope of Kubernetes' protobuf", at: 0))
                }
                protobuf.hasMagic = true
                queue.take(4)
                continue
            }
            guard let header = try header() else { return nil }
            if let rest = protobuf.rest {
                guard header.size + header.valueSize <= rest else {
                    throw error(.malformed("field \(header.field) reaches beyond the list", at: 0))
                }
                guard header.isBytes, header.field <= 2 else {
                    skip(header)
                    continue
                }
                guard try isThere(header) else { return nil }
                defer { take(header) }
                if header.field == 2 { return try readItem(header) }
                try readListMetadata(header)
            } else if header.isBytes, header.field == 2 {
                queue.take(header.size)
                protobuf.rest = header.valueSize
                protobuf.hasList = true
            } else if header.isBytes, header.field == 1 {
                guard try isThere(header) else { return nil }
                try readType(header)
                take(header)
            } else {
                skip(header)
            }
        }
    }

    private func header() throws(WireError) -> ProtobufReader.Header? {
        // No header, and no number with it, has more bytes than this.
        let end = min(queue.count, protobuf.rest ?? .max, 20)
        let storage = queue.storage
        let bytes = storage.span.bytes.extracting(queue.range(end))
        do throws(Fault) {
            let header = try ProtobufReader.header(bytes, at: 0, end: end)
            if header == nil, let rest = protobuf.rest, end == rest {
                throw Fault.malformed("the list ends inside a field", at: 0)
            }
            return header
        } catch {
            throw self.error(error)
        }
    }

    private func isThere(_ header: ProtobufReader.Header) throws(WireError) -> Bool {
        try checkSize(header.size + header.valueSize)
        return queue.count >= header.size + header.valueSize
    }

    private mutating func skip(_ header: ProtobufReader.Header) {
        protobuf.unwanted = header.size + header.valueSize
        if let rest = protobuf.rest { protobuf.rest = rest - protobuf.unwanted }
    }

    private mutating func take(_ header: ProtobufReader.Header) {
        let size = header.size + header.valueSize
        queue.take(size)
        if let rest = protobuf.rest { protobuf.rest = rest - size }
    }

    private mutating func readType(_ header: ProtobufReader.Header) throws(WireError) {
        let all = queue.range(header.size + header.valueSize)
        let storage = queue.storage
        let bytes = storage.span.bytes.extracting(all)
        var reader = ProtobufReader(bytes, header.size..<bytes.byteCount)
        let kind: String
        do throws(Fault) {
            kind = try reader.kindOfType()
        } catch {
            throw self.error(error, path: "1")
        }
        try setKind(kind)
    }

    private mutating func readListMetadata(_ header: ProtobufReader.Header) throws(WireError) {
        let all = queue.range(header.size + header.valueSize)
        let storage = queue.storage
        let bytes = storage.span.bytes.extracting(all)
        var reader = ProtobufReader(bytes, header.size..<bytes.byteCount)
        do throws(Fault) {
            try reader.listMetadata(&metadata)
        } catch {
            throw self.error(error, path: "1")
        }
    }

    private mutating func readItem(_ header: ProtobufReader.Header) throws(WireError) -> ReceivedObject {
        let all = queue.range(header.size + header.valueSize)
        let storage = queue.storage
        let bytes = storage.span.bytes.extracting(all)
        var reader = ProtobufReader(bytes, header.size..<bytes.byteCount)
        var metadata = ObjectMetadata()
        do throws(Fault) {
            let object = try reader.object(kind, &table, &metadata)
            protobuf.index += 1
            return ReceivedObject(object, metadata)
        } catch {
            let path = FieldPath.protobuf(bytes, header.size..<bytes.byteCount, to: error.offset)
            throw WireError(
                error, kind, metadata, base: queue.taken,
                path: "2[\(protobuf.index)]" + (path.isEmpty ? "" : ".\(path)"))
        }
    }
}
