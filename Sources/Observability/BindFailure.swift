internal import Glibc
internal import NIOCore

/// A port that could not be listened on.
public struct BindFailure: Error, Sendable, Hashable, CustomStringConvertible {
    /// Where.
    public let address: ListenAddress
    /// The kernel's error number; 0 if it was not the kernel's.
    public let errno: Int32
    private let reason: String

    init(_ address: ListenAddress, _ error: any Error) {
        self.address = address
        if let error = error as? IOError {
            errno = error.errnoCode
            reason = String(cString: strerror(error.errnoCode))
        } else {
            errno = 0
            reason = "\(error)"
        }
    }

    /// What failed, why, and what may be the matter.
    public var description: String {
        "cannot listen on \(address): \(reason)"
            + (errno == EADDRINUSE ? " (another program has the port: kube-proxy, or an agent that is ending?)" : "")
    }

    /// The kernel has no such family: there is nobody who could ask.
    var isMissingFamily: Bool { errno == EAFNOSUPPORT }
}

/// How listening goes. Told when it changes, not at each attempt.
public enum BindReport: Sendable, Hashable {
    /// It failed, for a reason not told before; it is tried again.
    case failed(BindFailure)
    /// It listens, with the port that the kernel chose where it was to.
    case listening(ListenAddress)
}
