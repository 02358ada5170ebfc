public import ServiceModel

/// What a list says of itself.
public struct ListMetadata: Sendable, Hashable {
    /// The state of the collection, to watch from.
    public var resourceVersion = ResourceVersion("")
    /// `metadata.continue`, when there is more; empty otherwise.
    public var continueToken = ""

    /// Neither.
    public init() {}
}

/// Reads the body of a list, which may be cut anywhere, object by object: the whole is never in memory.
///
/// Append what arrives, take objects until there are none, and call ``finish()`` when the body is complete: only then
/// is it known that nothing is missing. An error is final.
public struct ListReader: Sendable {
    let kind: ObjectKind
    private let format: WireFormat
    private let maximumObjectSize: Int
    var queue = ByteQueue()
    var table = StringTable()
    var metadata = ListMetadata()
    /// Whether the list was said to be one of this kind.
    var isOfKind = false
    var json = JSONListState()
    var protobuf = ProtobufListState()
    private var failure: WireError?

    /// A reader of a list of objects of one kind.
    public init(
        kind: ObjectKind, format: WireFormat, maximumObjectSize: Int = WatchReader.defaultMaximumFrameSize
    ) {
        self.kind = kind
        self.format = format
        self.maximumObjectSize = maximumObjectSize
    }

    /// Reads a list that is all there.
    public static func read(
        _ bytes: RawSpan, kind: ObjectKind, format: WireFormat
    ) throws(WireError) -> ReceivedList {
        var reader = ListReader(kind: kind, format: format)
        var items: [ReceivedObject] = []
        var offset = 0
        while offset < bytes.byteCount {
            let end = min(offset + (64 << 10), bytes.byteCount)
            reader.append(bytes.extracting(offset..<end))
            while let item = try reader.next() { items.append(item) }
            offset = end
        }
        let end = try reader.finish()
        return ReceivedList(
            resourceVersion: end.resourceVersion, continueToken: end.continueToken, items: items.fitted())
    }

    /// Takes what arrived. The bytes are copied.
    public mutating func append(_ bytes: RawSpan) {
        guard failure == nil else { return }
        queue.append(bytes)
    }

    /// The next object that is there in full; `nil` until more is appended.
    public mutating func next() throws(WireError) -> ReceivedObject? {
        if let failure { throw failure }
        do {
            return switch format {
            case .json: try nextOfJSON()
            case .protobuf: try nextOfProtobuf()
            }
        } catch {
            throw fail(error)
        }
    }

    /// Ends the list: everything was appended, and every object taken. Throws if the list is not complete.
    public mutating func finish() throws(WireError) -> ListMetadata {
        if let failure { throw failure }
        let isComplete =
            switch format {
            case .json: json.isComplete && queue.isEmpty
            case .protobuf: protobuf.isComplete && queue.isEmpty
            }
        guard isComplete else { throw fail(error(Fault(cause: .cutShort, offset: queue.count))) }
        guard isOfKind else { throw fail(error(.malformed("not a \(kind.listName)", at: 0))) }
        return metadata
    }

    private mutating func fail(_ error: WireError) -> WireError {
        failure = error
        queue = ByteQueue()
        return error
    }

    /// An error in the list itself; its offset counts from the bytes that are queued.
    func error(_ fault: Fault, path: String = "") -> WireError {
        WireError(fault, kind, ObjectMetadata(), base: queue.taken, path: path)
    }

    /// Checks that what is waited for is not more than is taken at once.
    func checkSize(_ size: Int) throws(WireError) {
        guard size <= maximumObjectSize else {
            throw error(Fault(cause: .tooLarge(limit: maximumObjectSize), offset: 0))
        }
    }

    mutating func setKind(_ name: String) throws(WireError) {
        guard name == kind.listName else { throw error(Fault(cause: .otherKind(name), offset: 0)) }
        isOfKind = true
    }
}
