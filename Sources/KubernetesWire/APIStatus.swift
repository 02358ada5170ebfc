extension APIStatus {
    static let kind = "Status"

    /// Reads the body of an answer that tells of a failure, in whichever format: an error may come as JSON where
    /// protobuf was asked for. `nil` if it is no Status. ``code`` is 0 where the Status has none.
    public init?(body: RawSpan) {
        do {
            if body.byteCount >= 4, body.extracting(0..<4).equals(Envelope.magic) {
                try self.init(envelope: body, 0..<body.byteCount)
            } else {
                var json = JSONReader(body)
                self = try json.status()
                try json.finish()
                var again = JSONReader(body)
                guard try again.hasKind() else { return nil }
            }
        } catch {
            return nil
        }
    }

    init(envelope bytes: RawSpan, _ range: Range<Int>) throws(Fault) {
        let envelope = try Envelope(bytes, range)
        try expect(envelope.kind, toBe: Self.kind, at: range.lowerBound)
        var reader = ProtobufReader(bytes, envelope.content)
        self = try reader.status()
    }

    mutating func setRetryAfter(_ seconds: Int?) {
        retryAfterSeconds = seconds.flatMap { $0 > 0 ? $0 : nil }
    }
}

extension JSONReader {
    /// Whether the object names its kind.
    fileprivate mutating func hasKind() throws(Fault) -> Bool {
        var found = false
        guard try enterObject() else { return false }
        while let key = try nextKey() {
            if isKey(key, "kind") { found = try string() != nil } else { try skip() }
        }
        return found
    }
}
