internal import Glibc

/// Something in a test network that failed or did not happen in time.
public struct LabError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Why.
    public enum Reason: Sendable, Hashable {
        /// A system call failed with this errno.
        case system(Int32)
        /// It did not happen within the time given.
        case timedOut
        /// The other side closed the connection.
        case closed
        /// Anything else, in words.
        case other(String)
    }

    /// What was tried: `connect`.
    public let operation: String
    /// On what: `192.0.2.1:80 from client`.
    public let object: String
    /// Why it failed.
    public let reason: Reason

    /// Describes a failure.
    public init(_ operation: String, _ object: String, _ reason: Reason) {
        self.operation = operation
        self.object = object
        self.reason = reason
    }

    /// Whether the time was up.
    public var isTimeout: Bool { reason == .timedOut }
    /// Whether nobody listens there (`ECONNREFUSED`).
    public var isRefused: Bool { reason == .system(ECONNREFUSED) }
    /// Whether the other side tore the connection down (`ECONNRESET`).
    public var isReset: Bool { reason == .system(ECONNRESET) }

    /// `connect: 192.0.2.1:80 from client: Connection refused`.
    public var description: String {
        let why =
            switch reason {
            case .system(let code): "\(String(cString: strerror(code))) (errno \(code))"
            case .timedOut: "not done in time"
            case .closed: "closed by the other side"
            case .other(let text): text
            }
        return "\(operation): \(object): \(why)"
    }

    /// The failure that `errno` tells of; `EAGAIN` from a socket with a time limit means that the time was up.
    package static func last(_ operation: String, _ object: String) -> LabError {
        let code = errno
        return LabError(operation, object, code == EAGAIN ? .timedOut : .system(code))
    }
}
