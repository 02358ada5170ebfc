/// Something wrong, or worth knowing, about a manifest: where it is, and what is expected there.
public struct ManifestProblem: Error, Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The file (or directory) as it was named by the caller.
    public let file: String
    /// The line, from 1; `nil` when the whole file is meant.
    public let line: Int?
    /// The column in Unicode scalars, from 1.
    public let column: Int?
    /// The field, as `spec.ports[0].port`; empty for the document or file itself.
    public let path: String
    /// What is wrong and what is expected.
    public let message: String

    /// A problem.
    public init(file: String, line: Int? = nil, column: Int? = nil, path: String = "", message: String) {
        self.file = file
        self.line = line
        self.column = column
        self.path = path
        self.message = message
    }

    /// `services.yaml:12:9: spec.ports[0].port: 70000: must be 1-65535`.
    public var description: String {
        let place = [file, line.map(String.init), column.map(String.init)].compactMap { $0 }.joined(separator: ":")
        return path.isEmpty ? "\(place): \(message)" : "\(place): \(path): \(message)"
    }

    /// By file, place, field, message.
    public static func < (a: Self, b: Self) -> Bool {
        (a.file, a.line ?? 0, a.column ?? 0, a.path, a.message) < (
            b.file, b.line ?? 0, b.column ?? 0, b.path, b.message
        )
    }
}
