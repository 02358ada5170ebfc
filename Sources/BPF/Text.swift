internal import Glibc

extension String {
    /// The text of a C `char name[N]` member, up to its first zero byte.
    init<Tuple>(fixed tuple: Tuple) {
        self = withUnsafeBytes(of: tuple) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

/// Small text files of procfs.
enum FileText {
    static func read(_ path: String, limit: Int = 4096) -> String? {
        let number = open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { return nil }
        let descriptor = OwnedDescriptor(adopting: number)
        return withUnsafeTemporaryAllocation(byteCount: limit, alignment: 1) { buffer in
            let count = Glibc.read(descriptor.raw, buffer.baseAddress, buffer.count)
            return count < 0 ? nil : String(decoding: buffer[..<count], as: UTF8.self)
        }
    }

    static func number(after label: String, in text: String) -> UInt64? {
        text.split(separator: "\n").first { $0.hasPrefix(label) }
            .flatMap { UInt64($0.dropFirst(label.count).drop { $0 == " " || $0 == "\t" }) }
    }
}
