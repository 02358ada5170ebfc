/// Two frames side by side, for a person who has to find out why they are not equal.
public struct PacketDiff: Sendable, CustomStringConvertible {
    private let expected: [UInt8]
    private let actual: [UInt8]

    /// Compares two frames.
    public init(expected: [UInt8], actual: [UInt8]) {
        self.expected = expected
        self.actual = actual
    }

    /// What differs, by name; then fields by name and bytes in hexadecimal; what differs is marked with `*`.
    public var description: String {
        let names = differences
        let verdict = names.isEmpty ? "no field differs" : "differs in \(names.joined(separator: ", "))"
        return ([verdict, "  field | expected | actual"] + fieldLines + ["  offset | expected | actual"] + hexLines)
            .joined(separator: "\n")
    }

    /// The names of the fields that differ, or that only one frame has, in the order of the frame.
    public var differences: [String] { changes.map(\.name) }

    /// The fields that differ, or that only one frame has, in the order of the frame.
    public var changes: [Change] { rows.filter { $0.left != $0.right } }

    /// A field in both frames.
    public struct Change: Sendable, Hashable {
        /// Its name.
        public let name: String
        /// What it is in the first; empty where that has none.
        public fileprivate(set) var left = ""
        /// What it is in the second; empty where that has none.
        public fileprivate(set) var right = ""
    }

    private var rows: [Change] {
        let left = PacketDissection(expected).fields
        let right = PacketDissection(actual).fields
        // A field that only one of them has must not put all that follow out of step.
        let changes = right.map(\.name).difference(from: left.map(\.name))
        func offset(_ change: CollectionDifference<String>.Change) -> Int {
            switch change {
            case .insert(let offset, _, _), .remove(let offset, _, _): offset
            }
        }
        let (added, removed) = (Set(changes.insertions.map(offset)), Set(changes.removals.map(offset)))
        var rows: [Change] = []
        var (a, b) = (0, 0)
        while a < left.count || b < right.count {
            if removed.contains(a) {
                rows.append(Change(name: left[a].name, left: left[a].value))
                a += 1
            } else if added.contains(b) {
                rows.append(Change(name: right[b].name, right: right[b].value))
                b += 1
            } else {
                let (old, new) = (left[a], right[b])
                let looksSame = old.value == new.value && expected[old.range] != actual[new.range]
                // Payloads of one length look the same but for their bytes.
                rows.append(
                    Change(name: old.name, left: old.value, right: looksSame ? new.value + " (other bytes)" : new.value)
                )
                (a, b) = (a + 1, b + 1)
            }
        }
        return rows
    }

    private var fieldLines: [String] {
        let rows = rows
        let width = rows.reduce(0) { max($0, $1.name.count) }
        let column = rows.reduce(0) { max($0, $1.left.count) }
        return rows.map { row in
            "\(row.left == row.right ? " " : "*") \(row.name.filled(to: width)) | \(row.left.filled(to: column)) | \(row.right)"
        }
    }

    private var hexLines: [String] {
        func line(_ bytes: [UInt8], _ offset: Int) -> String {
            bytes.dropFirst(offset).prefix(16).map(\.hex).joined(separator: " ")
        }
        return stride(from: 0, to: max(expected.count, actual.count), by: 16).map { offset in
            let (a, b) = (line(expected, offset), line(actual, offset))
            return "\(a == b ? " " : "*") \(String(offset, radix: 16).filled(to: 4)) | \(a.filled(to: 47)) | \(b)"
        }
    }
}

extension String {
    fileprivate func filled(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
