/// Records by id, in an array: ids are handed out from 1 upwards, so it is dense, and nothing is hashed.
///
/// As large as its greatest id: for ids that are indices of the kernel's arrays, not for keys that anybody may write.
public struct IDTable<ID: RawRepresentable<UInt32> & Sendable, Record: Sendable>: Sendable {
    /// By id, free ones in between.
    private var records: [Record?] = []
    /// The number of records.
    public private(set) var count = 0

    /// No records.
    public init() {}

    /// The record of an id; `nil` is none.
    public subscript(id: ID) -> Record? {
        get {
            let index = Int(id.rawValue)
            return index < records.count ? records[index] : nil
        }
        set {
            let index = Int(id.rawValue)
            if index >= records.count {
                guard newValue != nil else { return }
                records.append(contentsOf: repeatElement(nil, count: index - records.count + 1))
            }
            count += (newValue == nil ? 0 : 1) - (records[index] == nil ? 0 : 1)
            records[index] = newValue
        }
    }

    /// Whether there are no records.
    public var isEmpty: Bool { count == 0 }

    /// The ids that have a record, in order.
    public var keys: some Sequence<ID> { lazy.map(\.key) }

    /// The records, in the order of their ids.
    public var values: some Sequence<Record> { lazy.map(\.value) }
}

extension IDTable: Sequence {
    /// Goes through the records in the order of their ids.
    public struct Iterator: IteratorProtocol {
        fileprivate let records: [Record?]
        fileprivate var index = 0

        /// The next record.
        public mutating func next() -> (key: ID, value: Record)? {
            while index < records.count {
                defer { index += 1 }
                if let record = records[index], let id = ID(rawValue: UInt32(index)) { return (id, record) }
            }
            return nil
        }
    }

    /// The number of records.
    public var underestimatedCount: Int { count }

    /// Through all records.
    public func makeIterator() -> Iterator { Iterator(records: records) }
}

extension IDTable: Equatable where Record: Equatable {
    /// Whether both have the same records, however large they once were.
    public static func == (a: Self, b: Self) -> Bool {
        guard a.count == b.count else { return false }
        let (short, long) = a.records.count < b.records.count ? (a.records, b.records) : (b.records, a.records)
        return long.starts(with: short) && long.dropFirst(short.count).allSatisfy { $0 == nil }
    }
}
