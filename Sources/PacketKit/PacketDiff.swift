/// Two frames side by side, for a person who has to find out why they are not equal.
public struct PacketDiff: Sendable, CustomStringConvertible {
    private let expected: [UInt8]
    private let actual: [UInt8]

    /// Compares two frames.
    public init(expected: [UInt8], actual: [UInt8]) {
        self.expected = expected
        self.actual = actual
    }

    /// Fields by name, then bytes in hexadecimal; what differs is marked with `*`.
    public var description: String {
        (["  field | expected | actual"] + fieldLines + ["  offset | expected | actual"] + hexLines)
            .joined(separator: "\n")
    }

    private var fieldLines: [String] {
        let left = PacketDissection(expected).fields
        let right = PacketDissection(actual).fields
        var rows: [(name: String, left: String, right: String)] = []
        for index in 0..<max(left.count, right.count) {
            let (a, b) = (index < left.count ? left[index] : nil, index < right.count ? right[index] : nil)
            if let a, let b, a.name != b.name {
                rows.append((a.name, a.value, ""))
                rows.append((b.name, "", b.value))
            } else {
                let same = a.map { expected[$0.range] } == b.map { actual[$0.range] }
                let value = b?.value ?? ""
                // Payloads of one length look the same but for their bytes.
                rows.append(
                    (
                        a?.name ?? b?.name ?? "", a?.value ?? "",
                        same || value != a?.value ? value : value + " (other bytes)"
                    ))
            }
        }
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
