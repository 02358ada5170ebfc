internal import Dataplane
internal import NeedletailABI

/// What this program is.
public struct VersionReport: Report {
    /// Its release.
    public let version = NeedletailVersion.current
    /// The layout version of the maps it can read.
    public let abiVersion = NT_ABI_VERSION

    enum CodingKeys: String, CodingKey {
        case version, abiVersion
    }

    /// The report.
    public init() {}

    /// One line.
    public func text(_ detail: Detail) -> String { "needletail \(version), map layout version \(abiVersion)\n" }
}
