internal import BPF
internal import Dataplane
internal import Glibc
internal import SystemPackage

/// A question that has no answer, in one line for a person.
public struct InspectionError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What kind of failure it is, by the exit code of the program.
    public enum Kind: Int32, Sendable, Hashable {
        /// There is no object of that name.
        case notFound = 1
        /// The question itself makes no sense (`EX_USAGE` of sysexits.h).
        case usage = 64
        /// There is no datapath, or it cannot be read (`EX_UNAVAILABLE`).
        case unavailable = 69
        /// The answer could not be written (`EX_IOERR`).
        case unwritten = 74
    }

    /// The kind of failure.
    public let kind: Kind
    /// What is wrong and what to do about it.
    public let description: String

    /// Puts the two together.
    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    /// Any error of the modules below, which means that the datapath cannot be read.
    public init(_ error: any Error) {
        if let error = error as? InspectionError {
            self = error
            return
        }
        let lines = "\(error)".split(separator: "\n").map { line in line.drop { $0 == " " } }
        self.init(.unavailable, lines.joined(separator: "; "))
    }

    /// Why the maps under a pin directory could not be opened.
    static func opening(_ pins: PinDirectory, _ error: any Error) -> InspectionError {
        // A directory that may not be searched looks as empty as one that is not there.
        let isHidden = access(pins.map("nt_meta"), F_OK) != 0 && errno == EACCES
        let isRefused = (error as? BPFError)?.errno.map { $0 == .permissionDenied || $0 == .notPermitted } ?? false
        guard isHidden || isRefused else { return InspectionError(error) }
        return InspectionError(
            .unavailable, "no permission to read the datapath pinned under \(pins.root): run as root, or with CAP_BPF")
    }
}
