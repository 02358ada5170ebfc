/// Bytes of a stream that have arrived, read line by line.
struct LineBuffer: Sendable {
    private static let limit = 1 << 20
    private var bytes: [UInt8] = []

    /// The next line without its end (LF or CRLF); `nil` at the end of the stream. `receive` is called as far as needed
    /// and returns nothing at the end. A line longer than 1 MiB is an error.
    mutating func line(_ receive: () throws -> [UInt8]) throws -> String? {
        var searched = 0
        while true {
            if let end = bytes[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                let line = bytes[..<end]
                let text = String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
                bytes.removeSubrange(...end)
                return text
            }
            searched = bytes.count
            guard try fill(receive) else { return nil }
        }
    }

    /// Exactly that many bytes; `nil` when the stream ends before.
    mutating func take(_ count: Int, _ receive: () throws -> [UInt8]) throws -> [UInt8]? {
        while bytes.count < count {
            guard try fill(receive) else { return nil }
        }
        defer { bytes.removeFirst(count) }
        return Array(bytes.prefix(count))
    }

    private mutating func fill(_ receive: () throws -> [UInt8]) throws -> Bool {
        guard bytes.count < Self.limit else {
            throw LabError("receive", "line", .other("longer than \(Self.limit) bytes"))
        }
        let received = try receive()
        bytes += received
        return !received.isEmpty
    }
}
