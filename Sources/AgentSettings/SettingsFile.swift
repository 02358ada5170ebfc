internal import Manifests
internal import ServiceModel

/// Why a configuration file cannot be used: everything that is wrong with it.
public struct SettingsProblem: Error, Sendable, Hashable, CustomStringConvertible {
    /// One line each, with file, line, column and key.
    public let lines: [String]

    /// All lines.
    public var description: String { lines.joined(separator: "\n") }

    init(_ problems: [ManifestProblem]) {
        lines = problems.map(\.description)
    }
}

/// A configuration file, YAML or JSON: Needletail's own kind, or kube-proxy's.
public enum SettingsFile {
    /// `apiVersion` and `kind` of Needletail's own.
    public static let apiVersion = "needletail.io/v1alpha1"
    /// See ``apiVersion``.
    public static let kind = "AgentConfiguration"

    private static let kubeProxy = "kubeproxy.config.k8s.io/v1alpha1"
    static let maximumSize = 1 << 20

    /// Reads a file.
    public static func read(_ path: String) throws(SettingsProblem) -> LoadedSettings {
        try parse(try contents(of: path), file: path)
    }

    /// The bytes of a file that nobody is writing just now.
    static func contents(of path: String) throws(SettingsProblem) -> [UInt8] {
        // Whoever writes it is done after a few attempts, or never.
        for _ in 0..<100 {
            switch FileReading(path: path, limit: maximumSize) {
            case .read(let bytes, _): return bytes
            case .failed(let reason): throw SettingsProblem([ManifestProblem(file: path, message: reason)])
            case .unsettled: continue
            }
        }
        throw SettingsProblem([ManifestProblem(file: path, message: "it is being written; try again")])
    }

    /// Reads the text of a file; `file` is its name in messages.
    public static func parse(_ bytes: [UInt8], file: String) throws(SettingsProblem) -> LoadedSettings {
        let document: Cursor
        let type: (version: String, kind: String)
        do throws(ManifestProblem) {
            document = try Self.document(bytes, file)
            type = (try document.required("apiVersion").string(), try document.required("kind").string())
        } catch {
            throw SettingsProblem([error])
        }
        switch type {
        case (apiVersion, kind): return try OwnFormat.read(document)
        case (kubeProxy, "KubeProxyConfiguration"): return try KubeProxyFormat.read(document)
        default:
            throw SettingsProblem([
                document.problem(
                    """
                    \(type.version) \(type.kind) is not known: the file must hold \(apiVersion) \(kind), or \(kubeProxy) \
                    KubeProxyConfiguration
                    """)
            ])
        }
    }

    private static func document(_ bytes: [UInt8], _ file: String) throws(ManifestProblem) -> Cursor {
        let documents = try Documents.read(bytes, file: file).filter { !$0.isNull }
        guard let document = documents.first, documents.count == 1 else {
            throw ManifestProblem(file: file, message: "\(documents.count) documents: there must be one")
        }
        return document
    }
}
